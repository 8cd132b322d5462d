//! Lines with descriptors (`unix(7)`, SCM_RIGHTS).

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sends all of `bytes`, and `descriptor` with the first of them.
pub(super) fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut rest = bytes;
    let mut descriptor = descriptor;
    while !rest.is_empty() {
        match send_some(stream, rest, descriptor) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                rest = &rest[sent..];
                descriptor = None;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn send_some(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<usize> {
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        // The space is for exactly this.
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let bytes = [IoSlice::new(bytes)];
    sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL)
}

/// Receives some bytes, and adds descriptors that come with them.
pub(super) fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// A file in memory that `write` fills and that nobody can change afterwards.
pub(super) fn sealed_file(
    name: &str,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    write(&mut file)?;
    file.rewind()?;
    fcntl_add_seals(
        file.as_fd(),
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_descriptor_comes_with_its_line() {
        let (near, far) = UnixStream::pair().unwrap();
        let file = sealed_file("it", |file| Ok(file.write_all(b"inside")?)).unwrap();
        send(&near, b"line\n", Some(file.as_fd())).unwrap();
        send(&near, b"next\n", None).unwrap();
        drop(near);
        let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
        let mut buffer = [0; 64];
        loop {
            match receive(&far, &mut buffer, &mut descriptors).unwrap() {
                0 => break,
                len => bytes.extend_from_slice(&buffer[..len]),
            }
        }
        assert_eq!(bytes, b"line\nnext\n");
        let mut text = String::new();
        let mut received = File::from(descriptors.pop().unwrap());
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert!(received.write_all(b"x").is_err(), "sealed");
        assert!(descriptors.is_empty());
    }
}
