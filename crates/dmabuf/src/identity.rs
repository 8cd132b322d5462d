//! Which memory a descriptor names, however many descriptors name it.

use std::fmt;
use std::os::fd::AsFd;

use crate::error::{Error, Result};

/// The kernel's identity of a file: equal for every duplicate of a descriptor,
/// in every process.
///
/// All dma-bufs live on one anonymous device, and so do all memfds: it is the
/// inode that tells two buffers apart. An inode number can come back after the
/// last descriptor is closed, so an identity means something only while a
/// descriptor of it is held. `fstat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl Identity {
    /// Asks the kernel what `fd` is.
    ///
    /// # Errors
    /// [`Error::Sys`] if `fstat` fails.
    pub fn of(fd: impl AsFd) -> Result<Self> {
        let stat = rustix::fs::fstat(fd).map_err(|e| Error::sys("fstat", e))?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.device, self.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memfd::{Memfd, Options};
    use crate::sys::page::page_size;

    #[test]
    fn duplicates_are_equal_and_strangers_are_not() {
        let size = page_size();
        let one = Memfd::create("one", size, Options::default()).unwrap();
        let two = Memfd::create("two", size, Options::default()).unwrap();
        let again = one.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(Identity::of(&one).unwrap(), Identity::of(&again).unwrap());
        let (one, two) = (Identity::of(&one).unwrap(), Identity::of(&two).unwrap());
        assert_ne!(one, two);
        assert_eq!(one.device, two.device, "memfds share one device");
    }

    #[test]
    fn displays_the_device_in_hex_and_the_inode_in_decimal() {
        let identity = Identity {
            device: 0x1f,
            inode: 42,
        };
        assert_eq!(identity.to_string(), "1f:42");
    }
}
