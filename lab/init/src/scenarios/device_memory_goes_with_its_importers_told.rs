//! Real VFIO: the BARs of two PCI devices as buffers of an exchange, and every
//! way in which their memory goes away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landbridge_dmabuf::DmaBuf;
use landbridge_dmabuf::dma_buf::FenceUse;
use landbridge_dmabuf::vfio::BarRange;
use landbridge_exchange::exporters::DeviceOwner;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, Method, Models, Needs};
use landbridge_exchange::{
    Attachment, Buffer, Error, Exchange, Holder, Importer, Life, Limits, Tenant,
};

use crate::checks::Checks;
use crate::exporters::{IVSHMEM, RAM_BAR, VFIO_MODULES, open_pci};
use crate::scenario::{Device, Expect, Needs as Machine, Scenario, Storey};
use crate::sys::drm::Card;

const PAGE: u64 = 4096;
const LIMIT: Duration = Duration::from_secs(5);
/// Vendor and device of QEMU's NVMe controller, its memory's BAR, and the
/// register that switches it on.
const NVME: (&str, &str) = ("0x1b36", "0x0010");
const PMR: u32 = 4;
const PMR_CONTROL: u64 = 0xe04;
/// Offset of the command register.
const COMMAND: u64 = 4;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "device_memory_goes_with_its_importers_told",
    claim: "memory-enable cleared, a reset and a function-level reset each revoke a BAR's buffer, importers are told before, and it comes back; a fence holds up no owner",
    storey: Storey::Host,
    needs: Machine {
        modules: VFIO_MODULES,
        devices: &[Device::IOMMU, Device::RAM_BAR, Device::NVME_PMR],
        ..Machine::NOTHING
    },
    limit: Duration::from_secs(60),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let stage = Stage::new(DeviceOwner::new(open_pci(IVSHMEM)?), RAM_BAR)?;
    refusals(checks, &stage)?;
    off_and_on(checks, &stage)?;
    if stage.owner.device().can_reset() {
        blinks(checks, &stage, "ivshmem: reset", |owner| owner.reset(LIMIT))?;
    } else {
        checks.note("ivshmem can't be reset");
    }
    a_fence_holds_up_no_owner(checks, &stage)?;
    lost(checks, &stage)?;

    let nvme = open_pci(NVME)?;
    nvme.switch_memory(true)?;
    nvme.write(0, PMR_CONTROL, &1u32.to_le_bytes())?;
    let stage = Stage::new(DeviceOwner::new(nvme), PMR)?;
    off_and_on(checks, &stage)?;
    blinks(checks, &stage, "nvme: reset", |owner| owner.reset(LIMIT))?;
    blinks(checks, &stage, "nvme: function-level reset", |owner| {
        owner.reset_function(LIMIT)
    })
}

/// A device's memory with an importer that notes what it is told.
struct Stage {
    owner: Arc<DeviceOwner>,
    bar: u32,
    tenant: Tenant,
    buffer: Buffer,
    witness: Arc<Witness>,
    attachment: Attachment,
}

/// What an importer saw.
#[derive(Default)]
struct Witness {
    owner: Mutex<Option<Arc<DeviceOwner>>>,
    /// For each time that it was cut off: whether the memory was still there.
    cuts: Mutex<Vec<bool>>,
    follows: Mutex<u32>,
}

impl Holder for Witness {
    fn cut_off(&self) -> Result<(), Error> {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let there = owner
            .as_ref()
            .is_some_and(|owner| owner.device().memory_is_on().unwrap_or(false));
        self.cuts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(there);
        Ok(())
    }

    fn follow(&self, _: &Buffer) -> Result<(), Error> {
        *self.follows.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(())
    }
}

impl Witness {
    fn seen(&self) -> (Vec<bool>, u32) {
        let cuts = std::mem::take(&mut *self.cuts.lock().unwrap_or_else(PoisonError::into_inner));
        let follows = &mut *self.follows.lock().unwrap_or_else(PoisonError::into_inner);
        (cuts, std::mem::take(follows))
    }
}

struct Peer(Arc<Witness>, Models);

impl Importer for Peer {
    fn name(&self) -> String {
        "peer device".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            models: self.1,
            peer_to_peer: true,
            ..Needs::new(Method::Descriptor, Direction::ReadWrite)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.0) as Arc<_>)
    }
}

