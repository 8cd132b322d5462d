//! The font of a virtual console (include/uapi/linux/kd.h).
#![expect(unsafe_code, reason = "the ioctl takes an address")]

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Errno;

const KDFONTOP: libc::c_ulong = 0x4b72;
/// `KD_FONT_OP_GET`
const GET: u32 = 1;
/// Bytes that the kernel keeps for each row of eight pixels of a glyph.
pub const GLYPH_ROWS: usize = 32;

/// The most that may be asked for: 512 glyphs of 32 by 32 pixels.
const MOST: (u32, u32) = (512, 32);

/// `struct console_font_op`; the compiler's gap before the address is spelled
/// out.
#[repr(C)]
struct FontOp {
    op: u32,
    flags: u32,
    width: u32,
    height: u32,
    count: u32,
    gap: u32,
    data: u64,
}

/// The glyphs of a font, [`GLYPH_ROWS`] rows for each, one bit a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFont {
    /// Pixels in a row of a glyph.
    pub width: u32,
    /// Rows of a glyph.
    pub height: u32,
    /// All rows of all glyphs, whole bytes for each row.
    pub rows: Vec<u8>,
}

/// The font of the console `fd`.
///
/// # Errors
/// What the kernel says.
pub fn font(fd: impl AsFd) -> Result<RawFont, Errno> {
    let (count, side) = MOST;
    let mut rows = vec![0_u8; count as usize * GLYPH_ROWS * (side / 8) as usize];
    let mut op = FontOp {
        op: GET,
        flags: 0,
        width: side,
        height: side,
        count,
        gap: 0,
        data: rows.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel reads and writes one `console_font_op`, and writes at
    // most `count` glyphs of `width` by GLYPH_ROWS pixels at `data`, for which
    // the vector has room; it lives until the call returns.
    let returned = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), KDFONTOP, &raw mut op) };
    if returned < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        return Err(Errno::from_raw_os_error(errno));
    }
    rows.truncate(op.count as usize * GLYPH_ROWS * op.width.div_ceil(8) as usize);
    Ok(RawFont {
        width: op.width,
        height: op.height,
        rows,
    })
}
