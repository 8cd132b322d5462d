//! A guest's host-visible window: buffers mapped into the guest by its VMM.
//!
//! The book of what is mapped where is kept here, and everything that would
//! harm a VMM is refused before the VMM is asked: offsets that are not
//! page-aligned, mappings that leave the window, overlap, or are too many.
//!
//! - [`WindowMapper`]: the VMM, as the window sees it; [`fake`] is one for tests;
//! - `book`: what is mapped where;
//! - `zeroes`: what a guest finds where memory was taken away;
//! - [`WindowMapping`]: one buffer in the window.

mod book;
mod error;
pub mod fake;
mod mapper;
mod mapping;
mod zeroes;

use std::fmt;
use std::sync::Arc;

pub use error::WindowError;
pub use mapper::{MapperError, Unmapped, WindowMap, WindowMapper};
pub use mapping::WindowMapping;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::holder::Holder;
use crate::importer::Importer;
use crate::importers::window::book::Book;
use crate::importers::window::mapping::Slot;
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tenant::Tenant;
use crate::terms::{CachingNeed, Direction, Method, Models, Needs, Revocation};

/// The unit of a window's offsets and lengths in bytes.
pub const PAGE: u64 = 4096;

/// The most mappings that one window has at the same time, whatever its
/// tenants' limits. One more and QEMU 11.1 aborts.
pub const MAX_MAPS: usize = 511;

struct GuestWindow(Arc<Slot>);

impl Importer for GuestWindow {
    fn name(&self) -> String {
        "guest window".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            // The VMM maps a file, and can't be told to map another in its place.
            models: Models {
                revocable: Revocation::Accepted,
                movable: false,
                pin: true,
            },
            caching: CachingNeed::Known,
            // A VMM does not enforce read-only maps, so a guest can always write.
            ..Needs::new(Method::Descriptor, Direction::ReadWrite)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.0) as Arc<_>)
    }
}

/// One guest's window and the book of what is mapped in it.
pub struct Window {
    mapper: Arc<dyn WindowMapper>,
    size: u64,
    book: Mutex<Book>,
}

impl Window {
    /// A window of `size` bytes, empty.
    pub fn new(mapper: Arc<dyn WindowMapper>, size: u64) -> Arc<Self> {
        Arc::new(Self {
            mapper,
            size,
            book: Mutex::default(),
        })
    }

    /// The window's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many places in it are taken: by buffers that are mapped, that are
    /// being mapped or unmapped, and that the VMM failed to unmap.
    pub fn maps(&self) -> usize {
        self.book().len()
    }

    /// Maps the whole buffer at `offset`, on the account of `tenant`.
    pub fn map(
        self: &Arc<Self>,
        buffer: &Buffer,
        offset: u64,
        tenant: &Tenant,
    ) -> Result<WindowMapping, Error> {
        let slot = Slot::new(self, tenant);
        let attachment = buffer.attach(&GuestWindow(Arc::clone(&slot)), tenant)?;
        slot.map(&attachment, offset)?;
        Ok(WindowMapping::new(slot, attachment))
    }

    /// The VMM has dropped all mappings by itself (the device was reset or the
    /// VMM is gone): forgets them without asking it. Their loans end without
    /// proof, as nobody told how the VMM let go.
    ///
    /// A `map` that is under way fails with [`WindowError::Reset`]. One that the VMM
    /// did after it had dropped all, and before this, is forgotten too, but lies in
    /// the guest: it is unmapped once it is in the way.
    pub fn reset(&self) {
        book::reset(self);
    }

    fn mapper(&self) -> &dyn WindowMapper {
        &*self.mapper
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Changed by single inserts and removes, and a reset's two assignments.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("size", &self.size)
            .field("maps", &self.maps())
            .finish_non_exhaustive()
    }
}
