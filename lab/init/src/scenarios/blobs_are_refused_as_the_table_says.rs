//! The row of the error table about blobs (drivers/gpu/drm/virtio/
//! virtgpu_ioctl.c). It needs a device with blobs, which QEMU has only where
//! there is a udmabuf: inside the emulated machine.

use std::time::Duration;

use anyhow::Result;

use crate::checks::Checks;
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};
use crate::sys::drm::{Blob, Card};

const GUEST: u32 = 1;
const HOST3D: u32 = 2;
const MAPPABLE: u32 = 1;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "blobs_are_refused_as_the_table_says",
    claim: "virtio-gpu answers every blob that it can't make with EINVAL, and does not look at padding",
    storey: Storey::Nested,
    needs: Needs {
        modules: &["virtio-gpu"],
        devices: &[Device::VIRTIO_GPU_BLOB],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let card = Card::open("virtio_gpu")?;
    let right = Blob {
        blob_mem: GUEST,
        blob_flags: MAPPABLE,
        size: 4096,
        ..Blob::default()
    };
    let mut made = right;
    checks.answers("a guest blob", card.create_blob(&mut made), "ok");
    checks.holds(
        "it has a handle and a resource",
        made.bo_handle > 0 && made.res_handle > 0,
        format!("{made:?}"),
    );
    for (what, mut blob) in [
        (
            "no memory",
            Blob {
                blob_mem: 0,
                ..right
            },
        ),
        (
            "unknown memory",
            Blob {
                blob_mem: 4,
                ..right
            },
        ),
        (
            "the host's memory, without 3D",
            Blob {
                blob_mem: HOST3D,
                ..right
            },
        ),
        (
            "unknown flags",
            Blob {
                blob_flags: 8,
                ..right
            },
        ),
        (
            "a command for a guest blob",
            Blob {
                cmd_size: 4,
                ..right
            },
        ),
        (
            "the host's name for a guest blob",
            Blob {
                blob_id: 1,
                ..right
            },
        ),
    ] {
        checks.answers(what, card.create_blob(&mut blob), "EINVAL");
    }
    let mut padded = Blob { pad: 1, ..right };
    checks.answers(
        "padding is not looked at",
        card.create_blob(&mut padded),
        "ok",
    );
    Ok(())
}
