//! A trivial device: it echoes, keeps requests waiting, and maps a file.
//!
//! A request's first byte says what to do; the answer's first byte is 0 where
//! it was done.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the device"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use landbridge_device::{Device, Reply, Request, SharedMemory};
use landbridge_dmabuf::{Access, Identity, Mapping, Memfd, memfd::Options};
use landbridge_exchange::importers::window::{WindowMap, WindowMapper};
use landbridge_transport::guest::Config;
use landbridge_transport::{EmbeddedGuest, Link};

/// Answers with the rest of the request.
pub const ECHO: u8 = 0;
/// Keeps the request; the answer is the rest, once it is released.
pub const HOLD: u8 = 1;
/// Answers every request that was kept, the last one first.
pub const RELEASE: u8 = 2;
/// Drops the request.
pub const DROP: u8 = 3;
/// Maps the device's file: offset and length follow.
pub const MAP: u8 = 4;
/// Undoes that.
pub const UNMAP: u8 = 5;
/// Answers with how many bytes of room there are.
pub const ROOM: u8 = 6;

pub const WINDOW: u64 = 1 << 22;
pub const FILE: u64 = 64 << 10;

pub struct Echo {
    mapper: Arc<dyn WindowMapper>,
    file: OwnedFd,
    held: Mutex<Vec<(Vec<u8>, Reply)>>,
    /// The requests that came, by queue.
    pub seen: Mutex<Vec<(usize, Vec<u8>)>>,
    pub config: Mutex<Vec<u8>>,
    pub resets: AtomicUsize,
    pub activations: AtomicUsize,
    pub features: AtomicU64,
}

impl Echo {
    pub fn new(link: &Link) -> Arc<Self> {
        let file = Memfd::create("echo", FILE, Options::default()).unwrap();
        Arc::new(Self {
            mapper: link.mapper(),
            file: file.into(),
            held: Mutex::default(),
            seen: Mutex::default(),
            config: Mutex::new(b"echo config!".to_vec()),
            resets: AtomicUsize::new(0),
            activations: AtomicUsize::new(0),
            features: AtomicU64::new(0),
        })
    }

    pub fn start(config: Config) -> (EmbeddedGuest, Arc<Self>) {
        let link = Link::new();
        let device = Self::new(&link);
        let guest = EmbeddedGuest::start(Arc::clone(&device) as _, link, config).unwrap();
        (guest, device)
    }

    pub fn identity(&self) -> Identity {
        Identity::of(&self.file).unwrap()
    }

    /// The file as the host sees it.
    pub fn host_view(&self) -> Mapping {
        Mapping::whole(&self.file, Access::ReadWrite).unwrap()
    }

    pub fn resets(&self) -> usize {
        self.resets.load(Ordering::SeqCst)
    }

    pub fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// Answers every request that was kept, the last one first.
    pub fn release(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        for (bytes, reply) in held.into_iter().rev() {
            reply.send(&bytes);
        }
    }

    fn window(&self, map: bool, bytes: &[u8]) -> Vec<u8> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8);
            bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        };
        let (offset, len) = (number(0), number(8));
        let result = match map {
            true => self.mapper.map(&WindowMap {
                file: self.file.as_fd(),
                offset,
                len,
            }),
            false => self.mapper.unmap(offset, len).map(|_let_go| ()),
        };
        match result {
            Ok(()) => vec![0],
            Err(error) => [b"\x01", error.to_string().as_bytes()].concat(),
        }
    }
}

impl Device for Echo {
    fn id(&self) -> u32 {
        0
    }

    fn queues(&self) -> usize {
        2
    }

    fn features(&self) -> u64 {
        0b1011
    }

    fn activate(&self, features: u64) {
        self.features.store(features, Ordering::SeqCst);
        self.activations.fetch_add(1, Ordering::SeqCst);
    }

    fn config(&self) -> Vec<u8> {
        self.config.lock().unwrap().clone()
    }

    fn write_config(&self, offset: u32, data: &[u8]) {
        let mut config = self.config.lock().unwrap();
        let offset = offset as usize;
        if let Some(place) = config.get_mut(offset..offset + data.len()) {
            place.copy_from_slice(data);
        }
    }

    fn shared_memory(&self) -> Option<SharedMemory> {
        Some(SharedMemory {
            id: 7,
            size: WINDOW,
        })
    }

    fn handle(&self, queue: usize, request: Request) {
        let Request { bytes, reply } = request;
        self.seen.lock().unwrap().push((queue, bytes.clone()));
        let Some((what, rest)) = bytes.split_first() else {
            return reply.send(b"empty");
        };
        match *what {
            ECHO => reply.send(rest),
            HOLD => self.held.lock().unwrap().push((rest.to_vec(), reply)),
            RELEASE => {
                self.release();
                reply.send(&[0]);
            }
            MAP => reply.send(&self.window(true, rest)),
            UNMAP => reply.send(&self.window(false, rest)),
            ROOM => {
                let room = reply.capacity() as u64;
                reply.send(&room.to_le_bytes());
            }
            _ => drop(reply),
        }
    }

    fn reset(&self) {
        self.held.lock().unwrap().clear();
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
}

/// A request to map or unmap.
pub fn window_request(what: u8, offset: u64, len: u64) -> Vec<u8> {
    [&[what][..], &offset.to_le_bytes(), &len.to_le_bytes()].concat()
}
