//! What a device may ask of its VMM.
//!
//! A device needs its guest's memory and window before there is a connection,
//! and the connection needs the device: a [`Link`] is made first, is given to
//! both, and says that nobody is there until a VMM connects.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use landbridge_dmabuf::{Identity, check_spare};
use landbridge_exchange::exporters::guest_pages::GuestMemory;
use landbridge_exchange::importers::window::{MapperError, Unmapped, WindowMap, WindowMapper};
use rustix::event::{EventfdFlags, eventfd};
use uuid::Uuid;
use vhost::vhost_user::message::{
    VhostUserMMap, VhostUserMMapFlags, VhostUserMsgValidator, VhostUserSharedMsg,
};
use vhost::vhost_user::{Backend as Channel, VhostUserFrontendReqHandler};

use super::memory::{self, MemoryTable};
use crate::asserted;

/// What the VMM is asked when a file is to be mapped.
const MAP: &str = "map";

/// A valid UUID that no shared object has: it is neither random nor a name's.
const NOBODYS: Uuid = Uuid::from_u128(1);

/// How long a mapping that the VMM has undone may linger in this process before
/// its memory counts as shared for good. Readers of a chain hold on to it for
/// microseconds.
const PATIENCE_MS: u32 = 20;

/// The device's way to its VMM: the guest's memory and the guest's window.
#[derive(Clone)]
pub struct Link {
    memory: Arc<MemoryTable>,
    mapper: Arc<Mapper>,
}

impl Link {
    /// A link that no VMM is at the other end of yet.
    pub fn new() -> Self {
        let memory = MemoryTable::new();
        let mapper = Arc::new(Mapper {
            memory: Arc::clone(&memory),
            region: OnceLock::new(),
            state: Mutex::default(),
        });
        Self { memory, mapper }
    }

    /// The guest's memory as the VMM tells it.
    pub fn memory(&self) -> Arc<dyn GuestMemory> {
        Arc::clone(&self.memory) as Arc<dyn GuestMemory>
    }

    /// The device's shared memory region in the guest.
    pub fn mapper(&self) -> Arc<dyn WindowMapper> {
        Arc::clone(&self.mapper) as Arc<dyn WindowMapper>
    }

    pub(super) fn table(&self) -> &MemoryTable {
        &self.memory
    }

    /// The region that maps go to: the device's only one.
    pub(super) fn set_region(&self, id: u8) {
        // A link belongs to one device: the first call decides.
        let _ = self.mapper.region.set(id);
    }

    /// The VMM opened its request channel.
    pub(super) fn connect(&self, channel: Channel) {
        // Without this flag the channel would not wait for the VMM's answer
        // and call every request done. A VMM answers a request that asks for
        // an answer; the protocol leaves it no choice.
        channel.set_reply_ack_flag(true);
        self.mapper.state().channel = Some(channel);
    }

    /// What this link has in the window or is just putting there.
    pub(super) fn lent(&self) -> Vec<Identity> {
        let state = self.mapper.state();
        state.maps.values().chain(&state.asking).copied().collect()
    }

    /// The VMM drops every map by itself.
    pub(super) fn forget_maps(&self) {
        self.mapper.state().maps.clear();
    }

    /// The VMM is gone.
    pub(super) fn disconnect(&self) {
        *self.mapper.state() = State::default();
        self.memory.clear();
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("region", &self.mapper.region)
            .field("connected", &self.mapper.state().channel.is_some())
            .finish_non_exhaustive()
    }
}

/// States that the VMM acknowledged the unmapping of a file, and that nobody
/// in this process reaches it through what the VMM announced of it.
pub(crate) struct Acknowledged {
    _only_made_here: (),
}

/// States that a file was not sent to the VMM, nor kept by us.
pub(crate) struct Unsent {
    _only_made_here: (),
}

struct Mapper {
    memory: Arc<MemoryTable>,
    region: OnceLock<u8>,
    state: Mutex<State>,
}

/// Never locked while the VMM is asked for something.
#[derive(Default)]
struct State {
    channel: Option<Channel>,
    /// What is mapped, by offset.
    maps: BTreeMap<u64, Identity>,
    /// What the VMM is being asked to map.
    asking: Vec<Identity>,
}

impl Mapper {
    fn state(&self) -> MutexGuard<'_, State> {
        // Changed by single inserts, removes and assignments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel, to be used without our lock: it waits for the VMM.
    fn channel(&self, call: &'static str) -> Result<Channel, MapperError> {
        self.state()
            .channel
            .clone()
            .ok_or_else(|| gone(call, "no VMM is connected"))
    }

