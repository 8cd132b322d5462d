//! A guest's host-visible window: buffers mapped into the guest by its VMM.
//!
//! The book of what is mapped where is kept here, and everything that would
//! harm a VMM is refused before the VMM is asked: offsets that are not
//! page-aligned, mappings that leave the window, overlap, or are too many.
//!
//! - [`WindowMapper`]: the VMM, as the window sees it; [`fake`] is one for tests;
//! - `book`: what is mapped where;
//! - [`WindowMapping`]: one buffer in the window.

mod book;
mod error;
pub mod fake;
mod mapper;
mod mapping;

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::WindowError;
pub use mapper::{MapperError, WindowMap, WindowMapper};
pub use mapping::WindowMapping;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::importer::Importer;
use crate::importers::window::book::{Book, Place};
use crate::importers::window::mapping::Held;
use crate::tenant::{Resource, Tenant};
use crate::terms::{CachingNeed, Direction, Method, Models, Needs};

/// The unit of a window's offsets and lengths in bytes.
pub const PAGE: u64 = 4096;

/// The most mappings that one window has at the same time, whatever its
/// tenants' limits. One more and QEMU 11.1 aborts.
pub const MAX_MAPS: usize = 511;

struct GuestWindow;

impl Importer for GuestWindow {
    fn name(&self) -> String {
        "guest window".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            // The VMM maps a file, and can't be told to map another in its place.
            models: Models {
                pin: true,
                ..Models::PINNED
            },
            caching: CachingNeed::Known,
            // A VMM does not enforce read-only maps, so a guest can always write.
            ..Needs::new(Method::Descriptor, Direction::ReadWrite)
        }
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
        let attachment = buffer.attach(&GuestWindow, tenant)?;
        let charge = tenant.charge(Resource::WindowMaps, 1)?;
        let place = Place::take(self, buffer, offset, charge)?;
        let loan = match attachment.lend() {
            Ok(loan) => loan,
            Err(error) => {
                place.free();
                return Err(error);
            }
        };
        let held = Held { loan, place };
        let asked = WindowMap {
            file: held.loan.as_fd(),
            offset,
            len: buffer.size(),
        };
        if let Err(error) = self.mapper.map(&asked) {
            return Err(held.not_mapped(error).into());
        }
        if !held.place.mapped() {
            let len = held.place.len();
            // Perhaps there is nothing to unmap any more; either way it is gone.
            let _ = held.unmap();
            return Err(WindowError::Reset { offset, len }.into());
        }
        Ok(WindowMapping::new(held, attachment))
    }

    /// The VMM has dropped all mappings by itself (the device was reset or the
    /// VMM is gone): forgets them without asking it. Their loans end without
    /// proof, as nobody told how the VMM let go.
    ///
    /// A `map` that is under way fails with [`WindowError::Reset`].
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
