//! Trap: udmabuf's limits are module parameters, and the kernel says EINVAL for
//! anything past them, as for everything else.

use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::udmabuf::Item;
use landbridge_dmabuf::{Memfd, Udmabuf, memfd};
use rustix::fd::{AsFd as _, AsRawFd as _};

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::answer;
use crate::sys::dma_buf::{UdmabufCreate, udmabuf_create};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const SIZE_LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_udmabuf_past_its_limits_is_refused",
    claim: "the kernel refuses 64 MiB and a page, and 1025 ranges, with EINVAL; we say which limit it is",
    storey: Storey::Host,
    needs: Needs {
        alone: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let memfd = Memfd::create("large", 66 * MIB, memfd::Options::default())?;
    kernel(checks, &memfd)?;
    let device = Udmabuf::open()?;
    size(checks, &device, &memfd)?;
    ranges(checks, &device, &memfd)?;
    std::fs::write(SIZE_LIMIT, "65")?;
    let raised = device.create(&memfd, 0, 65 * MIB);
    checks.holds(
        "a raised limit is noticed",
        raised.is_ok(),
        format!("{raised:?}"),
    );
    checks.refused(
        "and it is a limit again",
        device.create(&memfd, 0, 65 * MIB + PAGE),
        "limit",
    );
    Ok(())
}

fn kernel(checks: &mut Checks, memfd: &Memfd) -> Result<()> {
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")?;
    for (size, want) in [(64 * MIB, "ok"), (64 * MIB + PAGE, "EINVAL")] {
        let create = UdmabufCreate {
            memfd: memfd.as_fd().as_raw_fd().cast_unsigned(),
            size,
            ..UdmabufCreate::default()
        };
        let answer = answer(udmabuf_create(&device, create));
        checks.equal(
            &format!("the kernel, for {size} bytes"),
            &answer.as_str(),
            &want,
        );
    }
    Ok(())
}

fn size(checks: &mut Checks, device: &Udmabuf, memfd: &Memfd) -> Result<()> {
    let exact = device.create(memfd, 0, 64 * MIB);
    checks.holds("64 MiB is a udmabuf", exact.is_ok(), format!("{exact:?}"));
    checks.refused(
        "one page more is refused by name",
        device.create(memfd, 0, 64 * MIB + PAGE),
        "size_limit_mb",
    );
    Ok(())
}

/// Every second page, so that none are neighbours.
fn ranges(checks: &mut Checks, device: &Udmabuf, memfd: &Memfd) -> Result<()> {
    let items: Vec<Item<'_>> = (0..1025)
        .map(|at| Item {
            fd: memfd.as_fd(),
            offset: at * 2 * PAGE,
            len: PAGE,
        })
        .collect();
    let exact = device.create_list(&items[..1024]);
    checks.holds(
        "1024 ranges are a udmabuf",
        exact.is_ok(),
        format!("{exact:?}"),
    );
    checks.refused(
        "one range more is refused by name",
        device.create_list(&items),
        "list_limit",
    );
    Ok(())
}
