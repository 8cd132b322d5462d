//! A vhost-user frontend without manners: it sends what it is told and cares
//! little for answers.
//!
//! Layouts: QEMU, `docs/interop/vhost-user.rst`.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_PROTOCOL_FEATURES: u32 = 16;
const SET_VRING_ENABLE: u32 = 18;
const ADD_MEM_REG: u32 = 37;
const REM_MEM_REG: u32 = 38;

/// Version 1, an answer asked for.
pub(crate) const FLAGS: u32 = 1 | 8;

/// How long an answer is waited for. Some never come: the program hangs up, or
/// the message has none.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long it may take until the program hangs up.
const LONG: Duration = Duration::from_secs(10);

/// A region of guest memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) guest: u64,
    pub(crate) size: u64,
    pub(crate) user: u64,
    pub(crate) offset: u64,
}

impl Region {
    fn bytes(self) -> Vec<u8> {
        let fields = [self.guest, self.size, self.user, self.offset];
        fields.into_iter().flat_map(u64::to_le_bytes).collect()
    }
}

/// A ring: its number, its length, where it goes on, and where it is for the
/// VMM. The available ring is 0x2000 after the descriptors, the used ring 0x4000.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring {
    pub(crate) number: u32,
    pub(crate) size: u32,
    pub(crate) base: u32,
    pub(crate) user: u64,
}

/// Memory that can be made shorter.
pub(crate) fn loose(size: u64) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("hostile", flags).unwrap();
    rustix::fs::ftruncate(&fd, size).unwrap();
    fd
}

/// Memory that can't, as a VMM's is.
pub(crate) fn sealed(size: u64) -> OwnedFd {
    let fd = loose(size);
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    fd
}

/// Something to kick or call by.
pub(crate) fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// The bytes of a message.
pub(crate) fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let header = [request, flags, payload.len() as u32];
    let mut message: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    message.extend_from_slice(payload);
    message
}

pub(crate) struct Frontend(UnixStream);

