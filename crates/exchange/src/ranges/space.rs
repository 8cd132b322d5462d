//! The spaces that addresses belong to.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A space that addresses belong to. Two kinds of space are two types; two
/// spaces of one kind (two files, two devices of one make) are two values,
/// which compare unequal.
pub trait Space: Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// What kind of space it is, for people.
    const NAME: &'static str;
}

/// Guest-physical addresses of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GuestPhysical;

impl Space for GuestPhysical {
    const NAME: &'static str = "guest-physical";
}

/// Offsets in one file: a memfd, a VMM's guest memory, a dma-buf.
#[derive(Debug, Clone)]
pub struct File(Arc<OwnedFd>);

impl File {
    /// The offsets in `file`. Clones of one `Arc` are one space.
    pub fn new(file: Arc<OwnedFd>) -> Self {
        Self(file)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Space for File {
    const NAME: &'static str = "file";
}

/// A make of device that addresses memory: a type without values is enough.
///
/// ```
/// use landbridge_exchange::ranges::Device;
///
/// #[derive(Debug)]
/// enum NetworkCard {}
/// impl Device for NetworkCard {
///     const NAME: &'static str = "network card";
/// }
/// ```
pub trait Device: fmt::Debug + Send + Sync + 'static {
    /// What it is, for people.
    const NAME: &'static str;
}

/// Addresses as the device `D` sees them: its bus, or its IOMMU's space. The
/// name tells apart several devices of one make.
pub struct Bus<D: Device> {
    name: Arc<str>,
    device: PhantomData<fn() -> D>,
}

impl<D: Device> Bus<D> {
    /// The bus of the device called `name` ("0000:00:03.0").
    pub fn of(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            device: PhantomData,
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

// Derived, these would ask the same of `D`.
impl<D: Device> Clone for Bus<D> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            device: PhantomData,
        }
    }
}

impl<D: Device> PartialEq for Bus<D> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<D: Device> fmt::Debug for Bus<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", D::NAME, self.name)
    }
}

impl<D: Device> Space for Bus<D> {
    const NAME: &'static str = D::NAME;
}

/// Ranges of one device or file were about to be used on another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ranges belong to {have}, not to {want}")]
pub struct WrongSpace {
    /// Where they belong.
    pub have: String,
    /// Where they were to be used.
    pub want: String,
}
