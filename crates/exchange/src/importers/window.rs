//! A guest's host-visible window: buffers mapped into the guest by its VMM.
//!
//! The book of what is mapped where is kept here, and everything that would
//! harm a VMM is refused before the VMM is asked: offsets that are not
//! page-aligned, mappings that leave the window, overlap, or are too many.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_dmabuf::{LetGo, Loan};

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::caching::Caching;
use crate::error::{Error, Fault};
use crate::importer::Importer;
use crate::tenant::{Charge, Resource, Tenant};
use crate::terms::{CachingNeed, Direction, Method, Models, Needs};

/// The unit of a window's offsets and lengths in bytes.
pub const PAGE: u64 = 4096;

/// What a VMM is asked to map.
#[derive(Debug)]
pub struct WindowMap<'a> {
    /// The file; the VMM gets a duplicate. It is mapped from its beginning.
    pub file: BorrowedFd<'a>,
    /// Where in the window.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// Why the VMM did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum MapperError {
    /// The VMM said no.
    #[error("the VMM refused to {0}")]
    Refused(&'static str),
    /// There is nobody to ask: no VMM is connected, or the request channel
    /// broke.
    #[error("the VMM can't be reached to {call}: {reason}")]
    Gone {
        /// What it was to be asked.
        call: &'static str,
        /// What went wrong.
        reason: String,
    },
}

/// Maps into a guest: a VMM, seen from the window.
///
/// # Implementers
/// Both calls return when the VMM has acknowledged, and after `unmap` returned
/// `Ok` the guest and the VMM can't reach the memory: that is what the
/// [`LetGo`] states.
///
/// # Callers
/// Hold no lock that a transport may want while these run.
pub trait WindowMapper: Send + Sync {
    /// Maps a file into the window.
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError>;

    /// Unmaps exactly what one `map` mapped.
    fn unmap(&self, offset: u64, len: u64) -> Result<LetGo, MapperError>;
}

/// Why a window has no place for a mapping.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The offset or the buffer's size is not a multiple of the page size.
    #[error("window offset {offset:#x} or size {len:#x} is not a multiple of {PAGE}")]
    Misaligned {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
    },
    /// The mapping would leave the window.
    #[error("{len:#x} bytes at {offset:#x} leave the window of {size:#x} bytes")]
    Outside {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
        /// The window's size.
        size: u64,
    },
    /// Something is mapped there.
    #[error("{len:#x} bytes at {offset:#x} overlap what is mapped at {other:#x}")]
    Overlap {
        /// Where it was to be mapped.
        offset: u64,
        /// The buffer's size.
        len: u64,
        /// The offset of what is mapped there.
        other: u64,
    },
    /// The VMM did not do as asked.
    #[error(transparent)]
    Mapper(#[from] MapperError),
}

impl WindowError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Mapper(_) => Fault::Host,
            _ => Fault::Asker,
        }
    }
}

struct GuestWindow;

impl Importer for GuestWindow {
    fn name(&self) -> String {
        "guest window".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            method: Method::Descriptor,
            // A VMM does not enforce read-only maps, so a guest can always write.
            direction: Direction::ReadWrite,
            models: Models::PINNED,
            caching: CachingNeed::Known,
        }
    }
}

#[derive(Default)]
struct Book {
    /// Length by offset.
    maps: BTreeMap<u64, u64>,
    /// Counts resets: a mapping of an earlier life is no longer ours to undo.
    life: u64,
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

    /// How many buffers are mapped.
    pub fn maps(&self) -> usize {
        self.book().maps.len()
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
        let place = Place::take(self, offset, buffer.size())?;
        let loan = attachment.lend()?;
        self.mapper
            .map(&WindowMap {
                file: loan.as_fd(),
                offset,
                len: buffer.size(),
            })
            .map_err(WindowError::from)?;
        Ok(WindowMapping {
            place: Some(place),
            loan: Some(loan),
            attachment,
            _charge: charge,
        })
    }

    /// The VMM has dropped all mappings by itself (the device was reset or the
    /// VMM is gone): forgets them without asking it.
    pub fn reset(&self) {
        let mut book = self.book();
        book.maps.clear();
        book.life += 1;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Changed by single inserts, removes and clears.
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

/// A part of the window that is spoken for. Dropping it frees it in the book.
struct Place {
    window: Arc<Window>,
    offset: u64,
    len: u64,
    life: u64,
    /// The guest may still reach it: it stays taken until the window is reset.
    lost: bool,
}

impl Place {
    fn take(window: &Arc<Window>, offset: u64, len: u64) -> Result<Self, WindowError> {
        if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) || len == 0 {
            return Err(WindowError::Misaligned { offset, len });
        }
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= window.size)
            .ok_or(WindowError::Outside {
                offset,
                len,
                size: window.size,
            })?;
        let mut book = window.book();
        if let Some((other, other_len)) = book.maps.range(..end).next_back()
            && other + other_len > offset
        {
            return Err(WindowError::Overlap {
                offset,
                len,
                other: *other,
            });
        }
        book.maps.insert(offset, len);
        let life = book.life;
        drop(book);
        Ok(Self {
            window: Arc::clone(window),
            offset,
            len,
            life,
            lost: false,
        })
    }

    /// Whether the window was reset since.
    fn is_stale(&self) -> bool {
        self.window.book().life != self.life
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.window.book();
        if book.life == self.life && !self.lost {
            book.maps.remove(&self.offset);
        }
    }
}

/// A buffer mapped in a guest's window. Dropping it unmaps it.
pub struct WindowMapping {
    /// `None` once it is unmapped.
    place: Option<Place>,
    loan: Option<Loan>,
    attachment: Attachment,
    _charge: Charge,
}

impl WindowMapping {
    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// How the guest must map it: exactly as the host does.
    pub fn caching(&self) -> Option<Caching> {
        self.attachment.terms().caching().map(|known| known.caching)
    }

    /// Unmaps the buffer; when this returns `Ok`, the guest can't reach it.
    pub fn unmap(mut self) -> Result<(), WindowError> {
        self.withdraw()
    }

    fn withdraw(&mut self) -> Result<(), WindowError> {
        let Some(mut place) = self.place.take() else {
            return Ok(());
        };
        if place.is_stale() {
            return Ok(());
        }
        match place.window.mapper.unmap(place.offset, place.len) {
            Ok(let_go) => {
                if let Some(loan) = self.loan.take() {
                    loan.returned(let_go);
                }
                Ok(())
            }
            Err(error) => {
                // The loan is dropped without proof: the memory is never
                // exclusive again.
                place.lost = true;
                Err(error.into())
            }
        }
    }
}

impl Drop for WindowMapping {
    fn drop(&mut self) {
        if let Err(error) = self.withdraw() {
            tracing::warn!(%error, "a window mapping could not be withdrawn");
        }
    }
}

impl fmt::Debug for WindowMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowMapping")
            .field("offset", &self.place.as_ref().map(|place| place.offset))
            .field("buffer", self.attachment.buffer())
            .finish_non_exhaustive()
    }
}