impl Frontend {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // The program may have hung up.
        let _ = self.0.write_all(bytes);
    }

    /// Sends bytes as they are, with descriptors; false where the program has
    /// hung up.
    pub(crate) fn raw_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let bytes = [IoSlice::new(bytes)];
        sendmsg(&self.0, &bytes, &mut control, SendFlags::NOSIGNAL).is_ok()
    }

    /// Sends bytes again and again for a moment, and reads nothing.
    pub(crate) fn flood(&mut self, bytes: &[u8]) {
        let start = Instant::now();
        self.0.set_write_timeout(Some(PATIENCE)).unwrap();
        while start.elapsed() < Duration::from_millis(200) {
            // The program may be busy with the answers.
            let _ = self.0.write(bytes);
        }
    }

    /// Sends a message and throws the answer away.
    pub(crate) fn send(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        if self.post(request, payload, fds) {
            let _ = self.0.read(&mut [0; 4096]);
        }
    }

    /// Sends a message; false where the program has hung up.
    pub(crate) fn post(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        self.raw_with(&message(request, FLAGS, payload), fds)
    }

    /// Asks for something and returns the payload of the answer.
    pub(crate) fn ask(&mut self, request: u32) -> Vec<u8> {
        assert!(self.raw_with(&message(request, 1, &[]), &[]));
        self.0.set_read_timeout(Some(LONG)).unwrap();
        let mut header = [0; 12];
        self.0.read_exact(&mut header).unwrap();
        let size = u32::from_le_bytes(header[8..].try_into().unwrap());
        let mut payload = vec![0; size as usize];
        self.0.read_exact(&mut payload).unwrap();
        payload
    }

    /// Whether the program hangs up, after whatever it answers.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        self.0.set_read_timeout(Some(LONG)).unwrap();
        loop {
            match self.0.read(&mut [0; 4096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Agrees to everything that matters. Answers are only asked for from the
    /// last message on.
    pub(crate) fn negotiate(&mut self) {
        self.post(SET_OWNER, &[], &[]);
        // VERSION_1, and that protocol features can be agreed on.
        self.post(SET_FEATURES, &(1u64 << 32 | 1 << 30).to_le_bytes(), &[]);
        // MQ, REPLY_ACK, BACKEND_REQ, CONFIG, BACKEND_SEND_FD, RESET_DEVICE,
        // CONFIGURE_MEM_SLOTS, SHMEM.
        let agreed = [0, 3, 5, 9, 10, 13, 15, 22];
        let protocol = agreed.into_iter().fold(0u64, |all, bit| all | 1 << bit);
        self.post(SET_PROTOCOL_FEATURES, &protocol.to_le_bytes(), &[]);
    }

    pub(crate) fn set_memory(&mut self, regions: &[Region], fds: &[BorrowedFd<'_>]) {
        let mut payload = (regions.len() as u64).to_le_bytes().to_vec();
        payload.extend(regions.iter().flat_map(|region| region.bytes()));
        self.send(SET_MEM_TABLE, &payload, fds);
    }

    pub(crate) fn add_memory(&mut self, region: Region, fds: &[BorrowedFd<'_>]) {
        let payload = [vec![0; 8], region.bytes()].concat();
        self.send(ADD_MEM_REG, &payload, fds);
    }

    pub(crate) fn remove_memory(&mut self, region: Region) {
        let payload = [vec![0; 8], region.bytes()].concat();
        self.send(REM_MEM_REG, &payload, &[]);
    }

    /// Starts the first ring at the beginning of a region, and returns its
    /// kick.
    pub(crate) fn start_rings(&mut self, user: u64) -> OwnedFd {
        self.start_ring(Ring {
            number: 0,
            size: 256,
            base: 0,
            user,
        })
    }

    pub(crate) fn start_ring(&mut self, ring: Ring) -> OwnedFd {
        let pair = |value: u32| [ring.number.to_le_bytes(), value.to_le_bytes()].concat();
        self.send(SET_VRING_NUM, &pair(ring.size), &[]);
        self.send(SET_VRING_BASE, &pair(ring.base), &[]);
        let mut payload = pair(0);
        // Descriptors, used ring, available ring, log.
        for place in [0, 0x4000, 0x2000, 0] {
            payload.extend(ring.user.wrapping_add(place).to_le_bytes());
        }
        self.send(SET_VRING_ADDR, &payload, &[]);
        let (kick, call) = (eventfd(), eventfd());
        let which = u64::from(ring.number as u8).to_le_bytes();
        self.send(SET_VRING_CALL, &which, &[call.as_fd()]);
        self.send(SET_VRING_KICK, &which, &[kick.as_fd()]);
        self.send(SET_VRING_ENABLE, &pair(1), &[]);
        kick
    }

    /// Gives the first ring another kick.
    pub(crate) fn kick_by(&mut self, kick: BorrowedFd<'_>) {
        self.send(SET_VRING_KICK, &0u64.to_le_bytes(), &[kick]);
    }

    /// Gives the first ring another call.
    pub(crate) fn call_by(&mut self, call: BorrowedFd<'_>) {
        self.send(SET_VRING_CALL, &0u64.to_le_bytes(), &[call]);
    }

    pub(crate) fn stop_rings(&mut self) {
        self.send(GET_VRING_BASE, &0u64.to_le_bytes(), &[]);
    }
}

/// Writes `count` empty chains into the first ring of `memory`, and makes them
/// available.
pub(crate) fn publish(memory: impl AsFd, count: u16) {
    let write = |bytes: &[u8], at| rustix::io::pwrite(&memory, bytes, at).unwrap();
    for head in 0..count {
        write(&head.to_le_bytes(), 0x2000 + 4 + 2 * u64::from(head));
    }
    write(&count.to_le_bytes(), 0x2000 + 2);
}
