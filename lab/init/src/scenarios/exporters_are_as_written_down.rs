//! The conformance suite, one exporter per scenario: the answers become the
//! matrix that the host compares with its golden file.

use std::time::Duration;

use anyhow::Result;
use landbridge_exchange::exporters::DeviceOwner;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::terms::MemoryModel;

use crate::checks::Checks;
use crate::conformance::exchange::{self, Source};
use crate::conformance::{self, MODULE};
use crate::desk::machine::{DESK, GPU, PORT, SERVE_IMPORTING, serving};
use crate::exporters::{
    DISPLAYS, Dumb, IVSHMEM, OverMemfd, PlainMemfd, Region, SystemHeap, VFIO_DEVICES, VFIO_MODULES,
    VIVID_MODULE, Vivid, open_pci,
};
use crate::scenario::{Body, Device, Expect, Needs, Scenario, Storey};

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
    Scenario {
        storey: Storey::Guest,
        ..column("a_vfio_region_is_as_written_down", VFIO_AND_GPU, vfio)
    },
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
    column(
        "our_exchange_over_memory_that_goes_is_as_written_down",
        BARE,
        our_revocable,
    ),
    column(
        "our_exchange_over_memory_that_moves_is_as_written_down",
        BARE,
        our_movable,
    ),
    column(
        "our_exchange_over_a_vfio_region_is_as_written_down",
        VFIO,
        our_vfio,
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

/// With a GPU of ours, whose driver imports what may be taken away.
const VFIO_AND_GPU: Needs = Needs {
    devices: &[PORT, GPU, Device::IOMMU, Device::RAM_BAR],
    beside: &[serving(SERVE_IMPORTING), DESK],
    qemu: (11, 1),
    ..with(&[
        "vgem",
        "vfio_iommu_type1 allow_unsafe_interrupts=1",
        "vfio-pci",
        "virtio-gpu",
    ])
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
    ours(checks, "ours/memfd", Kind::Memfd, MemoryModel::Pinned)
}

fn our_udmabuf(checks: &mut Checks) -> Result<()> {
    ours(checks, "ours/udmabuf", Kind::Udmabuf, MemoryModel::Pinned)
}

fn our_heap(checks: &mut Checks) -> Result<()> {
    ours(checks, "ours/heap", Kind::SystemHeap, MemoryModel::Pinned)
}

fn our_revocable(checks: &mut Checks) -> Result<()> {
    let model = MemoryModel::Revocable { restorable: true };
    ours(checks, "ours/revocable", Kind::Memfd, model)
}

fn our_movable(checks: &mut Checks) -> Result<()> {
    let model = MemoryModel::Movable { pinnable: true };
    ours(checks, "ours/movable", Kind::Memfd, model)
}

fn our_vfio(checks: &mut Checks) -> Result<()> {
    let owner = DeviceOwner::new(open_pci(IVSHMEM)?);
    owner.switch_memory(true, Duration::from_secs(5))?;
    exchange::run(checks, "ours/vfio", Source::Bar(owner))
}

fn ours(checks: &mut Checks, name: &str, kind: Kind, model: MemoryModel) -> Result<()> {
    exchange::run(checks, name, Source::Host(kind, model))
}
