//! Real VFIO: a device copies by DMA within buffers of every exporter, or is
//! refused, as negotiated.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landbridge_dmabuf::Error as MemoryError;
use landbridge_dmabuf::vfio::{BarRange, Device as PciDevice, Iommufd};
use landbridge_exchange::exporters::DeviceOwner;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::dma::{DmaImport, DmaOptions};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Error, Exchange, Limits, Tenant};

use crate::checks::{Checks, skip};
use crate::exporters::{IVSHMEM, RAM_BAR, VFIO_MODULES, bind_pci, open_pci};
use crate::scenario::{Device, Expect, Needs, Scenario, Storey};

const SIZE: u64 = 2 << 20;
const IOVA: u64 = 0x40_0000;
const LIMIT: Duration = Duration::from_secs(5);
const REVOCABLE: MemoryModel = MemoryModel::Revocable { restorable: true };
const MOVABLE: MemoryModel = MemoryModel::Movable { pinnable: true };

/// Vendor and device of QEMU's edu device, and its registers (docs/specs/edu.rst
/// of QEMU).
const EDU: (&str, &str) = ("0x1234", "0x11e8");
const SOURCE: u64 = 0x80;
const TARGET: u64 = 0x88;
const COUNT: u64 = 0x90;
const START: u64 = 0x98;
/// Its own memory, in its own addresses.
const OWN: u64 = 0x4_0000;
const BYTES: u64 = 256;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "devices_reach_what_was_negotiated",
    claim: "a device's DMA reaches buffers of memfd, huge pages and pinnable udmabufs; others, and memory that moves, are refused; a revocation unmaps first; no IOMMU fault",
    storey: Storey::Host,
    needs: Needs {
        modules: VFIO_MODULES,
        devices: &[Device::IOMMU, Device::RAM_BAR, Device::EDU],
        huge_pages: 8,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

/// The same without a container: no kernel of Debian's has IOMMUFD so far.
pub(super) const IOMMUFD: Scenario = Scenario {
    name: "devices_by_iommufd_reach_what_was_negotiated",
    claim: "the same in an address space of IOMMUFD, for memfd and huge pages, where a kernel has it",
    body: by_iommufd,
    ..SCENARIO
};

fn by_iommufd(checks: &mut Checks) -> Result<()> {
    let iommufd = match Iommufd::open() {
        Err(MemoryError::NoDevice { path }) => {
            return Err(skip(format!("this kernel has no {}", path.display())));
        }
        iommufd => iommufd?,
    };
    let space = iommufd.address_space()?;
    let stage = Stage::of(space.device(&bind_pci(EDU)?)?)?;
    for kind in [Kind::Memfd, Kind::HugePages] {
        let memory = HostMemory::allocate_pinnable("dma", SIZE, kind)?;
        let buffer = stage.publish(memory.of_model(REVOCABLE))?;
        reached(checks, &stage, kind, &buffer)?;
    }
    movable(checks, &stage)?;
    checks.equal("no IOMMU fault", &faults()?, &0);
    stopped(checks, &stage)
}

fn body(checks: &mut Checks) -> Result<()> {
    let stage = Stage::of(open_pci(EDU)?)?;
    for kind in [Kind::Memfd, Kind::HugePages, Kind::Udmabuf] {
        let memory = HostMemory::allocate_pinnable("dma", SIZE, kind)?;
        let buffer = stage.publish(memory.of_model(REVOCABLE))?;
        reached(checks, &stage, kind, &buffer)?;
    }
    for kind in [Kind::Udmabuf, Kind::SystemHeap] {
        let buffer = stage.publish(HostMemory::allocate("dma", SIZE, kind)?)?;
        let refused = stage.import(&buffer, false);
        checks.refused(&format!("{kind}"), refused, "pages access is not offered");
    }
    movable(checks, &stage)?;
    let owner = DeviceOwner::new(open_pci(IVSHMEM)?);
    owner.switch_memory(true, LIMIT)?;
    let bar = [BarRange {
        offset: 0,
        len: SIZE,
    }];
    let bar = owner.publish(&stage.exchange, RAM_BAR, &bar, &stage.tenant)?;
    checks.refused(
        "another device's memory",
        stage.import(&bar, false),
        "pages access is not offered",
    );
    checks.equal("no IOMMU fault", &faults()?, &0);
    stopped(checks, &stage)
}

struct Stage {
    device: PciDevice,
    exchange: Exchange,
    tenant: Tenant,
}

impl Stage {
    fn of(device: PciDevice) -> Result<Self> {
        // Memory and bus mastering.
        device.write_config(4, &[6])?;
        Ok(Self {
            device,
            exchange: Exchange::new(),
            tenant: Tenant::new("owner", Limits::NONE),
        })
    }

    fn publish(&self, memory: HostMemory) -> Result<Buffer> {
        Ok(self.exchange.publish(memory, &self.tenant)?)
    }

    fn import(&self, buffer: &Buffer, pin: bool) -> Result<DmaImport, Error> {
        let options = DmaOptions {
            iova: IOVA,
            direction: Direction::ReadWrite,
            pin,
        };
        DmaImport::attach(self.device.space(), buffer, options, &self.tenant)
    }

    /// Has the device copy from `from` to `to`, both where it sees the buffer,
    /// by way of its own memory.
    fn copy(&self, from: u64, to: u64) -> Result<()> {
        self.dma(IOVA + from, OWN, 0)?;
        self.dma(OWN, IOVA + to, 2)
    }

    fn dma(&self, source: u64, target: u64, direction: u64) -> Result<()> {
        for (register, value) in [
            (SOURCE, source),
            (TARGET, target),
            (COUNT, BYTES),
            (START, 1 | direction),
        ] {
            self.device.write(0, register, &value.to_le_bytes())?;
        }
        let start = Instant::now();
        loop {
            let mut command = [0; 8];
            self.device.read(0, START, &mut command)?;
            if u64::from_le_bytes(command) & 1 == 0 {
                return Ok(());
            }
            anyhow::ensure!(start.elapsed() < LIMIT, "the device's DMA is never done");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn write(&self, buffer: &Buffer, at: usize, bytes: &[u8]) -> Result<()> {
        let cpu = CpuImport::attach(buffer, "cpu", Direction::ReadWrite, &self.tenant)?;
        let access = cpu.access(Direction::Write, LIMIT)?;
        access.view().copy_from(at, bytes)?;
        Ok(access.end()?)
    }

    fn read(&self, buffer: &Buffer, at: usize) -> Result<[u8; BYTES as usize]> {
        let cpu = CpuImport::attach(buffer, "cpu", Direction::Read, &self.tenant)?;
        let access = cpu.access(Direction::Read, LIMIT)?;
        let mut bytes = [0; BYTES as usize];
        access.view().copy_to(at, &mut bytes)?;
        access.end()?;
        Ok(bytes)
    }
}

/// The device copies, before a revocation and after the memory is back.
fn reached(checks: &mut Checks, stage: &Stage, kind: Kind, buffer: &Buffer) -> Result<()> {
    let pattern: Vec<u8> = (0..=u8::MAX).collect();
    let pinned = stage.tenant.used(Resource::PinnedBytes);
    let import = stage
        .import(buffer, false)
        .with_context(|| kind.to_string())?;
    checks.equal(
        &format!("{kind}: the pin is charged"),
        &(stage.tenant.used(Resource::PinnedBytes) - pinned),
        &SIZE,
    );
    stage.write(buffer, 0, &pattern)?;
    stage.copy(0, SIZE / 2)?;
    checks.holds(
        &format!("{kind}: the device reads and writes the buffer"),
        stage.read(buffer, SIZE as usize / 2)? == *pattern,
        "256 bytes",
    );
    let start = Instant::now();
    buffer.revoke(LIMIT).with_context(|| kind.to_string())?;
    let took = start.elapsed();
    checks.holds(
        &format!("{kind}: a revocation unmaps it first"),
        !import.is_mapped(),
        import.is_mapped(),
    );
    buffer.restore(LIMIT)?;
    stage.copy(0, SIZE / 4)?;
    checks.holds(
        &format!("{kind}: back, it is where it was for the device"),
        import.is_mapped() && stage.read(buffer, SIZE as usize / 4)? == *pattern,
        "256 bytes",
    );
    drop(import);
    checks.equal(
        &format!("{kind}: nothing is charged afterwards"),
        &stage.tenant.used(Resource::PinnedBytes),
        &pinned,
    );
    checks.note(format!(
        "{kind}: revocation of 2 MiB from a device: {} us",
        took.as_micros()
    ));
    Ok(())
}

fn movable(checks: &mut Checks, stage: &Stage) -> Result<()> {
    let memory = HostMemory::allocate_pinnable("dma", SIZE, Kind::Memfd)?;
    let buffer = stage.publish(memory.of_model(MOVABLE))?;
    checks.refused(
        "memory that moves",
        stage.import(&buffer, false),
        "is movable",
    );
    let import = stage.import(&buffer, true)?;
    checks.holds(
        "unless it is pinned for it",
        import.attachment().terms().pins(),
        stage.tenant.used(Resource::PinnedBytes),
    );
    let moved = buffer.relocate(Kind::Udmabuf, LIMIT);
    checks.refused("then it does not move", moved, "pinned by IOMMU mapping");
    drop(import);
    let moved = buffer.relocate(Kind::Udmabuf, LIMIT);
    checks.holds("afterwards it does", moved.is_ok(), format!("{moved:?}"));
    Ok(())
}

/// What is not mapped can't be reached, which shows that faults are counted.
fn stopped(checks: &mut Checks, stage: &Stage) -> Result<()> {
    stage.dma(IOVA, OWN, 0)?;
    let start = Instant::now();
    // Told by an interrupt.
    while faults()? == 0 && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    checks.holds(
        "a device that comes past is stopped",
        faults()? > 0,
        faults()?,
    );
    Ok(())
}

/// How many faults of an IOMMU the kernel's log has.
fn faults() -> Result<usize> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let (mut record, mut faults) = ([0; 8192], 0);
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(faults),
            Ok(len) => {
                let text = String::from_utf8_lossy(&record[..len]);
                faults += usize::from(text.contains("DMAR") && text.contains("fault"));
            }
            // Overwritten by newer ones: the next read goes on with those.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(faults),
            Err(error) => return Err(error.into()),
        }
    }
}
