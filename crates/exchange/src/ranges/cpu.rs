//! What an exporter with ranges needs no code of its own for: a CPU view, and
//! the maps that put its bytes into a window.

use landbridge_dmabuf::{Access, Mapping, Piece, Result};

use crate::ranges::{File, RangeSlice};

/// Ranges of files that a CPU can map: all of them say how such a mapping is
/// cached.
#[derive(Debug, Clone, Copy)]
pub struct CpuRanges<'a>(RangeSlice<'a, File>);

/// What a window maps to show some of the ranges.
#[derive(Debug, Clone, Copy)]
pub struct WindowPiece<'a> {
    /// The file.
    pub file: &'a File,
    /// Where in the file, in bytes.
    pub file_offset: u64,
    /// Where in the window, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

impl<'a> CpuRanges<'a> {
    pub(super) fn new(slice: RangeSlice<'a, File>) -> Option<Self> {
        let mut ranges = slice.ranges();
        ranges
            .all(|(_, run)| run.notes().cpu().is_some())
            .then_some(Self(slice))
    }

    /// One contiguous view of all of them. Every range is whole pages of its
    /// file, whose owner is trusted not to shrink it.
    pub fn map(&self, access: Access) -> Result<Mapping> {
        let pieces: Vec<_> = self
            .0
            .ranges()
            .map(|(range, run)| {
                Piece::new(run.space(), range.start(), range.len()).trusting_owner()
            })
            .collect();
        Mapping::stitch(&pieces, access)
    }

    /// The maps that show all of them in a window, from `offset` on, without a
    /// gap.
    pub fn window(&self, offset: u64) -> impl Iterator<Item = WindowPiece<'a>> + use<'a> {
        let mut at = offset;
        self.0.ranges().map(move |(range, run)| {
            let piece = WindowPiece {
                file: run.space(),
                file_offset: range.start(),
                offset: at,
                len: range.len(),
            };
            at += range.len();
            piece
        })
    }
}
