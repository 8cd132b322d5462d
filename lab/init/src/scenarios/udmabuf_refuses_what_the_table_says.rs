//! The rows of the error table about udmabuf (drivers/dma-buf/udmabuf.c).

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::dma_buf::{UDMABUF_CREATE, UdmabufCreate, udmabuf_create};
use crate::sys::ioctl::ioctl_value;

const SIZE: u64 = 16 << 12;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "udmabuf_refuses_what_the_table_says",
    claim: "every refusal of udmabuf is the error that the table of facts has for it",
    storey: Storey::Host,
    needs: Needs { ..Needs::NOTHING },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")?;
    descriptors(checks, &device)?;
    seals(checks, &device)?;
    ranges(checks, &device)?;
    checks.answers(
        "a bad pointer",
        ioctl_value(&device, UDMABUF_CREATE, 1),
        "EFAULT",
    );
    checks.answers("another command", ioctl_value(&device, 0x7550, 0), "ENOTTY");
    Ok(())
}

fn descriptors(checks: &mut Checks, device: &File) -> Result<()> {
    let memfd = sealed(SealFlags::SHRINK)?;
    let buffer = create(device, &memfd, 0, SIZE)?;
    let null = File::open("/dev/null")?;
    let absent = UdmabufCreate {
        memfd: 999,
        size: SIZE,
        ..UdmabufCreate::default()
    };
    checks.answers("no descriptor", udmabuf_create(device, absent), "EBADFD");
    checks.answers("something else", create(device, &null, 0, SIZE), "EBADFD");
    checks.answers("a dma-buf", create(device, &buffer, 0, SIZE), "EBADFD");
    Ok(())
}

fn seals(checks: &mut Checks, device: &File) -> Result<()> {
    let shrink = SealFlags::SHRINK;
    for (what, seals, want) in [
        ("not sealed", SealFlags::empty(), "EINVAL"),
        ("sealed against shrinking", shrink, "ok"),
        ("and growing", shrink | SealFlags::GROW, "ok"),
        ("and sealing", shrink | SealFlags::SEAL, "ok"),
        ("and writing", shrink | SealFlags::WRITE, "EINVAL"),
        (
            "and future writing",
            shrink | SealFlags::FUTURE_WRITE,
            "EINVAL",
        ),
    ] {
        let memfd = sealed(seals)?;
        checks.answers(what, create(device, &memfd, 0, SIZE), want);
    }
    let memfd = sealed(shrink)?;
    let _buffer = create(device, &memfd, 0, SIZE)?;
    let sealed = fcntl_add_seals(&memfd, SealFlags::WRITE);
    checks.answers("sealing against writing under a udmabuf", sealed, "EBUSY");
    checks.answers(
        "shrinking under a udmabuf",
        ftruncate(&memfd, SIZE / 2),
        "EPERM",
    );
    checks.answers("growing under a udmabuf", ftruncate(&memfd, SIZE * 2), "ok");
    Ok(())
}

fn ranges(checks: &mut Checks, device: &File) -> Result<()> {
    let memfd = sealed(SealFlags::SHRINK)?;
    for (what, offset, size) in [
        ("nothing", 0, 0),
        ("an offset that is no page's", 1, 4096),
        ("a size that is no page's", 0, 4095),
        ("a page past the end", 0, SIZE + 4096),
        ("from the end on", SIZE, 4096),
        ("an offset that overflows", u64::MAX - 4095, 4096),
    ] {
        checks.answers(what, create(device, &memfd, offset, size), "EINVAL");
    }
    Ok(())
}

fn sealed(seals: SealFlags) -> Result<OwnedFd, Errno> {
    let memfd = memfd_create("table", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memfd, SIZE)?;
    fcntl_add_seals(&memfd, seals)?;
    Ok(memfd)
}

fn create(device: &File, memfd: impl AsFd, offset: u64, size: u64) -> Result<OwnedFd, Errno> {
    let create = UdmabufCreate {
        memfd: memfd.as_fd().as_raw_fd().cast_unsigned(),
        flags: 1,
        offset,
        size,
    };
    udmabuf_create(device, create)
}
