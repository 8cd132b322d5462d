//! 2D resources and scanouts.

use landbridge_protocol_gpu::{
    Command, Format, Rect, ResourceAttachBacking, ResourceCreate2d, ResourceFlush, ResourceRef,
    SetScanout, TransferToHost2d,
};

use super::{Backing, Gpu, Resource};
use crate::error::Result;

/// A resource of pixels that the device stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource2d {
    id: u32,
    /// Pixel format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Resource2d {
    /// All of it.
    pub fn rect(&self) -> Rect {
        Rect::of_size(self.width, self.height)
    }

    /// How many bytes of backing it needs.
    pub fn size(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * u64::from(self.format.bytes_per_pixel())
    }
}

impl Resource for Resource2d {
    fn id(&self) -> u32 {
        self.id
    }
}

/// Each fails as [`Gpu::command`] does.
impl Gpu {
    /// Creates a 2D resource.
    pub fn create_2d(&self, format: Format, width: u32, height: u32) -> Result<Resource2d> {
        let resource = Resource2d {
            id: self.new_resource_id(),
            format,
            width,
            height,
        };
        self.done(&Command::ResourceCreate2d(ResourceCreate2d {
            resource_id: resource.id,
            format,
            width,
            height,
        }))?;
        Ok(resource)
    }

    /// Destroys a resource of any kind.
    pub fn unref(&self, resource: &impl Resource) -> Result<()> {
        self.done(&Command::ResourceUnref(reference(resource)))
    }

    /// Gives a resource its guest memory, which must outlive it or be detached.
    pub fn attach_backing(&self, resource: &impl Resource, backing: &Backing) -> Result<()> {
        self.done(&Command::ResourceAttachBacking(ResourceAttachBacking {
            resource_id: resource.id(),
            entries: backing.entries().into(),
        }))
    }

    /// Takes a resource's guest memory away.
    pub fn detach_backing(&self, resource: &impl Resource) -> Result<()> {
        self.done(&Command::ResourceDetachBacking(reference(resource)))
    }

    /// Copies `rect` from the guest's backing, at byte `offset`, into the
    /// resource.
    pub fn transfer(&self, resource: &impl Resource, rect: Rect, offset: u64) -> Result<()> {
        self.done(&Command::TransferToHost2d(TransferToHost2d {
            rect,
            offset,
            resource_id: resource.id(),
        }))
    }

    /// Shows a part of a resource.
    pub fn set_scanout(&self, scanout_id: u32, resource: &impl Resource, rect: Rect) -> Result<()> {
        self.done(&Command::SetScanout(SetScanout {
            rect,
            scanout_id,
            resource_id: resource.id(),
        }))
    }

    /// Turns a scanout off.
    pub fn disable_scanout(&self, scanout_id: u32) -> Result<()> {
        self.set_scanout(scanout_id, &0, Rect::default())
    }

    /// Shows what changed in `rect`.
    pub fn flush(&self, resource: &impl Resource, rect: Rect) -> Result<()> {
        self.done(&Command::ResourceFlush(ResourceFlush {
            rect,
            resource_id: resource.id(),
        }))
    }
}

pub(super) fn reference(resource: &impl Resource) -> ResourceRef {
    ResourceRef {
        resource_id: resource.id(),
    }
}
