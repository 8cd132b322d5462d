//! The hardware cursor (`DRM_IOCTL_MODE_CURSOR`).

use rustix::io::Errno;

use super::card::Card;
use crate::sys::ioctl::ioctl;
use crate::sys::kms::wire::Cursor;

impl Card {
    /// Shows the picture of 64x64 pixels in `handle` as the cursor of `crtc`;
    /// handle 0 hides it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn show_cursor(&self, crtc: u32, handle: u32) -> Result<(), Errno> {
        let mut cursor = Cursor {
            flags: Cursor::PICTURE,
            crtc_id: crtc,
            width: 64,
            height: 64,
            handle,
            ..Cursor::default()
        };
        ioctl(self, Cursor::OP, &mut cursor)?;
        Ok(())
    }

    /// Moves the cursor of `crtc`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn move_cursor(&self, crtc: u32, x: i32, y: i32) -> Result<(), Errno> {
        let mut cursor = Cursor {
            flags: Cursor::MOVE,
            crtc_id: crtc,
            x,
            y,
            ..Cursor::default()
        };
        ioctl(self, Cursor::OP, &mut cursor)?;
        Ok(())
    }
}
