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

/// Added to a request's number, it makes one that no protocol has.
const NO_REQUEST: u32 = 1 << 16;

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
        self.answer(0)
    }

    /// Whether an answer is wanted.
    pub(super) fn wants_answer(&self) -> bool {
        self.word(4).is_some_and(|flags| flags & NEED_REPLY != 0)
    }

    /// The answer, if one is wanted: 0 is success.
    pub(super) fn answer(&self, code: u64) -> Option<Vec<u8>> {
        if !self.wants_answer() {
            return None;
        }
        let words = [self.word(0)?, VERSION | REPLY, 8];
        let header = words.iter().flat_map(|word| word.to_ne_bytes());
        Some(header.chain(code.to_ne_bytes()).collect())
    }

    /// The descriptor that it brings, to be replaced.
    pub(super) fn file(&mut self) -> Option<&mut OwnedFd> {
        self.files.first_mut()
    }

    /// Sends it on, descriptors with the first byte.
    pub(super) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let sent = self.send_some(stream, &self.bytes)?;
        (&*stream).write_all(&self.bytes[sent..])
    }

    /// Sends the first byte and the descriptors, and returns the bytes that are
    /// left.
    pub(super) fn begin(&self, stream: &UnixStream) -> io::Result<&[u8]> {
        let Some((first, rest)) = self.bytes.split_at_checked(1) else {
            return Ok(&[]);
        };
        self.send_some(stream, first)?;
        Ok(rest)
    }

    /// What makes of a first byte that was sent a request that does not exist, has
    /// no payload, and is answered.
    pub(super) fn nonsense(&self) -> Vec<u8> {
        let request = self.request().unwrap_or_default() | NO_REQUEST;
        let words = [request, VERSION | NEED_REPLY, 0];
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
        bytes.skip(1).collect()
    }

    /// Sends descriptors and these bytes, or as many of them as go at once.
    fn send_some(&self, stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(|file| file.as_fd()).collect();
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let bytes = [IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::io::retry_on_intr(|| sendmsg(stream, &bytes, &mut control, flags))?;
        Ok(sent)
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
