//! The conformance suite, one exporter per scenario: the answers become the
//! matrix that the host compares with its golden file.

use std::time::Duration;

use anyhow::Result;
use landbridge_exchange::exporters::host_memory::Kind;

use crate::checks::Checks;
use crate::conformance::{self, MODULE};
use crate::exporters::{
    DISPLAYS, Dumb, OverMemfd, PlainMemfd, Region, SystemHeap, VFIO_DEVICES, VFIO_MODULES,
    VIVID_MODULE, Vivid,
};
use crate::scenario::{Body, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIOS: &[Scenario] = &[
    column("the_system_heap_is_as_written_down", BARE, heap),
    column("a_udmabuf_is_as_written_down", BARE, udmabuf),
    column(
        "a_udmabuf_of_huge_pages_is_as_written_down",
        HUGE,
        udmabuf_huge,
    ),
    column("vgem_is_as_written_down", BARE, vgem),
    column(
        "vivid_with_vmalloc_is_as_written_down",
        VIVID,
        vivid_vmalloc,
    ),
    column(
        "vivid_with_contiguous_memory_is_as_written_down",
        VIVID,
        vivid_contiguous,
    ),
    column("virtio_gpu_is_as_written_down", VIRTIO_GPU, virtio_gpu),
    column("bochs_is_as_written_down", BOCHS, bochs),
    column("qxl_in_ram_is_as_written_down", QXL, qxl_ram),
    column("qxl_in_a_bar_is_as_written_down", QXL, qxl_bar),
    column("a_vfio_region_is_as_written_down", VFIO, vfio),
    column("a_memfd_is_as_written_down", BARE, memfd),
    column(
        "our_exchange_over_a_memfd_is_as_written_down",
        BARE,
        our_memfd,
    ),
    column(
        "our_exchange_over_a_udmabuf_is_as_written_down",
        BARE,
        our_udmabuf,
    ),
    column(
        "our_exchange_over_the_heap_is_as_written_down",
        BARE,
        our_heap,
    ),
];

const fn column(name: &'static str, needs: Needs, body: Body) -> Scenario {
    Scenario {
        name,
        claim: "an exporter keeps to its column of the conformance matrix",
        storey: Storey::Host,
        needs,
        limit: Duration::from_secs(15),
        expect: Expect::Passes,
        body,
    }
}

const BARE: Needs = with(&[MODULE]);
const VIVID: Needs = with(&[MODULE, VIVID_MODULE]);
const HUGE: Needs = Needs {
    huge_pages: 8,
    ..with(&[MODULE])
};
const VIRTIO_GPU: Needs = display(&[MODULE, "virtio-gpu"]);
const BOCHS: Needs = display(&[MODULE, "bochs"]);
const QXL: Needs = display(&[MODULE, "qxl"]);
const VFIO: Needs = Needs {
    devices: VFIO_DEVICES,
    ..with(VFIO_MODULES)
};

const fn with(modules: &'static [&'static str]) -> Needs {
    Needs {
        modules,
        ..Needs::NOTHING
    }
}

const fn display(modules: &'static [&'static str]) -> Needs {
    Needs {
        devices: DISPLAYS,
        ..with(modules)
    }
}

fn heap(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &SystemHeap::open()?)
}

fn udmabuf(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &OverMemfd::small()?)
}

fn udmabuf_huge(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &OverMemfd::huge()?)
}

fn vgem(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Dumb::of("vgem", "vgem")?)
}

fn vivid_vmalloc(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Vivid::vmalloc()?)
}

fn vivid_contiguous(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Vivid::contiguous()?)
}

fn virtio_gpu(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Dumb::of("virtio_gpu", "virtio-gpu")?)
}

fn bochs(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Dumb::of("bochs-drm", "bochs")?)
}

fn qxl_ram(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Dumb::of("qxl", "qxl-ram")?)
}

fn qxl_bar(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Dumb::surfaces_of_qxl("qxl-bar")?)
}

fn vfio(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &Region::open()?)
}

fn memfd(checks: &mut Checks) -> Result<()> {
    conformance::run(checks, &PlainMemfd)
}

fn our_memfd(checks: &mut Checks) -> Result<()> {
    conformance::exchange::run(checks, "ours/memfd", Kind::Memfd)
}

fn our_udmabuf(checks: &mut Checks) -> Result<()> {
    conformance::exchange::run(checks, "ours/udmabuf", Kind::Udmabuf)
}

fn our_heap(checks: &mut Checks) -> Result<()> {
    conformance::exchange::run(checks, "ours/heap", Kind::SystemHeap)
}
