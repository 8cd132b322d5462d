//! Blobs: created, named by UUID, mapped into the window, scanned out.

use std::borrow::Cow;
use std::sync::Arc;

use landbridge_dmabuf::View;
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command, CommandKind, ControlHeader, Format, MapCaching, Rect,
    ResourceCreateBlob, ResourceMapBlob, Response, SetScanoutBlob,
};
use uuid::Uuid;

use super::twod::reference;
use super::{Backing, Gpu, Resource, unexpected};
use crate::error::{Error, Result};
use crate::guest::{EmbeddedGuest, GuestWindow, PAGE};

/// A blob to be created.
#[derive(Debug)]
pub struct NewBlob<'a> {
    /// Whose memory it is.
    pub mem: BlobMem,
    /// What for.
    pub flags: BlobFlags,
    /// Which of the host's objects, if the host's.
    pub blob_id: u64,
    /// Size in bytes.
    pub size: u64,
    /// The context that `blob_id` belongs to; 0 for none.
    pub ctx_id: u32,
    /// The guest's memory, if it has a share in it.
    pub backing: Option<&'a Backing>,
}

/// A blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    id: u32,
    size: u64,
}

impl Blob {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Resource for Blob {
    fn id(&self) -> u32 {
        self.id
    }
}

/// How a picture of one plane lies in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Pixel format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from row to row.
    pub stride: u32,
    /// Byte offset of the first pixel.
    pub offset: u32,
}

/// Each fails as [`Gpu::command`] does.
impl Gpu {
    /// Creates a blob.
    pub fn create_blob(&self, new: &NewBlob<'_>) -> Result<Blob> {
        let blob = Blob {
            id: self.new_resource_id(),
            size: new.size,
        };
        let command = Command::ResourceCreateBlob(ResourceCreateBlob {
            resource_id: blob.id,
            mem: new.mem,
            flags: new.flags,
            blob_id: new.blob_id,
            size: new.size,
            entries: Cow::Owned(new.backing.map(Backing::entries).unwrap_or_default()),
        });
        self.done_in(ControlHeader::in_context(new.ctx_id), &command)?;
        Ok(blob)
    }

    /// Creates a mappable blob of the host's memory.
    pub fn create_host_blob(&self, ctx_id: u32, blob_id: u64, size: u64) -> Result<Blob> {
        self.create_blob(&NewBlob {
            mem: BlobMem::Host3d,
            flags: BlobFlags::MAPPABLE | BlobFlags::SHAREABLE,
            blob_id,
            size,
            ctx_id,
            backing: None,
        })
    }

    /// Creates a blob of the guest's own memory.
    pub fn create_guest_blob(&self, backing: &Backing) -> Result<Blob> {
        self.create_blob(&NewBlob {
            mem: BlobMem::Guest,
            flags: BlobFlags::MAPPABLE | BlobFlags::SHAREABLE,
            blob_id: 0,
            size: backing.size(),
            ctx_id: 0,
            backing: Some(backing),
        })
    }

    /// A resource's identity; it gets one if it had none.
    pub fn assign_uuid(&self, resource: &impl Resource) -> Result<Uuid> {
        match self.plain(&Command::ResourceAssignUuid(reference(resource)))? {
            Response::OkResourceUuid(uuid) => Ok(uuid),
            other => Err(unexpected(CommandKind::ResourceAssignUuid, &other)),
        }
    }

    /// Maps a blob at a place in the window that the driver chooses.
    pub fn map(&self, blob: &Blob) -> Result<GuestMapping> {
        let no_room = Error::GuestFull {
            what: "window",
            asked: blob.size,
        };
        let space = blob.size.checked_next_multiple_of(PAGE);
        let Some(space) = space.filter(|space| *space > 0) else {
            return Err(no_room);
        };
        let Some(offset) = self.window_space().take(space) else {
            return Err(no_room);
        };
        match self.map_at(blob, offset) {
            Ok(caching) => Ok(GuestMapping {
                guest: Arc::clone(&self.guest),
                blob: *blob,
                offset,
                space,
                caching,
            }),
            Err(error) => {
                self.window_space().give(offset, space);
                Err(error)
            }
        }
    }

    /// Maps a resource at a given offset of the window, which the driver does
    /// not keep account of.
    pub fn map_at(&self, blob: &impl Resource, offset: u64) -> Result<MapCaching> {
        let command = Command::ResourceMapBlob(ResourceMapBlob {
            resource_id: blob.id(),
            offset,
        });
        match self.plain(&command)? {
            Response::OkMapInfo(caching) => Ok(caching),
            other => Err(unexpected(CommandKind::ResourceMapBlob, &other)),
        }
    }

    /// Undoes [`Gpu::map`].
    pub fn unmap(&self, mapping: GuestMapping) -> Result<()> {
        self.unmap_blob(&mapping.blob)?;
        self.window_space().give(mapping.offset, mapping.space);
        Ok(())
    }

    /// Undoes [`Gpu::map_at`].
    pub fn unmap_blob(&self, blob: &impl Resource) -> Result<()> {
        self.done(&Command::ResourceUnmapBlob(reference(blob)))
    }

    /// Shows a picture that lies in a blob.
    pub fn set_scanout_blob(
        &self,
        scanout_id: u32,
        blob: &impl Resource,
        picture: Picture,
    ) -> Result<()> {
        self.done(&Command::SetScanoutBlob(SetScanoutBlob {
            rect: Rect::of_size(picture.width, picture.height),
            scanout_id,
            resource_id: blob.id(),
            width: picture.width,
            height: picture.height,
            format_code: picture.format.code(),
            strides: [picture.stride, 0, 0, 0],
            offsets: [picture.offset, 0, 0, 0],
        }))
    }
}

/// A blob that is mapped in the guest's window.
#[derive(Debug)]
pub struct GuestMapping {
    guest: Arc<EmbeddedGuest>,
    blob: Blob,
    offset: u64,
    space: u64,
    caching: MapCaching,
}

impl GuestMapping {
    /// How the device says that it must be mapped.
    pub fn caching(&self) -> MapCaching {
        self.caching
    }

    /// Where it is in the window, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a blob is never empty")]
    pub fn len(&self) -> u64 {
        self.blob.size
    }

    /// Copies bytes out, as a program in the guest reads them.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] outside the blob, [`Error::Memory`] where the
    /// device has mapped nothing.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let at = self.place(offset, len)?;
        self.window()?.read(at, len)
    }

    /// Copies bytes in, as a program in the guest writes them.
    ///
    /// # Errors
    /// As for [`GuestMapping::read`].
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let at = self.place(offset, bytes.len())?;
        self.window()?.write(at, bytes)
    }

    /// Volatile access to all of it. While it lasts, nothing is mapped or
    /// unmapped in this guest, so it may not wait for the device.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has mapped nothing.
    pub fn with<R>(&self, access: impl FnOnce(View<'_>) -> R) -> Result<R> {
        let at = self.place(0, self.blob.size as usize)?;
        self.window()?.with(at, self.blob.size as usize, access)
    }

    fn place(&self, offset: u64, len: usize) -> Result<u64> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.blob.size => Ok(self.offset + offset),
            _ => Err(Error::OutOfBounds {
                what: "the blob",
                offset,
                len: len as u64,
            }),
        }
    }

    fn window(&self) -> Result<&GuestWindow> {
        self.guest.window().ok_or(Error::Ended)
    }
}
