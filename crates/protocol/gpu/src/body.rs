//! How the body of a command, what follows its header, meets the bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ParseError;

/// A structure as it lies on the wire: every bit pattern valid, no alignment.
pub(crate) trait Wire: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {}
impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> Wire for T {}

/// The decoded body of a command: a fixed part and, for some, a tail.
pub(crate) trait Body<'a>: Sized {
    /// The fixed part on the wire.
    type Wire: Wire + 'a;

    /// The structure's name in the UAPI header, for error messages.
    const NAME: &'static str;

    /// Decodes the fixed part and takes what belongs to it from `tail`, the
    /// bytes that follow. Must not allocate more than `tail` bears out.
    fn decode(wire: &'a Self::Wire, tail: &'a [u8]) -> Result<Self, ParseError>;

    /// The fixed part. `decode` of it and [`Body::tail`] gives `self` back.
    fn wire(&self) -> Self::Wire;

    /// The bytes that follow the fixed part.
    fn tail(&self) -> &[u8] {
        &[]
    }
}

/// Splits a `T` off the front of `bytes`.
pub(crate) fn take<'a, T: Wire>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(&'a T, &'a [u8]), ParseError> {
    T::ref_from_prefix(bytes).map_err(|_| ParseError::TooShort {
        what,
        need: size_of::<T>(),
        have: bytes.len(),
    })
}

/// Parses a whole body.
pub(crate) fn parse<'a, B: Body<'a>>(bytes: &'a [u8]) -> Result<B, ParseError> {
    let (wire, tail) = take::<B::Wire>(bytes, B::NAME)?;
    B::decode(wire, tail)
}

/// Appends a whole body to `out`.
pub(crate) fn push<'a, B: Body<'a>>(body: &B, out: &mut Vec<u8>) {
    out.extend_from_slice(body.wire().as_bytes());
    out.extend_from_slice(body.tail());
}

/// A length as the 32 bits that the wire has for it.
///
/// A tail that no 32-bit count can describe gets the largest count, which the
/// parser on the other side then refuses.
pub(crate) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