    /// The VMM has unmapped what was at `offset`: looks whether anybody can
    /// still reach it by another way.
    fn acknowledge(&self, offset: u64) -> Result<Option<Acknowledged>, MapperError> {
        const CALL: &str = "be rid of a mapping";
        let proven = Some(Acknowledged {
            _only_made_here: (),
        });
        let identity = {
            let mut state = self.state();
            let identity = state.maps.remove(&offset);
            let identity = identity.ok_or_else(|| gone(CALL, "it was not mapped"))?;
            if state.maps.values().any(|other| *other == identity) {
                // Mapped elsewhere too, by another loan of the same memory,
                // which will answer for the rest.
                return Ok(proven);
            }
            identity
        };
        // A VMM tells all its devices of a window's memory or none, and takes it
        // back from all; but QEMU falls silent while there are more regions than
        // one message holds.
        for _ in 0..PATIENCE_MS {
            if !self.memory.announces(identity) && !memory::anybody_reaches(identity) {
                return Ok(proven);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    /// Everything that a mapping needs, up to the point where the file is sent.
    fn prepare(
        &self,
        map: &WindowMap<'_>,
    ) -> Result<(Channel, VhostUserMMap, Identity), MapperError> {
        let request = self.request(MAP, map.offset, map.len)?;
        let identity = Identity::of(map.file).map_err(|error| gone(MAP, error))?;
        // The VMM announces what it maps to its devices, with a descriptor.
        let newest = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| gone(MAP, error))?;
        check_spare(newest).map_err(|error| gone(MAP, error))?;
        Ok((self.channel(MAP)?, request, identity))
    }

    fn request(
        &self,
        call: &'static str,
        offset: u64,
        len: u64,
    ) -> Result<VhostUserMMap, MapperError> {
        let region = self.region.get();
        let region = region.ok_or_else(|| gone(call, "the device has no window"))?;
        let request = VhostUserMMap {
            shmid: *region,
            padding: [0; 7],
            fd_offset: 0,
            shm_offset: offset,
            len,
            // A VMM maps read-only in name only and refuses files that are
            // sealed against writing: the guest can always write.
            flags: VhostUserMMapFlags::WRITABLE.bits(),
        };
        // A VMM may take a request that makes no sense for a broken channel
        // and never answer.
        if !request.is_valid() {
            return Err(MapperError::Refused(call));
        }
        Ok(request)
    }
}

impl WindowMapper for Mapper {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        let prepared = self.prepare(map).map_err(|why| {
            let unsent = Unsent {
                _only_made_here: (),
            };
            why.holding_nothing(asserted::never_lent(unsent))
        })?;
        let (channel, request, identity) = prepared;
        // The VMM may announce it to us before it answers.
        self.state().asking.push(identity);
        let answer = channel.shmem_map(&request, &map.file);
        if answer.is_ok() {
            let_it_take_effect(&channel);
        }
        let mut state = self.state();
        if let Some(at) = state.asking.iter().position(|it| *it == identity) {
            state.asking.swap_remove(at);
        }
        answer.map_err(|error| explain(MAP, &error))?;
        state.maps.insert(map.offset, identity);
        Ok(())
    }

    fn unmap(&self, offset: u64, len: u64) -> Result<Unmapped, MapperError> {
        const CALL: &str = "unmap";
        let request = self.request(CALL, offset, len)?;
        let channel = self.channel(CALL)?;
        channel
            .shmem_unmap(&request)
            .map_err(|error| explain(CALL, &error))?;
        let_it_take_effect(&channel);
        Ok(match self.acknowledge(offset)? {
            Some(acknowledged) => Unmapped::Proven(asserted::let_go(acknowledged)),
            None => Unmapped::Unproven,
        })
    }
}

/// Waits until what the VMM has just acknowledged is so.
///
/// QEMU answers a request to map or unmap before it changes the guest's address
/// space, since that makes it send messages whose answers it waits for. A guest
/// that is told in between finds a hole where its blob is to be, or reaches one
/// that is gone. It takes up the next request when it is through with this one,
/// so we ask for something that changes nothing and wait for the answer, which
/// is no matter: to forget an object that it never heard of. A VMM that has no
/// shared objects is not asked, and taken at its word.
fn let_it_take_effect(channel: &Channel) {
    let _any_answer = channel.shared_object_remove(&VhostUserSharedMsg { uuid: NOBODYS });
}

fn gone(call: &'static str, reason: impl ToString) -> MapperError {
    MapperError::Gone {
        call,
        reason: reason.to_string(),
    }
}

fn explain(call: &'static str, error: &io::Error) -> MapperError {
    use vhost::vhost_user::Error as Protocol;
    let refused = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Protocol>())
        .is_some_and(|error| matches!(error, Protocol::FrontendInternalError));
    if refused {
        MapperError::Refused(call)
    } else {
        gone(call, error)
    }
}