impl Stage {
    fn new(owner: DeviceOwner, bar: u32) -> Result<Self> {
        let owner = Arc::new(owner);
        owner.switch_memory(true, LIMIT)?;
        let tenant = Tenant::new("owner", Limits::NONE);
        let ranges = [BarRange {
            offset: 0,
            len: 4 * PAGE,
        }];
        let buffer = owner.publish(&Exchange::new(), bar, &ranges, &tenant)?;
        let witness = Arc::new(Witness::default());
        *witness.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&owner));
        let attachment = buffer.attach(&Peer(Arc::clone(&witness), Models::ANY), &tenant)?;
        Ok(Self {
            owner,
            bar,
            tenant,
            buffer,
            witness,
            attachment,
        })
    }

    fn name(&self) -> &'static str {
        if self.bar == PMR { "nvme" } else { "ivshmem" }
    }

    /// The bytes at the beginning, past the dma-buf.
    fn bytes(&self) -> Result<[u8; 8]> {
        let mut bytes = [0; 8];
        self.owner.device().read(self.bar, 0, &mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A circle otherwise.
        *self
            .witness
            .owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn refusals(checks: &mut Checks, stage: &Stage) -> Result<()> {
    let cpu = CpuImport::attach(&stage.buffer, "cpu", Direction::Read, &stage.tenant);
    checks.refused("a CPU mapping", cpu, "cpu access is not offered");
    let pinned = Peer(Arc::default(), Models::PINNED);
    let refused = stage.buffer.attach(&pinned, &stage.tenant);
    checks.refused(
        "an importer that can't let go",
        refused,
        "is revocable, restorable",
    );
    let past = [BarRange {
        offset: stage.owner.device().region_size(stage.bar)?,
        len: PAGE,
    }];
    let refused = stage
        .owner
        .publish(&Exchange::new(), stage.bar, &past, &stage.tenant);
    checks.refused("a range past the BAR", refused, "do not lie within");
    Ok(())
}

/// By both ways to write the command register.
fn off_and_on(checks: &mut Checks, stage: &Stage) -> Result<()> {
    let name = stage.name();
    stage.owner.device().write(stage.bar, 0, b"landbrid")?;
    for raw in [false, true] {
        let how = if raw { "by its register" } else { "by name" };
        stage.witness.seen();
        let start = Instant::now();
        if raw {
            stage.owner.write_config(COMMAND, &[0, 0], LIMIT)?;
        } else {
            stage.owner.switch_memory(false, LIMIT)?;
        }
        let took = start.elapsed();
        checks.equal(
            &format!("{name}: off {how}: the importer is told while the memory is there"),
            &stage.witness.seen(),
            &(vec![true], 0),
        );
        checks.equal(
            &format!("{name}: off {how}: the buffer is revoked"),
            &stage.buffer.reservation().life(),
            &Life::Revoked { restorable: true },
        );
        checks.refused(
            &format!("{name}: off {how}: the device has no memory"),
            stage.bytes(),
            "pread failed",
        );
        let peer = Peer(Arc::default(), Models::ANY);
        let late = stage.buffer.attach(&peer, &stage.tenant);
        checks.refused(
            &format!("{name}: off {how}: nobody gets in"),
            late,
            "is revoked",
        );
        let early = stage.buffer.restore(LIMIT);
        checks.refused(
            &format!("{name}: off {how}: it can't come back yet"),
            early,
            "is off",
        );
        stage.owner.switch_memory(true, LIMIT)?;
        checks.equal(
            &format!("{name}: on again: the importer maps it, and the bytes are there"),
            &(
                stage.witness.seen(),
                stage.bytes()?,
                stage.buffer.reservation().life(),
            ),
            &((vec![], 1), *b"landbrid", Life::Live),
        );
        checks.note(format!("{name}: off {how} took {} us", took.as_micros()));
    }
    Ok(())
}

/// A call that takes the memory away and gives it back.
fn blinks(
    checks: &mut Checks,
    stage: &Stage,
    what: &str,
    call: impl FnOnce(&DeviceOwner) -> Result<(), Error>,
) -> Result<()> {
    stage.witness.seen();
    let start = Instant::now();
    call(&stage.owner).with_context(|| what.to_owned())?;
    let took = start.elapsed();
    checks.equal(
        &format!("{what}: the importer is told before, and maps it again"),
        &(stage.witness.seen(), stage.buffer.reservation().life()),
        &((vec![true], 1), Life::Live),
    );
    checks.note(format!("{what} took {} ms", took.as_millis()));
    Ok(())
}

/// Somebody's fence in the dma-buf keeps the kernel waiting, and nobody else.
fn a_fence_holds_up_no_owner(checks: &mut Checks, stage: &Stage) -> Result<()> {
    let loan = stage.attachment.lend()?;
    let buffer = DmaBuf::try_from(std::os::fd::AsFd::as_fd(&loan).try_clone_to_owned()?)?;
    let vgem = Card::open("vgem").context("vgem")?;
    let object = vgem.dumb(PAGE)?;
    let fence = vgem.attach_fence(object.handle, true)?;
    let theirs = DmaBuf::try_from(vgem.export(object.handle, 0)?)?;
    let file = theirs.export_sync_file(FenceUse::Write)?;
    buffer.import_sync_file(FenceUse::Write, &file)?;
    let start = Instant::now();
    let stuck = stage.owner.switch_memory(false, Duration::from_millis(300));
    checks.refused("a fence keeps the kernel", stuck, "the kernel waits");
    checks.holds(
        "the owner goes on in time",
        start.elapsed() < Duration::from_secs(3),
        format!("{} ms", start.elapsed().as_millis()),
    );
    let again = stage.owner.switch_memory(true, Duration::from_millis(300));
    checks.refused(
        "and is told that the call is under way",
        again,
        "the kernel waits",
    );
    vgem.signal_fence(fence)?;
    let start = Instant::now();
    while stage.owner.switch_memory(true, LIMIT).is_err() {
        anyhow::ensure!(start.elapsed() < LIMIT, "the call is never done");
        std::thread::sleep(Duration::from_millis(5));
    }
    checks.equal(
        "once the fence has signalled, the memory comes back",
        &stage.buffer.reservation().life(),
        &Life::Live,
    );
    Ok(())
}

fn lost(checks: &mut Checks, stage: &Stage) -> Result<()> {
    stage.witness.seen();
    stage.owner.close(LIMIT);
    checks.equal(
        "given up: the importer is told, for good",
        &(stage.witness.seen(), stage.buffer.reservation().life()),
        &((vec![true], 0), Life::Revoked { restorable: false }),
    );
    Ok(())
}
