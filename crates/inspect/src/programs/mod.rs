//! The BPF programs, written for the running kernel at run time.
//!
//! Each `build` takes the kernel's BTF and gives instructions whose member offsets
//! that BTF states; a kernel without a member or function is an error that names it.
//! Members are read by typed loads, which the verifier checks against the same BTF.

pub(crate) mod buffers;
mod fields;
pub(crate) mod mappings;
pub(crate) mod peek;
pub(crate) mod query;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use crate::asm::{Asm, Cond, Helper, Label, Reg};
use crate::btf::TypeId;
use fields::{InodeFields, VmaFields};

/// What a program is loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs once per `BPF_PROG_TEST_RUN`, may sleep.
    Syscall,
    /// Runs for each object of the iterator whose function has this id.
    Iterator(TypeId),
}

/// A program ready for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Shown by bpftool; at most 15 bytes.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Instructions of eight bytes each.
    pub(crate) code: Vec<u8>,
}

/// From the file in R1, stores the inode's number and the file system's magic.
/// Uses R1 to R3.
fn emit_inode(
    asm: &mut Asm,
    fields: &InodeFields,
    base: Reg,
    number: i16,
    magic: Option<i16>,
    absent: Label,
) {
    asm.load_field(Reg::R1, Reg::R1, &fields.inode);
    asm.jump_if(Cond::Eq, Reg::R1, 0, absent);
    asm.load_field(Reg::R2, Reg::R1, &fields.number);
    asm.store(base, number, Reg::R2);
    if let Some(magic) = magic {
        asm.load_field(Reg::R1, Reg::R1, &fields.super_block);
        asm.jump_if(Cond::Eq, Reg::R1, 0, absent);
        asm.load_field(Reg::R2, Reg::R1, &fields.magic);
        asm.store(base, magic, Reg::R2);
    }
}

/// Where the members of a mapping are stored, in bytes from one base.
#[derive(Clone, Copy)]
struct MemberSlots {
    start: i16,
    end: i16,
    flags: i16,
    page_prot: i16,
    page_offset: i16,
    inode: i16,
    magic: i16,
}

/// Stores the members of the mapping in R8. Uses R1 to R3.
fn emit_members(asm: &mut Asm, fields: &VmaFields, base: Reg, at: MemberSlots) {
    let members = [
        (&fields.start, at.start),
        (&fields.end, at.end),
        (&fields.flags, at.flags),
        (&fields.page_prot, at.page_prot),
        (&fields.page_offset, at.page_offset),
    ];
    for (field, slot) in members {
        asm.load_field(Reg::R1, Reg::R8, field);
        asm.store(base, slot, Reg::R1);
    }
    let no_file = asm.label();
    asm.load_field(Reg::R1, Reg::R8, &fields.file);
    asm.jump_if(Cond::Eq, Reg::R1, 0, no_file);
    emit_inode(asm, &fields.inode, base, at.inode, Some(at.magic), no_file);
    asm.place(no_file);
}

/// From the mapping in R8 to the address of its top table in R9, as a plain number.
fn emit_pgd(asm: &mut Asm, fields: &VmaFields, scratch: i16, absent: Label) {
    asm.load_field(Reg::R3, Reg::R8, &fields.mm);
    asm.jump_if(Cond::Eq, Reg::R3, 0, absent);
    asm.add_offset(Reg::R3, &fields.pgd);
    asm.address(Reg::R1, Reg::Fp, scratch);
    asm.mov_imm(Reg::R2, 8);
    asm.call(Helper::ProbeReadKernel);
    asm.jump_if(Cond::Ne, Reg::R0, 0, absent);
    asm.load(Reg::R9, Reg::Fp, scratch);
}
