//! 3D contexts. A context's id is in the header of the command.
//!
//! Virtio 1.3, section 5.7.6.9; `struct virtio_gpu_ctx_create`. Destroying a
//! context has no body; attaching and detaching a resource share
//! [`ResourceRef`](crate::ResourceRef).

use std::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::body::{self, Body};
use crate::{CapsetId, ParseError};

/// What a context is for. Means something only with the feature
/// `CONTEXT_INIT`; zero otherwise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextInit(pub u32);

impl ContextInit {
    const CAPSET_ID_MASK: u32 = 0xff;

    /// The capset that the context speaks.
    #[must_use]
    pub fn capset_id(self) -> CapsetId {
        CapsetId(self.0 & Self::CAPSET_ID_MASK)
    }

    /// Bits that the specification has not given a meaning.
    #[must_use]
    pub fn unknown_bits(self) -> u32 {
        self.0 & !Self::CAPSET_ID_MASK
    }
}

/// A context's name for log messages: at most [`ContextName::MAX`] bytes of
/// any kind, from the guest.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ContextName(Vec<u8>);

impl ContextName {
    /// Bytes that fit.
    pub const MAX: usize = 64;

    /// Wraps a name.
    ///
    /// # Errors
    /// [`ParseError::NameTooLong`] past [`ContextName::MAX`] bytes.
    pub fn new(name: &[u8]) -> Result<Self, ParseError> {
        if name.len() > Self::MAX {
            return Err(ParseError::NameTooLong {
                len: name.len(),
                max: Self::MAX,
            });
        }
        Ok(Self(name.to_vec()))
    }

    /// The bytes, as announced: a terminating zero is kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Shows the name up to its first zero, with everything escaped that isn't
/// printable ASCII: a guest can't write control sequences into a log.
impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        write!(f, "{}", text.escape_ascii())
    }
}

impl fmt::Debug for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextName(\"{}\")", self.0.escape_ascii())
    }
}

/// `CTX_CREATE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CtxCreate {
    /// What the context is for.
    pub init: ContextInit,
    /// Its name.
    pub name: ContextName,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CtxCreateWire {
    name_len: U32,
    context_init: U32,
    name: [u8; ContextName::MAX],
}

impl<'a> Body<'a> for CtxCreate {
    type Wire = CtxCreateWire;
    const NAME: &'static str = "virtio_gpu_ctx_create";

    fn decode(wire: &CtxCreateWire, _: &[u8]) -> Result<Self, ParseError> {
        let len = usize::try_from(wire.name_len.get()).unwrap_or(usize::MAX);
        let name = wire.name.get(..len).ok_or(ParseError::NameTooLong {
            len,
            max: ContextName::MAX,
        })?;
        Ok(Self {
            init: ContextInit(wire.context_init.get()),
            name: ContextName::new(name)?,
        })
    }

    fn wire(&self) -> CtxCreateWire {
        let mut name = [0; ContextName::MAX];
        name[..self.name.0.len()].copy_from_slice(&self.name.0);
        CtxCreateWire {
            name_len: body::count(self.name.0.len()).into(),
            context_init: self.init.0.into(),
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert!(ContextName::new(&[b'x'; 64]).is_ok());
        assert_eq!(
            ContextName::new(&[b'x'; 65]),
            Err(ParseError::NameTooLong { len: 65, max: 64 })
        );
    }

    #[test]
    fn names_are_shown_escaped() {
        let name = ContextName::new(b"a\x1b[2Jb\0rest").unwrap();
        assert_eq!(name.to_string(), "a\\x1b[2Jb");
        assert_eq!(name.as_bytes().len(), 11);
    }

    #[test]
    fn init_splits_capset_from_the_rest() {
        let init = ContextInit(0x0000_0105);
        assert_eq!(init.capset_id(), CapsetId::CROSS_DOMAIN);
        assert_eq!(init.unknown_bits(), 0x100);
    }
}
