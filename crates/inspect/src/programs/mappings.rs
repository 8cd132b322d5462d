//! All mappings of one or all tasks: the kernel's `task_vma` iterator.
//!
//! One record of fixed size per mapping. Works with typed loads alone, so under
//! lockdown and without the JIT; where kernel memory may be read, the page-table
//! entries of the first and the last page come along.

use super::fields::{self, IterFields, VmaFields};
use super::walk::{self, Slots};
use super::{Kind, MemberSlots, Program, emit_members, emit_pgd};
use crate::asm::{Alu, Asm, Cond, Helper, Reg};
use crate::btf::Btf;
use crate::error::Error;

/// What a walk needs to know of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalkParameters {
    /// Where physical address 0 lies in the kernel's direct map.
    pub(crate) direct_map: u64,
    /// The physical-address bits of an entry.
    pub(crate) mask: u64,
    /// Whether page tables have five levels.
    pub(crate) five_levels: bool,
}

/// Bytes of one record.
pub(crate) const RECORD_BYTES: usize = 13 * 8;

/// How much is read of each mapping's page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Samples {
    /// Nothing: typed loads alone.
    None,
    /// Where the top table lies, for whoever walks it from outside.
    Top,
    /// The entries of the first and of the last page.
    Ends(WalkParameters),
}

/// Offsets in a record.
pub(crate) mod at {
    pub(crate) const TGID: usize = 0;
    pub(crate) const START: usize = 8;
    pub(crate) const END: usize = 16;
    pub(crate) const FLAGS: usize = 24;
    pub(crate) const PAGE_PROT: usize = 32;
    pub(crate) const PAGE_OFFSET: usize = 40;
    pub(crate) const INODE: usize = 48;
    pub(crate) const MAGIC: usize = 56;
    pub(crate) const FIRST_LEVEL: usize = 64;
    pub(crate) const FIRST_ENTRY: usize = 72;
    pub(crate) const LAST_LEVEL: usize = 80;
    pub(crate) const LAST_ENTRY: usize = 88;
    pub(crate) const PGD: usize = 96;
}

const RECORD: i16 = -(RECORD_BYTES as i16);
const SCRATCH: i16 = RECORD - 8;
const ADDRESS: i16 = RECORD - 16;
const DIRECT_MAP: i16 = RECORD - 24;
const MASK: i16 = RECORD - 32;
const FIVE_LEVELS: i16 = RECORD - 40;

fn slot(offset: usize) -> i16 {
    RECORD + offset as i16
}

/// Builds the program for the kernel that `btf` describes.
pub(crate) fn build(btf: &Btf, samples: Samples) -> Result<Program, Error> {
    let iter = IterFields::resolve(btf, "bpf_iter__task_vma", "vma")?;
    let task = fields::iter_pointer(btf, "bpf_iter__task_vma", "task")?;
    let tgid = fields::tgid(btf)?;
    let vma = VmaFields::resolve(btf)?;

    let mut asm = Asm::new();
    let out = asm.label();
    asm.load_field(Reg::R8, Reg::R1, &iter.item);
    asm.jump_if(Cond::Eq, Reg::R8, 0, out);
    asm.load_field(Reg::R2, Reg::R1, &task);
    asm.jump_if(Cond::Eq, Reg::R2, 0, out);
    asm.load_field(Reg::R7, Reg::R1, &iter.meta);
    asm.load_field(Reg::R7, Reg::R7, &iter.seq);
    for offset in (0..RECORD_BYTES).step_by(8) {
        asm.store_imm(Reg::Fp, slot(offset), 0);
    }
    asm.load_field(Reg::R3, Reg::R2, &tgid);
    asm.store(Reg::Fp, slot(at::TGID), Reg::R3);
    emit_members(&mut asm, &vma, Reg::Fp, members());
    if samples != Samples::None {
        let skip = asm.label();
        emit_pgd(&mut asm, &vma, SCRATCH, skip);
        asm.store(Reg::Fp, slot(at::PGD), Reg::R9);
        if let Samples::Ends(parameters) = samples {
            emit_ends(&mut asm, parameters);
        }
        asm.place(skip);
    }
    asm.mov(Reg::R1, Reg::R7);
    asm.address(Reg::R2, Reg::Fp, RECORD);
    asm.mov_imm(Reg::R3, RECORD_BYTES as i32);
    asm.call(Helper::SeqWrite);
    asm.place(out);
    asm.mov_imm(Reg::R0, 0);
    asm.exit();
    Ok(Program {
        name: "lb_mappings",
        kind: Kind::Iterator(btf.function("bpf_iter_task_vma")?),
        code: asm.finish()?,
    })
}

/// Where a record's members are on the stack.
fn members() -> MemberSlots {
    MemberSlots {
        start: slot(at::START),
        end: slot(at::END),
        flags: slot(at::FLAGS),
        page_prot: slot(at::PAGE_PROT),
        page_offset: slot(at::PAGE_OFFSET),
        inode: slot(at::INODE),
        magic: slot(at::MAGIC),
    }
}

/// Walks to the first and to the last page.
fn emit_ends(asm: &mut Asm, parameters: WalkParameters) {
    let constants = [
        (DIRECT_MAP, parameters.direct_map),
        (MASK, parameters.mask),
        (FIVE_LEVELS, u64::from(parameters.five_levels)),
    ];
    for (offset, value) in constants {
        asm.mov_imm64(Reg::R1, value);
        asm.store(Reg::Fp, offset, Reg::R1);
    }
    let samples = [
        (at::START, 0, at::FIRST_LEVEL, at::FIRST_ENTRY),
        (at::END, -1, at::LAST_LEVEL, at::LAST_ENTRY),
    ];
    for (bound, adjust, level, entry) in samples {
        asm.load(Reg::R1, Reg::Fp, slot(bound));
        asm.alu_imm(Alu::Add, Reg::R1, adjust);
        asm.store(Reg::Fp, ADDRESS, Reg::R1);
        asm.load(Reg::R9, Reg::Fp, slot(at::PGD));
        let slots = Slots {
            base: Reg::Fp,
            address: ADDRESS,
            direct_map: DIRECT_MAP,
            mask: MASK,
            five_levels: FIVE_LEVELS,
            level: slot(level),
            entry: slot(entry),
            scratch: SCRATCH,
            table: None,
        };
        walk::emit(asm, slots);
    }
}
