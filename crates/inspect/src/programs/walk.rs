//! The page-table walk, as BPF.
//!
//! Follows `Documentation/arch/x86/x86_64/mm.rst` and the processor manuals: nine
//! bits of the address at shifts 48 (with five levels), 39, 30, 21 and 12 index
//! tables of 512 entries. Tables are physical; the kernel's direct map turns them
//! into addresses. Every read is `bpf_probe_read_kernel`, which fails instead of
//! faulting.

use crate::asm::{Alu, Asm, Cond, Helper, Label, Reg};

/// Bytes of one table.
pub(crate) const TABLE_BYTES: usize = 4096;

/// Bytes of stack below the scratch slot that a copy of a table goes through.
const CHUNK_BYTES: i16 = 256;

const PRESENT: i32 = 1;
const LARGE: i32 = 1 << 7;

/// Slots (a base register and offsets) that the walk reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    /// The register that the other offsets count from: the context or the frame.
    pub(super) base: Reg,
    /// In: the address to look up.
    pub(super) address: i16,
    /// In: where physical address 0 lies in the kernel's direct map.
    pub(super) direct_map: i16,
    /// In: the physical-address bits of an entry.
    pub(super) mask: i16,
    /// In: nonzero with five levels.
    pub(super) five_levels: i16,
    /// Out: the level of `entry` (5 to 1), or 0 if nothing could be read.
    pub(super) level: i16,
    /// Out: the last entry read.
    pub(super) entry: i16,
    /// Eight bytes of stack below the frame pointer.
    pub(super) scratch: i16,
    /// Out, if any: the whole last-level table.
    pub(super) table: Option<i16>,
}

/// Walks from the table at R9 (a plain number). Uses R0 to R5 and R9.
pub(super) fn emit(asm: &mut Asm, slots: Slots) {
    let done = asm.label();
    let four = asm.label();
    asm.store_imm(slots.base, slots.level, 0);
    asm.load(Reg::R1, slots.base, slots.five_levels);
    asm.jump_if(Cond::Eq, Reg::R1, 0, four);
    step(asm, slots, 5, done);
    asm.place(four);
    for level in (1..5).rev() {
        step(asm, slots, level, done);
    }
    asm.place(done);
}

/// Copies the table at R9 by way of the stack, since helpers don't write to contexts.
fn copy_table(asm: &mut Asm, slots: Slots, to: i16, done: Label) {
    let chunk = slots.scratch - CHUNK_BYTES;
    for from in (0..TABLE_BYTES as i16).step_by(CHUNK_BYTES as usize) {
        asm.address(Reg::R1, Reg::Fp, chunk);
        asm.mov_imm(Reg::R2, i32::from(CHUNK_BYTES));
        asm.mov(Reg::R3, Reg::R9);
        asm.alu_imm(Alu::Add, Reg::R3, i32::from(from));
        asm.call(Helper::ProbeReadKernel);
        asm.jump_if(Cond::Ne, Reg::R0, 0, done);
        for word in (0..CHUNK_BYTES).step_by(8) {
            asm.load(Reg::R1, Reg::Fp, chunk + word);
            asm.store(slots.base, to + from + word, Reg::R1);
        }
    }
}

/// Reads one entry and, above the last level, goes to the table that it names.
fn step(asm: &mut Asm, slots: Slots, level: i32, done: Label) {
    if level == 1
        && let Some(table) = slots.table
    {
        copy_table(asm, slots, table, done);
    }
    asm.load(Reg::R3, slots.base, slots.address);
    asm.alu_imm(Alu::Shr, Reg::R3, 12 + 9 * (level - 1));
    asm.alu_imm(Alu::And, Reg::R3, 511);
    asm.alu_imm(Alu::Shl, Reg::R3, 3);
    asm.alu(Alu::Add, Reg::R3, Reg::R9);
    asm.address(Reg::R1, Reg::Fp, slots.scratch);
    asm.mov_imm(Reg::R2, 8);
    asm.call(Helper::ProbeReadKernel);
    asm.jump_if(Cond::Ne, Reg::R0, 0, done);
    asm.load(Reg::R9, Reg::Fp, slots.scratch);
    asm.store_imm(slots.base, slots.level, level);
    asm.store(slots.base, slots.entry, Reg::R9);
    if level == 1 {
        return;
    }
    // An entry that is not present ends the walk; what it means is for the decoder.
    let go_on = asm.label();
    asm.jump_if(Cond::Set, Reg::R9, PRESENT, go_on);
    asm.jump(done);
    asm.place(go_on);
    if level <= 3 {
        asm.jump_if(Cond::Set, Reg::R9, LARGE, done);
    }
    asm.load(Reg::R1, slots.base, slots.mask);
    asm.alu(Alu::And, Reg::R9, Reg::R1);
    asm.load(Reg::R1, slots.base, slots.direct_map);
    asm.alu(Alu::Add, Reg::R9, Reg::R1);
}
