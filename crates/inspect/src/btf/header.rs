//! The header of BTF data: where types, strings and the layout table lie.
//!
//! `struct btf_header` of `include/uapi/linux/btf.h`. `hdr_len` is honoured, so
//! a header that grows again is read as far as it is known here.

use std::ops::Range;

use super::bytes::{u16_at, u32_at};
use crate::error::Error;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const SHORT_HEADER: usize = 24;
const HEADER_WITH_LAYOUT: usize = 32;

/// Byte ranges of the sections, checked to lie inside the data.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    pub(super) layout: Range<usize>,
}

impl Sections {
    pub(super) fn parse(data: &[u8]) -> Result<Self, Error> {
        let malformed = |what, offset| Error::BtfMalformed { what, offset };
        let magic = u16_at(data, 0).ok_or(malformed("too short for a header", 0))?;
        if magic != MAGIC {
            return Err(malformed("not BTF of this machine's byte order", 0));
        }
        if data.get(2) != Some(&VERSION) {
            return Err(malformed("unknown version", 2));
        }
        let header = u32_at(data, 4).ok_or(malformed("too short for a header", 4))? as usize;
        if header < SHORT_HEADER || header > data.len() {
            return Err(malformed("impossible header length", 4));
        }
        let section = |at: usize| {
            let start = (u32_at(data, at)? as usize).checked_add(header)?;
            let end = start.checked_add(u32_at(data, at + 4)? as usize)?;
            (end <= data.len()).then_some(start..end)
        };
        let types = section(8).ok_or(malformed("types outside the data", 8))?;
        let strings = section(16).ok_or(malformed("strings outside the data", 16))?;
        let layout = if header >= HEADER_WITH_LAYOUT {
            section(24).ok_or(malformed("layout table outside the data", 24))?
        } else {
            0..0
        };
        if types.start % 4 != 0 {
            return Err(malformed("types not aligned", 8));
        }
        // String 0 is the empty one, and the last string must end inside.
        let text = &data[strings.clone()];
        if text.first() != Some(&0) || text.last() != Some(&0) {
            return Err(malformed("strings not terminated", strings.start));
        }
        Ok(Self {
            types,
            strings,
            layout,
        })
    }
}
