//! Whether a guest's processor reaches a buffer that is a memory slot: tried with a
//! real processor, of a guest of five instructions.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use landbridge_dmabuf::{Access, Mapping, Memfd, Piece, memfd};
use landbridge_inspect::probe::{Memory, Outcome, Sample};
use landbridge_kvm::{Slot, SlotNumbers, SlotOptions, Slots};
use rustix::io::Errno;

/// Where the guest finds its program, and the buffer.
const PROGRAM: u64 = 0x1000;
const BUFFER: u64 = 0x1_0000;
/// Reads a byte of the buffer, writes the next one, and halts, in real mode.
const CODE: [u8; 14] = [
    0xb8, 0x00, 0x10, // mov ax, BUFFER / 16
    0x8e, 0xd8, // mov ds, ax
    0xa0, 0x00, 0x00, // mov al, [0]
    0xc6, 0x06, 0x01, 0x00, WRITTEN, // mov byte [1], WRITTEN
    0xf4,    // hlt
];
const READ: u8 = 0xa5;
const WRITTEN: u8 = 0x5a;
/// The VMM's own memory.
const OWN: u64 = 0x2000;
/// How long the guest may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts buffers into guests.
#[derive(Debug)]
pub(super) struct Trial {
    /// Why no guest can run here.
    missing: Option<String>,
}

impl Trial {
    /// Finds out whether a guest runs here at all, on ordinary memory.
    pub(super) fn new() -> Self {
        if !cfg!(target_arch = "x86_64") {
            return Self {
                missing: Some("the guest's program is for x86-64".to_owned()),
            };
        }
        let control = || -> Result<bool> {
            let memfd = Memfd::create("kvm control", BUFFER, memfd::Options::default())?;
            reach(memfd.as_fd().try_clone_to_owned()?, BUFFER)
        };
        let missing = match control() {
            Ok(true) => None,
            Ok(false) => Some("a guest reaches no memory here".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        };
        Self { missing }
    }

    /// Whether a guest's processor reads and writes the sample's memory in a slot;
    /// failed where that could not be tried.
    pub(super) fn of(&self, sample: &Sample) -> Option<Outcome<bool>> {
        let Outcome::Is(memory) = &sample.memory else {
            return None;
        };
        Some(match &self.missing {
            Some(why) => Outcome::Failed(format!("not tried: {why}")),
            None => match try_it(memory) {
                Ok(reached) => Outcome::Is(reached),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            },
        })
    }
}

fn try_it(memory: &Memory) -> Result<bool> {
    let fd = memory.as_fd().try_clone_to_owned()?;
    let size = match memory {
        Memory::Memfd(memfd) => memfd.size()?,
        Memory::DmaBuf(buffer) => {
            let size = buffer.size()?;
            // Who can't be mapped at all can't be a slot either: that is an answer.
            if Mapping::whole(buffer, Access::ReadWrite).is_err() {
                return Ok(false);
            }
            size
        }
    };
    reach(fd, size)
}

/// Runs a guest with the memory as a slot. A processor that does not come back is left
/// to itself.
fn reach(memory: OwnedFd, size: u64) -> Result<bool> {
    let (tell, told) = mpsc::channel();
    let guest = move || {
        // Whoever waited may have given up.
        let _ = tell.send(run(&memory, size));
    };
    let thread = std::thread::Builder::new().name("guest".to_owned());
    thread.spawn(guest)?;
    let result = told.recv_timeout(PATIENCE);
    result.map_err(|_| anyhow!("the guest does not come back"))?
}

fn run(memory: &OwnedFd, size: u64) -> Result<bool> {
    let vm: Arc<VmFd> = Arc::new(Kvm::new().context("/dev/kvm")?.create_vm()?);
    let slots = Slots::new(Arc::clone(&vm), SlotNumbers::From(0));
    let own = Memfd::create("guest's own", OWN, memfd::Options::default())?;
    let own = Slot::insert(&slots, 0, &Piece::new(&own, 0, OWN), SlotOptions::default())?;
    own.area().view().copy_from(PROGRAM as usize, &CODE)?;
    let piece = Piece::new(memory, 0, size);
    let slot = Slot::insert(&slots, BUFFER, &piece, SlotOptions::default())?;
    slot.area().view().write_at(0, READ)?;
    let mut vcpu = vm.create_vcpu(0)?;
    start(&vcpu)?;
    let reached = halts(&slots, &mut vcpu)?;
    if reached {
        let read = vcpu.get_regs()?.rax as u8;
        let written: u8 = slot.area().view().read_at(1)?;
        ensure!(
            (read, written) == (READ, WRITTEN),
            "the guest saw {read:#x} and left {written:#x}: other memory"
        );
    }
    Ok(reached)
}

fn start(vcpu: &VcpuFd) -> Result<()> {
    let mut system = vcpu.get_sregs()?;
    (system.cs.base, system.cs.selector) = (0, 0);
    vcpu.set_sregs(&system)?;
    let mut registers = vcpu.get_regs()?;
    (registers.rip, registers.rflags) = (PROGRAM, 2);
    vcpu.set_regs(&registers)?;
    Ok(())
}

/// Whether it gets to its end: false where its accesses meet no memory.
fn halts(slots: &Slots, vcpu: &mut VcpuFd) -> Result<bool> {
    loop {
        let exit = slots.run(vcpu, |exit| match exit {
            VcpuExit::Hlt => Ok(Some(true)),
            VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..) => Ok(Some(false)),
            VcpuExit::Intr => Ok(None),
            other => Err(format!("{other:?}")),
        });
        match exit {
            Ok(Ok(Some(reached))) => return Ok(reached),
            Ok(Ok(None)) => {}
            Ok(Err(exit)) => bail!("the guest came out with {exit}"),
            Err(error)
                if matches!(
                    Errno::from_raw_os_error(error.errno()),
                    Errno::INTR | Errno::AGAIN
                ) => {}
            // Its memory can't be had: what the exporter's fault handler said.
            Err(error) if error.errno() == Errno::FAULT.raw_os_error() => return Ok(false),
            Err(error) => bail!("KVM_RUN: {error}"),
        }
    }
}
