//! The single-mapping query: one system call, one answer.
//!
//! A program of type SYSCALL opens the kernel's VMA iterator at an address, reads
//! the mapping's members and, if it may, walks its page table. The context is both
//! question and answer.

use super::fields::VmaFields;
use super::walk::{self, Slots, TABLE_BYTES};
use super::{Kind, MemberSlots, Program, emit_members, emit_pgd};
use crate::asm::{Asm, Cond, Helper, Reg};
use crate::btf::Btf;
use crate::error::Error;

/// How much a query program looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The mapping's members only: needs no reading of kernel memory.
    Vma,
    /// And the page-table entry of the address.
    Entry,
    /// And, where the entry is a small page, the table of 512 that it is in.
    Table,
}

/// Whose mapping a query program looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The caller's own.
    Current,
    /// That of the process whose id the context holds.
    Process,
}

/// Offsets in the context, in bytes.
pub(crate) mod at {
    pub(crate) const ADDRESS: i16 = 0;
    pub(crate) const PID: i16 = 8;
    pub(crate) const DIRECT_MAP: i16 = 16;
    pub(crate) const MASK: i16 = 24;
    pub(crate) const FIVE_LEVELS: i16 = 32;
    pub(crate) const STATUS: i16 = 40;
    pub(crate) const ITER_ERROR: i16 = 48;
    pub(crate) const START: i16 = 56;
    pub(crate) const END: i16 = 64;
    pub(crate) const FLAGS: i16 = 72;
    pub(crate) const PAGE_PROT: i16 = 80;
    pub(crate) const PAGE_OFFSET: i16 = 88;
    pub(crate) const INODE: i16 = 96;
    pub(crate) const MAGIC: i16 = 104;
    pub(crate) const PGD: i16 = 112;
    pub(crate) const LEVEL: i16 = 120;
    pub(crate) const ENTRY: i16 = 128;
    pub(crate) const TABLE: i16 = 136;
}

/// Values of the status slot.
pub(crate) mod status {
    pub(crate) const NO_TASK: u64 = 1;
    pub(crate) const NO_VMA: u64 = 2;
    pub(crate) const FOUND: u64 = 3;
}

const ITERATOR: i16 = -8;
const SCRATCH: i16 = -16;

/// Bytes of the context that a program of this depth needs.
pub(crate) fn context_bytes(depth: Depth) -> usize {
    let table = at::TABLE as usize;
    match depth {
        Depth::Table => table + TABLE_BYTES,
        Depth::Vma | Depth::Entry => table,
    }
}

/// Builds the program for the kernel that `btf` describes.
pub(crate) fn build(btf: &Btf, subject: Subject, depth: Depth) -> Result<Program, Error> {
    let fields = VmaFields::resolve(btf)?;
    let iterator = Iterator::resolve(btf)?;
    let mut asm = Asm::new();
    let (out, destroy) = (asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.store_imm(Reg::R6, at::STATUS, status::NO_TASK as i32);
    match subject {
        Subject::Current => asm.call(Helper::GetCurrentTaskBtf),
        Subject::Process => {
            asm.load(Reg::R1, Reg::R6, at::PID);
            // Ids of the caller's namespace where the kernel can look them up.
            let lookup = btf.function("bpf_task_from_vpid");
            asm.call_kfunc(lookup.or_else(|_| btf.function("bpf_task_from_pid"))?);
            asm.jump_if(Cond::Eq, Reg::R0, 0, out);
        }
    }
    asm.mov(Reg::R7, Reg::R0);

    asm.store_imm(Reg::R6, at::STATUS, status::NO_VMA as i32);
    asm.address(Reg::R1, Reg::Fp, ITERATOR);
    asm.mov(Reg::R2, Reg::R7);
    asm.load(Reg::R3, Reg::R6, at::ADDRESS);
    asm.call_kfunc(iterator.new);
    asm.store(Reg::R6, at::ITER_ERROR, Reg::R0);
    asm.address(Reg::R1, Reg::Fp, ITERATOR);
    asm.call_kfunc(iterator.next);
    asm.jump_if(Cond::Eq, Reg::R0, 0, destroy);
    asm.mov(Reg::R8, Reg::R0);

    asm.store_imm(Reg::R6, at::STATUS, status::FOUND as i32);
    emit_members(&mut asm, &fields, Reg::R6, MEMBERS);
    if depth != Depth::Vma {
        let skip = asm.label();
        emit_pgd(&mut asm, &fields, SCRATCH, skip);
        asm.store(Reg::R6, at::PGD, Reg::R9);
        walk::emit(&mut asm, slots(depth));
        asm.place(skip);
    }

    asm.place(destroy);
    asm.address(Reg::R1, Reg::Fp, ITERATOR);
    asm.call_kfunc(iterator.destroy);
    if subject == Subject::Process {
        asm.mov(Reg::R1, Reg::R7);
        asm.call_kfunc(btf.function("bpf_task_release")?);
    }
    asm.place(out);
    asm.mov_imm(Reg::R0, 0);
    asm.exit();
    Ok(Program {
        name: "lb_query",
        kind: Kind::Syscall,
        code: asm.finish()?,
    })
}

fn slots(depth: Depth) -> Slots {
    Slots {
        base: Reg::R6,
        address: at::ADDRESS,
        direct_map: at::DIRECT_MAP,
        mask: at::MASK,
        five_levels: at::FIVE_LEVELS,
        level: at::LEVEL,
        entry: at::ENTRY,
        scratch: SCRATCH,
        table: (depth == Depth::Table).then_some(at::TABLE),
    }
}

const MEMBERS: MemberSlots = MemberSlots {
    start: at::START,
    end: at::END,
    flags: at::FLAGS,
    page_prot: at::PAGE_PROT,
    page_offset: at::PAGE_OFFSET,
    inode: at::INODE,
    magic: at::MAGIC,
};

/// The open-coded VMA iterator (`kernel/bpf/task_iter.c`).
struct Iterator {
    new: u32,
    next: u32,
    destroy: u32,
}

impl Iterator {
    fn resolve(btf: &Btf) -> Result<Self, Error> {
        const NAME: &str = "bpf_iter_task_vma";
        let size = btf.struct_size(NAME)?;
        if size != 8 {
            return Err(Error::BtfUnusable {
                what: NAME.to_owned(),
                why: "not the eight bytes that the stack slot has",
            });
        }
        Ok(Self {
            new: btf.function("bpf_iter_task_vma_new")?,
            next: btf.function("bpf_iter_task_vma_next")?,
            destroy: btf.function("bpf_iter_task_vma_destroy")?,
        })
    }
}
