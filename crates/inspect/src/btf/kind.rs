//! The kinds of BTF types and how many bytes each takes.
//!
//! `Documentation/bpf/btf.rst`, section "Type Encoding". Since the layout table
//! exists (2026), a kind that is unknown here can still be stepped over.

use super::bytes::u32_at;

/// Bytes of `struct btf_type` before what is particular to the kind.
pub(super) const COMMON: usize = 12;

/// A kind of type, as far as anything here needs to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    /// const, volatile, restrict and type tags: they name another type.
    Modifier,
    Func,
    FuncProto,
    Float,
    /// Declarations and whatever a later kernel adds.
    Other,
}

/// What follows the common part: a fixed size and one for each element.
#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    fixed: u8,
    element: u8,
}

fn known(kind: u32) -> Option<Shape> {
    let (kind, fixed, element) = match kind {
        1 => (Kind::Int, 4, 0),
        2 => (Kind::Ptr, 0, 0),
        3 => (Kind::Array, 12, 0),
        4 => (Kind::Struct, 0, 12),
        5 => (Kind::Union, 0, 12),
        6 => (Kind::Enum, 0, 8),
        7 => (Kind::Fwd, 0, 0),
        8 => (Kind::Typedef, 0, 0),
        9..=11 | 18 => (Kind::Modifier, 0, 0),
        12 => (Kind::Func, 0, 0),
        13 => (Kind::FuncProto, 0, 8),
        14 => (Kind::Other, 4, 0),
        15 => (Kind::Other, 0, 12),
        16 => (Kind::Float, 0, 0),
        17 => (Kind::Other, 4, 0),
        19 => (Kind::Enum, 0, 12),
        _ => return None,
    };
    Some(Shape {
        kind,
        fixed,
        element,
    })
}

/// One type as it stands in the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) kind: Kind,
    /// Offset into the strings; 0 for anonymous ones.
    pub(super) name: u32,
    /// Elements: members, parameters, enumerators.
    pub(super) count: usize,
    /// Members carry the width of bit fields beside their offset.
    pub(super) bit_widths: bool,
    /// The size in bytes, or the id of the type that this one names.
    pub(super) size_or_type: u32,
    /// Where the particular part starts.
    pub(super) body: usize,
    /// Where the next type starts.
    pub(super) end: usize,
}

impl Type {
    /// Reads the type at `at`; `None` if it is cut off or of a kind that can't be measured.
    pub(super) fn read(data: &[u8], at: usize, layout: &[u8]) -> Option<Self> {
        let name = u32_at(data, at)?;
        let info = u32_at(data, at + 4)?;
        let size_or_type = u32_at(data, at + 8)?;
        // Seven bits of kind and 24 of count; older kernels leave the extra bits zero.
        let number = (info >> 24) & 0x7f;
        let count = (info & 0x00ff_ffff) as usize;
        let shape = known(number).or_else(|| described(number, layout))?;
        let body = at + COMMON;
        let particular = count
            .checked_mul(usize::from(shape.element))?
            .checked_add(usize::from(shape.fixed))?;
        let end = body.checked_add(particular)?;
        (end <= data.len()).then_some(Self {
            kind: shape.kind,
            name,
            count: if shape.element == 0 { 0 } else { count },
            bit_widths: info >> 31 == 1,
            size_or_type,
            body,
            end,
        })
    }
}

/// The shape that the data's own layout table gives to a kind unknown here.
fn described(kind: u32, layout: &[u8]) -> Option<Shape> {
    let at = (kind as usize).checked_mul(4)?;
    let entry = layout.get(at..)?.first_chunk::<4>()?;
    let [fixed, element, ..] = *entry;
    let sound = kind != 0 && fixed % 4 == 0 && element % 4 == 0;
    sound.then_some(Shape {
        kind: Kind::Other,
        fixed,
        element,
    })
}
