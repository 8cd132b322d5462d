//! Displays: connectors and their modes, framebuffers, dumb buffers, page flips.

use anyhow::{Context as _, Result, ensure};
use landbridge_dmabuf::gem::virtgpu;
use rustix::io::Errno;

use super::blob::Made;
use super::card::Card;
use super::picture::Picture;
use crate::sys::ioctl::ioctl;
use crate::sys::kms::wire::{
    AddFramebuffer, CrtcSet, DirtyFramebuffer, ModeInfo, PageFlip, REMOVE_FRAMEBUFFER,
};
use crate::sys::kms::{self, text};
use crate::sys::memory::Map;

/// `DRM_FORMAT_XRGB8888`.
const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
/// `DRM_MODE_TYPE_PREFERRED`.
const PREFERRED: u32 = 1 << 3;
/// `DRM_EVENT_FLIP_COMPLETE`.
const FLIP_COMPLETE: u32 = 2;

/// A way to drive a display.
#[derive(Debug, Clone, Copy)]
pub struct Mode(ModeInfo);

impl Mode {
    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.0.horizontal[0].into(), self.0.vertical[0].into())
    }

    /// Whether the display asks for it.
    #[must_use]
    pub fn is_preferred(&self) -> bool {
        self.0.kind & PREFERRED != 0
    }

    /// Its name: "640x480".
    #[must_use]
    pub fn name(&self) -> String {
        text(&self.0.name)
    }
}

/// An output as the guest sees it.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Its number.
    pub id: u32,
    /// Whether a display is there.
    pub connected: bool,
    /// How it can be driven.
    pub modes: Vec<Mode>,
    /// The display's own description.
    pub edid: Vec<u8>,
}

impl Connector {
    /// The mode that the display asks for.
    ///
    /// # Errors
    /// When it asks for none.
    pub fn preferred(&self) -> Result<Mode> {
        let found = self.modes.iter().find(|mode| mode.is_preferred());
        found
            .or(self.modes.first())
            .copied()
            .context("the display has no mode")
    }
}

/// A CRTC and the connector that it drives.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// The CRTC.
    pub crtc: u32,
    /// The connector.
    pub connector: u32,
    /// How it is driven.
    pub mode: Mode,
}

impl Card {
    /// The connectors, with what their displays say now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connectors(&self) -> Result<Vec<Connector>, Errno> {
        let lists = kms::resources(self)?;
        lists
            .connectors
            .iter()
            .map(|id| self.connector(*id))
            .collect()
    }

    fn connector(&self, id: u32) -> Result<Connector, Errno> {
        let lists = kms::connector(self, id)?;
        let mut edid = Vec::new();
        for (property, value) in lists.properties.iter().zip(&lists.values) {
            if kms::property_name(self, *property)? == "EDID" && *value != 0 {
                edid = kms::property_blob(self, *value as u32)?;
            }
        }
        Ok(Connector {
            id,
            connected: lists.fixed.connection == 1,
            modes: lists.modes.into_iter().map(Mode).collect(),
            edid,
        })
    }

    /// The screen of output `index`, in the mode that it asks for.
    ///
    /// # Errors
    /// When there is no such output.
    pub fn screen(&self, index: usize) -> Result<Screen> {
        let crtcs = kms::resources(self)?.crtcs;
        let connectors = self.connectors()?;
        let connector = connectors.get(index).context("no such output")?;
        Ok(Screen {
            // virtio-gpu makes one CRTC for each output, in the same order.
            crtc: *crtcs.get(index).context("no such CRTC")?,
            connector: connector.id,
            mode: connector.preferred()?,
        })
    }

    /// Makes a dumb buffer for a picture and maps it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dumb(&self, width: u32, height: u32) -> Result<(Made, u32, Map)> {
        let dumb = self.device.create_dumb(width, height, 32)?;
        let (pitch, size) = (dumb.pitch, dumb.object.size());
        let made = Made {
            resource: virtgpu::info(&dumb.object)?.resource,
            handle: self.keep(dumb.object),
            size,
        };
        let map = self.map(made)?;
        Ok((made, pitch, map))
    }

    /// Makes a framebuffer of an object that holds `picture`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn framebuffer(&self, handle: u32, picture: Picture) -> Result<u32, Errno> {
        let mut add = AddFramebuffer {
            width: picture.width,
            height: picture.height,
            pixel_format: XRGB8888,
            handles: [handle, 0, 0, 0],
            pitches: [picture.pitch, 0, 0, 0],
            ..AddFramebuffer::default()
        };
        ioctl(self, AddFramebuffer::OP, &mut add)?;
        Ok(add.fb_id)
    }

    /// Gives a framebuffer back; a screen that shows it goes dark.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_framebuffer(&self, framebuffer: u32) -> Result<(), Errno> {
        ioctl(self, REMOVE_FRAMEBUFFER, &mut framebuffer.clone())?;
        Ok(())
    }

    /// Sets a mode and shows a framebuffer.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, screen: &Screen, framebuffer: u32) -> Result<(), Errno> {
        let set = CrtcSet {
            crtc_id: screen.crtc,
            fb_id: framebuffer,
            mode_valid: 1,
            mode: screen.mode.0,
            ..CrtcSet::default()
        };
        kms::set_crtc(self, set, &[screen.connector])
    }

    /// Switches a screen off.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn switch_off(&self, screen: &Screen) -> Result<(), Errno> {
        let set = CrtcSet {
            crtc_id: screen.crtc,
            ..CrtcSet::default()
        };
        kms::set_crtc(self, set, &[])
    }

    /// Tells the device that a framebuffer's pixels changed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dirty(&self, framebuffer: u32) -> Result<(), Errno> {
        let mut dirty = DirtyFramebuffer {
            fb_id: framebuffer,
            ..DirtyFramebuffer::default()
        };
        ioctl(self, DirtyFramebuffer::OP, &mut dirty)?;
        Ok(())
    }

    /// Flips to a framebuffer and waits for the event that says that it is
    /// shown.
    ///
    /// # Errors
    /// What the kernel says; an event of something else.
    pub fn flip(&self, screen: &Screen, framebuffer: u32, mark: u64) -> Result<()> {
        let mut flip = PageFlip {
            crtc_id: screen.crtc,
            fb_id: framebuffer,
            flags: PageFlip::EVENT,
            user_data: mark,
            ..PageFlip::default()
        };
        ioctl(self, PageFlip::OP, &mut flip)?;
        // struct drm_event_vblank
        let mut event = [0_u8; 32];
        let read = rustix::io::read(self, &mut event)?;
        ensure!(read == event.len(), "an event of {read} bytes");
        let [kind, ..] = event.as_chunks::<4>().0 else {
            unreachable!("32 bytes are eight words");
        };
        ensure!(
            u32::from_le_bytes(*kind) == FLIP_COMPLETE,
            "an event of type {kind:?}"
        );
        let told = event.as_chunks::<8>().0[1];
        ensure!(
            u64::from_le_bytes(told) == mark,
            "the event of another flip"
        );
        Ok(())
    }
}
