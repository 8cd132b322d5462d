//! Guest memory behind a resource.

use landbridge_protocol_gpu::MemEntry;

use super::Gpu;
use crate::error::{Error, Result};
use crate::guest::{PAGE, Pages};

/// Guest memory behind a resource, in one piece or in many.
#[derive(Debug)]
pub struct Backing {
    pieces: Vec<Pages>,
    size: u64,
}

impl Gpu {
    /// `size` bytes in one piece.
    ///
    /// # Errors
    /// [`Error::GuestFull`].
    pub fn backing(&self, size: u64) -> Result<Backing> {
        let pieces = vec![self.guest().allocate(size)?];
        Ok(Backing { pieces, size })
    }

    /// `size` bytes in single pages that never follow each other, as a guest
    /// that has run for a while has them.
    ///
    /// # Errors
    /// [`Error::GuestFull`].
    pub fn scattered_backing(&self, size: u64) -> Result<Backing> {
        let count = size.div_ceil(PAGE);
        // First fit hands them out upwards: downwards no two are neighbours.
        let mut pieces = (0..count)
            .map(|_| self.guest().allocate(PAGE))
            .collect::<Result<Vec<_>>>()?;
        pieces.sort_unstable_by_key(|page| std::cmp::Reverse(page.address()));
        Ok(Backing { pieces, size })
    }
}

impl Backing {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its pieces as the device is told them.
    pub fn entries(&self) -> Vec<MemEntry> {
        // Pieces are asked for as at most `size` bytes of a guest's memory,
        // and a device takes them in 32-bit lengths.
        let mut rest = self.size;
        let mut entries = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let len = piece.len().min(rest);
            rest -= len;
            let mut done = 0;
            while done < len {
                let part = (len - done).min(u64::from(u32::MAX - 4095));
                entries.push(MemEntry::new(piece.address() + done, part as u32));
                done += part;
            }
        }
        entries
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        self.each(offset, len as u64, |piece, at, part| {
            bytes.extend(piece.read(at, part as usize)?);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn write(&self, offset: u64, mut bytes: &[u8]) -> Result<()> {
        self.each(offset, bytes.len() as u64, |piece, at, part| {
            let (now, later) = bytes.split_at(part as usize);
            bytes = later;
            piece.write(at, now)
        })
    }

    fn each(
        &self,
        offset: u64,
        len: u64,
        mut access: impl FnMut(&Pages, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.size);
        let end = end.ok_or(Error::OutOfBounds {
            what: "a resource's guest memory",
            offset,
            len,
        })?;
        let (mut start, mut at) = (0, offset);
        for piece in &self.pieces {
            let stop = (start + piece.len()).min(end);
            if at < stop {
                access(piece, at - start, stop - at)?;
                at = stop;
            }
            start += piece.len();
        }
        Ok(())
    }
}
