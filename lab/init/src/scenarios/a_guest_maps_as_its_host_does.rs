//! Host to guest: a buffer of the host is a blob of a stock guest under KVM, and
//! the guest's own page table caches it just as the host's does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_inspect::{Caching, Config, Inspector, MapInfo, Source};

use crate::checks::Checks;
use crate::desk::machine::{INNER_GPU, MODULE, ONE, PORT, QMP};
use crate::desk::{Desk, Shared};
use crate::exporters::VIVID_MODULE;
use crate::scenario::{Body, Device, Expect, Host, Needs, Scenario, Storey};
use crate::sys::memory::{Map, PAGE};
use crate::truth::Truth;
use crate::virtgpu::{Blob, Card, MAPPABLE, SHAREABLE};

pub(super) const SCENARIOS: &[Scenario] = &[
    guest(
        "a_guest_maps_as_its_host_does",
        "buffers of each exporter of the host are blobs that the guest caches just as the host does",
        Host {
            modules: &["vgem", VIVID_MODULE, "virtio-gpu", "bochs", "qxl"],
            devices: &[Device::VIRTIO_GPU, Device::BOCHS, Device::QXL],
        },
        each_exporter,
    ),
    guest(
        "a_guest_maps_as_its_host_does_without_pat",
        "uncached memory of a host without a page attribute table is uncached in the guest",
        Host {
            modules: &["vgem"],
            devices: &[Device {
                kernel_args: &["nopat"],
                ..Device::new("nopat", &[])
            }],
        },
        uncached,
    ),
];

const fn guest(name: &'static str, claim: &'static str, host: Host, body: Body) -> Scenario {
    Scenario {
        name,
        claim,
        storey: Storey::Nested,
        needs: Needs {
            modules: &[MODULE],
            devices: &[PORT, QMP, INNER_GPU],
            beside: ONE,
            host,
            qemu: (11, 1),
            ..Needs::NOTHING
        },
        limit: Duration::from_secs(120),
        expect: Expect::Passes,
        body,
    }
}

const SIZE: u64 = 64 << 10;

fn each_exporter(checks: &mut Checks) -> Result<()> {
    let cached = Caching::WriteBack;
    let combined = Caching::WriteCombining;
    blobs(
        checks,
        &[
            ("heap", cached),
            ("udmabuf", cached),
            ("vgem", combined),
            ("vivid-vmalloc", cached),
            ("vivid-contig", cached),
            ("virtio-gpu", cached),
            ("bochs", cached),
            ("qxl-ram", cached),
            ("qxl-bar", combined),
        ],
    )
}

fn uncached(checks: &mut Checks) -> Result<()> {
    let uncached = Caching::Uncached;
    blobs(checks, &[("heap", Caching::WriteBack), ("vgem", uncached)])
}

fn blobs(checks: &mut Checks, exporters: &[(&str, Caching)]) -> Result<()> {
    let mut desk = Desk::open()?;
    let guest = Guest {
        card: Card::open(0)?,
        truth: Truth::open()?,
        inspector: Inspector::open(Config::default()),
    };
    for (exporter, caching) in exporters {
        let shared = match desk.share(exporter, SIZE) {
            Ok(shared) => shared,
            Err(error) => {
                checks.holds(
                    &format!("{exporter}: is shared"),
                    false,
                    format!("{error:#}"),
                );
                continue;
            }
        };
        let host = (shared.info.caching, shared.info.source);
        let want = (Some(*caching), Source::Pte);
        checks.equal(&format!("{exporter}: the host's page table"), &host, &want);
        if let Err(error) = guest.look(checks, &mut desk, exporter, &shared) {
            checks.holds(
                &format!("{exporter}: is a blob"),
                false,
                format!("{error:#}"),
            );
        }
    }
    Ok(())
}

struct Guest {
    card: Card,
    truth: Truth,
    inspector: Inspector,
}

impl Guest {
    fn look(
        &self,
        checks: &mut Checks,
        desk: &mut Desk,
        exporter: &str,
        shared: &Shared,
    ) -> Result<()> {
        let number = |key: &str| shared.said[key].as_u64().context("a number of the share");
        let host = shared.info.caching;
        let made = self.card.blob(Blob {
            flags: MAPPABLE | SHAREABLE,
            object: number("blob_id")?,
            ..Blob::of_the_host(number("size")?)
        })?;
        let map = self.card.map(made).context("mapping the blob")?;
        checks.equal(
            &format!("{exporter}: the guest sees the host's bytes"),
            &first(&map),
            &None,
        );
        let page_table = self.truth.of(desk, &map)?;
        checks.equal(
            &format!("{exporter}: the guest's page table, from outside"),
            &page_table,
            &host,
        );
        let exact = |info: MapInfo| (info.caching, info.source);
        let here = self.inspector.mapping(None, map.address() as u64)?;
        let want = (host, Source::Pte);
        checks.equal(
            &format!("{exporter}: what inspect says in the guest"),
            &exact(here.info),
            &want,
        );
        let buffer = self.card.export(made.handle)?;
        let info = self.inspector.map_info(&buffer)?;
        checks.equal(
            &format!("{exporter}: and of its dma-buf"),
            &exact(info),
            &want,
        );
        Ok(())
    }
}

/// The first page that does not show what the host wrote there.
fn first(map: &Map) -> Option<(usize, u8)> {
    (0..map.len() / PAGE)
        .map(|page| (page, map.get(page * PAGE)))
        .find(|&(page, byte)| byte != (page + 1) as u8)
}
