//! One message of a VMM as it lies on the socket (vhost-user protocol, "Message
//! Specification").

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Request, flags and the payload's size, 32 bits each.
const HEADER: usize = 12;

/// The longest payload of any message.
const MAX_PAYLOAD: usize = 4096;

/// How many descriptors a message may bring.
const MAX_FILES: usize = 32;

/// In the flags: version 1, this is an answer, an answer is wanted.
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// A message, or what came of one before the VMM hung up.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Message {
    #[cfg(test)]
    pub(super) fn new(request: u32, flags: u32, payload: &[u8]) -> Self {
        let mut bytes = Vec::new();
        for word in [request, flags | VERSION, payload.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(payload);
        Self {
            bytes,
            files: Vec::new(),
        }
    }

    /// Reads one. Of a payload that is too long the header is all: whoever gets
    /// it ends the connection.
    pub(super) fn read(stream: &UnixStream) -> io::Result<Self> {
        let mut message = Self::default();
        message.fill(stream, HEADER)?;
        let size = message.word(8).unwrap_or(0) as usize;
        if size <= MAX_PAYLOAD {
            message.fill(stream, HEADER + size)?;
        }
        Ok(message)
    }

    /// Reads until there are `len` bytes, or no more come.
    fn fill(&mut self, stream: &UnixStream, len: usize) -> io::Result<()> {
        while self.bytes.len() < len {
            let have = self.bytes.len();
            self.bytes.resize(len, 0);
            let got = receive(stream, &mut self.bytes[have..], &mut self.files);
            self.bytes
                .truncate(have + got.as_ref().map_or(0, |got| *got));
            if got? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether another may follow.
    pub(super) fn is_whole(&self) -> bool {
        let size = self.word(8).map(|size| size as usize);
        size.is_some_and(|size| self.bytes.len() == HEADER + size)
    }

    /// What is asked for.
    pub(super) fn request(&self) -> Option<u32> {
        self.word(0)
    }

    /// What follows the header.
    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The answer that all is well, if one is wanted: a VMM that starts a device
    /// in vain may not survive its end.
    pub(super) fn consent(&self) -> Option<Vec<u8>> {
        if self.word(4)? & NEED_REPLY == 0 {
            return None;
        }
        let words = [self.word(0)?, VERSION | REPLY, 8];
        let header = words.iter().flat_map(|word| word.to_ne_bytes());
        Some(header.chain(0_u64.to_ne_bytes()).collect())
    }

    /// Sends it on, descriptors with the first byte.
    pub(super) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(|file| file.as_fd()).collect();
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let bytes = [IoSlice::new(&self.bytes)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::io::retry_on_intr(|| sendmsg(stream, &bytes, &mut control, flags))?;
        (&*stream).write_all(&self.bytes[sent..])
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }
}

fn receive(stream: &UnixStream, bytes: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, flags)
    })?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            files.extend(came);
        }
    }
    Ok(received.bytes)
}
