//! A guest of a few instructions under real KVM: one processor that never stops
//! incrementing counters in a slot, until it is told to halt.

mod code;
mod memory;

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use landbridge_dmabuf::{Area, Memfd, Piece, memfd};
use landbridge_kvm::{Slot, SlotNumbers, SlotOptions, Slots};

pub use memory::Host;

/// Where the guest finds the counters.
pub const COUNTERS: u64 = 0x1000_0000;
/// How far apart they are, in bytes: one a page.
pub const STRIDE: u64 = 4096;

/// Where its program is, and where it and we talk.
const PROGRAM: u64 = 0x1000;
const TALK: u64 = 0x2000;
/// Offsets of words in the talking page.
const STOP: u64 = 0;
const ROUNDS: u64 = 4;
const FIRST: u64 = 8;
/// The VMM's own memory: program and talking page.
const OWN: u64 = 0x4000;

/// A guest before it runs.
pub struct Guest {
    vcpu: VcpuFd,
    slots: Arc<Slots>,
    own: Slot,
}

/// What happened while it ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Reads that no slot answered.
    pub mmio_reads: u64,
    /// Writes that no slot took.
    pub mmio_writes: u64,
}

/// The way to talk to a guest that runs.
#[derive(Debug, Clone)]
pub struct Talk(Arc<Area>);

impl Guest {
    /// A guest that counts in `len` bytes at [`COUNTERS`].
    ///
    /// # Errors
    /// When /dev/kvm can't.
    pub fn new(len: u64) -> Result<Self> {
        let vm = Kvm::new().context("/dev/kvm")?.create_vm()?;
        let vm = Arc::new(vm);
        let slots = Slots::new(Arc::clone(&vm), SlotNumbers::From(0));
        let memory = Memfd::create("guest's own", OWN, memfd::Options::default())?;
        let piece = Piece::new(&memory, 0, OWN);
        let own = Slot::insert(&slots, 0, &piece, SlotOptions::default())?;
        let program = code::count(TALK, len)?;
        own.area().view().copy_from(PROGRAM as usize, &program)?;
        let vcpu = vm.create_vcpu(0)?;
        protected_mode(&vcpu)?;
        Ok(Self { vcpu, slots, own })
    }

    /// Its slots.
    #[must_use]
    pub fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots)
    }

    /// The way to talk to it.
    #[must_use]
    pub fn talk(&self) -> Talk {
        Talk(Arc::clone(self.own.area()))
    }

    /// Has it start again after a halt, at the beginning of a round.
    ///
    /// # Errors
    /// What KVM says.
    pub fn again(&self) -> Result<()> {
        self.talk()
            .0
            .view()
            .write_at((TALK + STOP) as usize, 0u32)?;
        start(&self.vcpu)
    }

    /// Runs it until it halts.
    ///
    /// # Errors
    /// When it comes out for any other reason than its halt or memory that is
    /// not there: above all with EFAULT.
    pub fn run(&mut self) -> Result<Ran> {
        let mut ran = Ran::default();
        loop {
            let slots = Arc::clone(&self.slots);
            let exit = slots.run(&mut self.vcpu, |exit| match exit {
                VcpuExit::Hlt => Ok(true),
                VcpuExit::MmioRead(_, data) => {
                    data.fill(0);
                    ran.mmio_reads += 1;
                    Ok(false)
                }
                VcpuExit::MmioWrite(..) => {
                    ran.mmio_writes += 1;
                    Ok(false)
                }
                VcpuExit::Intr => Ok(false),
                other => Err(format!("{other:?}")),
            });
            match exit {
                Ok(Ok(true)) => return Ok(ran),
                Ok(Ok(false)) => {}
                Ok(Err(exit)) => bail!("the guest came out with {exit}"),
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
                Err(error) => bail!("KVM_RUN: {error}"),
            }
        }
    }
}

impl Guest {
    /// Runs it while `meanwhile` does something, then halts it. What came of both.
    ///
    /// # Errors
    /// As for [`run`](Self::run), and those of `meanwhile`.
    pub fn run_while<R>(&mut self, meanwhile: impl FnOnce(&Talk) -> Result<R>) -> Result<(Ran, R)> {
        let talk = self.talk();
        thread::scope(|scope| {
            let runs = scope.spawn(|| self.run());
            let done = meanwhile(&talk);
            talk.stop()?;
            let ran = runs.join().map_err(|_| anyhow!("a thread panicked"))?;
            Ok((ran?, done?))
        })
    }
}

impl Talk {
    /// Tells the guest to halt at the end of its round.
    ///
    /// # Errors
    /// None in practice.
    pub fn stop(&self) -> Result<()> {
        Ok(self.0.view().write_at((TALK + STOP) as usize, 1u32)?)
    }

    /// How many rounds it has done.
    ///
    /// # Errors
    /// None in practice.
    pub fn rounds(&self) -> Result<u32> {
        Ok(self.0.view().read_at((TALK + ROUNDS) as usize)?)
    }

    /// What the guest saw in its first counter at the end of the last round.
    ///
    /// # Errors
    /// None in practice.
    pub fn first_counter(&self) -> Result<u32> {
        Ok(self.0.view().read_at((TALK + FIRST) as usize)?)
    }

    /// Waits until it has done `rounds` more, or `limit` passes; says whether it
    /// has.
    ///
    /// # Errors
    /// None in practice.
    pub fn wait_for(&self, rounds: u32, limit: std::time::Duration) -> Result<bool> {
        let (before, start) = (self.rounds()?, std::time::Instant::now());
        while self.rounds()?.wrapping_sub(before) < rounds {
            if start.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(true)
    }
}

/// 32-bit protected mode without paging, every segment from 0 to 4 GiB.
fn protected_mode(vcpu: &VcpuFd) -> Result<()> {
    let mut system = vcpu.get_sregs()?;
    for segment in [
        &mut system.cs,
        &mut system.ds,
        &mut system.es,
        &mut system.fs,
        &mut system.gs,
        &mut system.ss,
    ] {
        (segment.base, segment.limit) = (0, u32::MAX);
        (segment.present, segment.s, segment.db, segment.g) = (1, 1, 1, 1);
        (segment.dpl, segment.l) = (0, 0);
        (segment.selector, segment.type_) = (16, 3);
    }
    (system.cs.selector, system.cs.type_) = (8, 11);
    system.cr0 |= 1;
    vcpu.set_sregs(&system)?;
    start(vcpu)
}

fn start(vcpu: &VcpuFd) -> Result<()> {
    let mut registers = vcpu.get_regs()?;
    (registers.rip, registers.rflags) = (PROGRAM, 2);
    vcpu.set_regs(&registers)?;
    Ok(())
}
