//! A vhost-user frontend without manners: it sends what it is told and cares
//! little for answers.
//!
//! Layouts: QEMU, `docs/interop/vhost-user.rst`.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::MemfdFlags;
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

/// Version 1, an answer asked for.
const FLAGS: u32 = 1 | 8;

/// How long an answer is waited for. Some never come: the program hangs up, or
/// the message has none.
const PATIENCE: Duration = Duration::from_millis(20);

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

/// Memory that can be made shorter.
pub(crate) fn memfd(size: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, size).unwrap();
    fd
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

    /// Sends a message and throws the answer away.
    pub(crate) fn send(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        if self.post(request, payload, fds) {
            let _ = self.0.read(&mut [0; 4096]);
        }
    }

    /// Sends a message; false where the program has hung up.
    pub(crate) fn post(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let header = [request, FLAGS, payload.len() as u32];
        let mut message: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
        message.extend_from_slice(payload);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let message = [IoSlice::new(&message)];
        sendmsg(&self.0, &message, &mut control, SendFlags::NOSIGNAL).is_ok()
    }

    /// Agrees to everything that matters. Answers are only asked for from the
    /// last message on.
    pub(crate) fn negotiate(&mut self) {
        self.post(SET_OWNER, &[], &[]);
        // VERSION_1, and that protocol features can be agreed on.
        self.post(SET_FEATURES, &(1u64 << 32 | 1 << 30).to_le_bytes(), &[]);
        // MQ, REPLY_ACK, CONFIG, CONFIGURE_MEM_SLOTS, RESET_DEVICE.
        let protocol = 1u64 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15;
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

    /// Starts the first ring at the beginning of a region, and returns its
    /// kick.
    pub(crate) fn start_rings(&mut self, user: u64) -> OwnedFd {
        self.start_ring(0, 256, 0, user)
    }

    pub(crate) fn start_ring(&mut self, number: u32, size: u32, base: u32, user: u64) -> OwnedFd {
        let pair = |value: u32| [number.to_le_bytes(), value.to_le_bytes()].concat();
        self.send(SET_VRING_NUM, &pair(size), &[]);
        self.send(SET_VRING_BASE, &pair(base), &[]);
        let mut payload = pair(0);
        // Descriptors, used ring, available ring, log.
        for place in [0, 0x4000, 0x2000, 0] {
            payload.extend(user.wrapping_add(place).to_le_bytes());
        }
        self.send(SET_VRING_ADDR, &payload, &[]);
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let (kick, call) = (event(), event());
        let which = u64::from(number as u8).to_le_bytes();
        self.send(SET_VRING_CALL, &which, &[call.as_fd()]);
        self.send(SET_VRING_KICK, &which, &[kick.as_fd()]);
        self.send(SET_VRING_ENABLE, &pair(1), &[]);
        kick
    }

    /// Gives the first ring another kick.
    pub(crate) fn kick_by(&mut self, kick: BorrowedFd<'_>) {
        self.send(SET_VRING_KICK, &0u64.to_le_bytes(), &[kick]);
    }

    pub(crate) fn stop_rings(&mut self) {
        self.send(GET_VRING_BASE, &0u64.to_le_bytes(), &[]);
    }
}
