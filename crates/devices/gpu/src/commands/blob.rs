//! RESOURCE_CREATE_BLOB: plain bytes that guest and host share.
//!
//! | memory | its bytes are | needs |
//! |---|---|---|
//! | GUEST | the guest's pages in the entries | |
//! | HOST3D | new host memory | VIRGL, `blob_id` 0, no entries |
//! | HOST3D_GUEST | new host memory; the entries are a shadow for transfers | VIRGL, `blob_id` 0 |
//!
//! The specification lets `blob_id` name an object that a context made. This
//! device's contexts make none, so `blob_id` 0, which stands for plain memory,
//! is the only one there is.

use landbridge_exchange::importers::window::PAGE;
use landbridge_protocol_gpu::{BlobFlags, BlobMem, Features, ResourceCreateBlob, Response};

use crate::backing::Backing;
use crate::commands::Call;
use crate::error::Error;
use crate::resources::Kind;

/// Makes a blob.
pub(crate) fn create(call: Call<'_>, create: &ResourceCreateBlob<'_>) -> Result<Response, Error> {
    check(call, create)?;
    let backing = if create.entries.is_empty() {
        // The specification allows a guest to attach it later.
        None
    } else {
        Some(Backing::new(call.core, &create.entries, Some(create.size))?)
    };
    let flags = create.flags;
    let kind = match create.mem {
        BlobMem::Guest => Kind::Guest {
            size: create.size,
            flags,
        },
        BlobMem::Host3d => Kind::Host {
            buffer: call.core.allocate("virtio-gpu blob", create.size)?,
            flags,
        },
        BlobMem::Host3dGuest => Kind::Shadowed {
            buffer: call.core.allocate("virtio-gpu blob", create.size)?,
            flags,
        },
    };
    let id = create.resource_id;
    let bounds = &call.core.config.bounds;
    call.state()?.resources.insert(id, kind, backing, bounds)?;
    Ok(Response::OkNoData)
}

fn check(call: Call<'_>, create: &ResourceCreateBlob<'_>) -> Result<(), Error> {
    let field = |what, value| Err(Error::Field { what, value });
    {
        let state = call.state()?;
        let bounds = &call.core.config.bounds;
        state.resources.check_free(create.resource_id, bounds)?;
        if call.header.ctx_id != 0 {
            state.contexts.check(call.header.ctx_id)?;
        }
    }
    if create.size == 0 || !create.size.is_multiple_of(PAGE) {
        return field("a blob's size", create.size);
    }
    let cross_device = create.flags.contains(BlobFlags::CROSS_DEVICE);
    if cross_device && !call.has(Features::RESOURCE_UUID) {
        return field("a blob's flags", create.flags.bits().into());
    }
    if create.mem == BlobMem::Guest {
        return Ok(());
    }
    if !call.has(Features::VIRGL) {
        return field("a blob's memory type", create.mem as u64);
    }
    if create.blob_id != 0 {
        return field("a blob's host object", create.blob_id);
    }
    if create.mem == BlobMem::Host3d && !create.entries.is_empty() {
        return field(
            "a host blob's number of entries",
            create.entries.len() as u64,
        );
    }
    Ok(())
}
