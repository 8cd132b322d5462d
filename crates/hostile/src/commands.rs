//! Commands in short, as the rows write them.

use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command, ContextInit, ContextName, ControlHeader, CtxCreate, Cursor,
    CursorPosition, Format, MemEntry, Rect, ResourceAttachBacking, ResourceCreate2d,
    ResourceCreateBlob, ResourceFlush, ResourceMapBlob, ResourceRef, SetScanout, SetScanoutBlob,
    TransferToHost2d,
};

/// Address and length of each entry.
pub type Entries<'a> = &'a [(u64, u32)];

/// A 2D resource of 32-bit pixels.
pub fn create_2d(id: u32, width: u32, height: u32) -> Command<'static> {
    Command::ResourceCreate2d(ResourceCreate2d {
        resource_id: id,
        format: Format::R8G8B8A8,
        width,
        height,
    })
}

/// Entries of a backing list.
pub fn entries(list: Entries<'_>) -> Vec<MemEntry> {
    list.iter()
        .map(|(at, len)| MemEntry::new(*at, *len))
        .collect()
}

/// Memory for a resource.
pub fn attach(id: u32, list: Entries<'_>) -> Command<'static> {
    Command::ResourceAttachBacking(ResourceAttachBacking {
        resource_id: id,
        entries: entries(list).into(),
    })
}

fn of(id: u32) -> ResourceRef {
    ResourceRef { resource_id: id }
}

/// Takes a resource's memory away.
pub fn detach(id: u32) -> Command<'static> {
    Command::ResourceDetachBacking(of(id))
}

/// Gives a resource up.
pub fn unref(id: u32) -> Command<'static> {
    Command::ResourceUnref(of(id))
}

/// Copies pixels to the host.
pub fn transfer(id: u32, rect: Rect, offset: u64) -> Command<'static> {
    Command::TransferToHost2d(TransferToHost2d {
        rect,
        offset,
        resource_id: id,
    })
}

/// Shows a 2D resource.
pub fn set_scanout(scanout: u32, id: u32, rect: Rect) -> Command<'static> {
    Command::SetScanout(SetScanout {
        rect,
        scanout_id: scanout,
        resource_id: id,
    })
}

/// Says that pixels changed.
pub fn flush(id: u32, rect: Rect) -> Command<'static> {
    Command::ResourceFlush(ResourceFlush {
        rect,
        resource_id: id,
    })
}

/// A blob.
pub fn blob(
    id: u32,
    mem: BlobMem,
    flags: BlobFlags,
    size: u64,
    list: Entries<'_>,
) -> Command<'static> {
    Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: id,
        mem,
        flags,
        blob_id: 0,
        size,
        entries: entries(list).into(),
    })
}

/// Host memory for every use.
pub fn host_blob(id: u32, size: u64) -> Command<'static> {
    blob(id, BlobMem::Host3d, BlobFlags::all(), size, &[])
}

/// The guest's memory for every use.
pub fn guest_blob(id: u32, size: u64, list: Entries<'_>) -> Command<'static> {
    blob(id, BlobMem::Guest, BlobFlags::all(), size, list)
}

/// Puts a blob into the window.
pub fn map(id: u32, offset: u64) -> Command<'static> {
    Command::ResourceMapBlob(ResourceMapBlob {
        resource_id: id,
        offset,
    })
}

/// Takes it out.
pub fn unmap(id: u32) -> Command<'static> {
    Command::ResourceUnmapBlob(of(id))
}

/// Gives a blob a UUID.
pub fn assign_uuid(id: u32) -> Command<'static> {
    Command::ResourceAssignUuid(of(id))
}

/// A picture with packed rows at the blob's beginning.
pub fn picture(scanout: u32, id: u32, width: u32, height: u32) -> SetScanoutBlob {
    SetScanoutBlob {
        rect: Rect::of_size(width, height),
        scanout_id: scanout,
        resource_id: id,
        width,
        height,
        format_code: Format::R8G8B8A8.code(),
        strides: [width.wrapping_mul(4), 0, 0, 0],
        offsets: [0; 4],
    }
}

/// Shows a blob as [`picture`] says.
pub fn show(scanout: u32, id: u32, width: u32, height: u32) -> Command<'static> {
    Command::SetScanoutBlob(picture(scanout, id, width, height))
}

/// A cursor of this resource at 0, 0.
pub fn cursor(scanout: u32, id: u32) -> Cursor {
    Cursor {
        position: CursorPosition {
            scanout_id: scanout,
            x: 0,
            y: 0,
        },
        resource_id: id,
        hot_x: 0,
        hot_y: 0,
    }
}

/// A context without a name.
pub fn create_context(init: u32) -> Command<'static> {
    Command::CtxCreate(CtxCreate {
        init: ContextInit(init),
        name: ContextName::default(),
    })
}

/// Attaches a resource to a context.
pub fn attach_to_context(id: u32) -> Command<'static> {
    Command::CtxAttachResource(of(id))
}

/// And detaches it.
pub fn detach_from_context(id: u32) -> Command<'static> {
    Command::CtxDetachResource(of(id))
}

/// A rectangle.
pub fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

/// A command's bytes with the 32-bit word at `offset` replaced.
pub fn patched(command: &Command<'_>, offset: usize, word: u32) -> Vec<u8> {
    let mut bytes = command.encode(&ControlHeader::default());
    bytes[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
    bytes
}
