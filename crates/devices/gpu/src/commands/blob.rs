//! RESOURCE_CREATE_BLOB: plain bytes that guest and host share.
//!
//! | memory | its bytes are | needs |
//! |---|---|---|
//! | GUEST | the guest's pages in the entries | |
//! | HOST3D | new host memory, or a host object | VIRGL, no entries |
//! | HOST3D_GUEST | new host memory; the entries are a shadow for transfers | VIRGL, `blob_id` 0 |
//!
//! `blob_id` 0 is new memory; another one names what the host offers under that
//! number ([`HostObjects`](crate::HostObjects)), in every context, and the
//! blob must be of just its size: the whole of it is mapped.

use landbridge_exchange::Buffer;
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
    } else if create.mem == BlobMem::Guest {
        Some(Backing::blob(call.core, &create.entries, create.size)?)
    } else {
        let size = Some(create.size);
        Some(Backing::shadow(call.core, &create.entries, size)?)
    };
    let flags = create.flags;
    let kind = match create.mem {
        BlobMem::Guest => Kind::Guest {
            size: create.size,
            flags,
        },
        BlobMem::Host3d => Kind::Host {
            buffer: host_memory(call, create)?,
            flags,
            idles: create.blob_id == 0 && call.core.may_idle(flags),
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

/// New memory, or what the host offers.
fn host_memory(call: Call<'_>, create: &ResourceCreateBlob<'_>) -> Result<Buffer, Error> {
    if create.blob_id == 0 {
        return call.core.allocate("virtio-gpu blob", create.size);
    }
    let object = call.core.host_objects.get(create.blob_id);
    let buffer = object.ok_or(Error::Field {
        what: "a blob's host object",
        value: create.blob_id,
    })?;
    if buffer.size() != create.size {
        return Err(Error::Field {
            what: "the size of a blob of this host object",
            value: create.size,
        });
    }
    Ok(buffer)
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
    if create.mem == BlobMem::Host3dGuest && create.blob_id != 0 {
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
