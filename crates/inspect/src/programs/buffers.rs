//! All dma-bufs of the machine: the kernel's `dmabuf` iterator (6.16 and later).
//!
//! A buffer is a header of fixed size and then strings, each ended by a zero byte:
//! exporter, name, and the names of attached devices, each led by
//! [`tag::IMPORTER`]; a last tag says how the list of devices ended. Strings go
//! through `seq_printf`, which copies them safely even under lockdown.
//!
//! BPF can't take the reservation lock, so the list of attachments is read as it
//! stands: best effort, bounded, and every read checked.

use super::fields::{AttachmentFields, DmaBufFields, IterFields};
use super::{Kind, Program, emit_inode};
use crate::asm::{Alu, Asm, Cond, Helper, Label, Reg};
use crate::btf::{Btf, Field};
use crate::error::Error;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 4 * 8;

/// Offsets in the header.
pub(crate) mod at {
    pub(crate) const MARK: usize = 0;
    pub(crate) const INODE: usize = 8;
    pub(crate) const SIZE: usize = 16;
    pub(crate) const MAPPABLE: usize = 24;
}

/// What every header begins with, so that a reader notices being out of step.
pub(crate) const MARK: u64 = 0x6c62_6275_6600_0001;

/// The bytes between device names.
pub(crate) mod tag {
    /// A device name follows.
    pub(crate) const IMPORTER: u8 = 1;
    /// All devices were listed.
    pub(crate) const COMPLETE: u8 = 2;
    /// There were more, or the list changed while it was read.
    pub(crate) const CUT: u8 = 3;
    /// Devices were not asked for.
    pub(crate) const UNKNOWN: u8 = 4;
}

/// Attachments listed for one buffer.
pub(crate) const MAX_IMPORTERS: usize = 32;

const HEADER: i16 = -(HEADER_BYTES as i16);
/// The bytes `%s` and a zero.
const FORMAT: i16 = HEADER - 8;
const ARGUMENT: i16 = HEADER - 16;
const TAG: i16 = HEADER - 24;
const NODE: i16 = HEADER - 32;
const SCRATCH: i16 = HEADER - 40;

/// Builds the program; `importers` needs reading of kernel memory.
pub(crate) fn build(btf: &Btf, importers: bool) -> Result<Program, Error> {
    let iter = IterFields::resolve(btf, "bpf_iter__dmabuf", "dmabuf")?;
    let fields = DmaBufFields::resolve(btf)?;
    let mut asm = Asm::new();
    let out = asm.label();
    asm.load_field(Reg::R8, Reg::R1, &iter.item);
    asm.jump_if(Cond::Eq, Reg::R8, 0, out);
    asm.load_field(Reg::R7, Reg::R1, &iter.meta);
    asm.load_field(Reg::R7, Reg::R7, &iter.seq);
    let format = u64::from_ne_bytes(*b"%s\0\0\0\0\0\0");
    asm.mov_imm64(Reg::R1, format);
    asm.store(Reg::Fp, FORMAT, Reg::R1);

    emit_header(&mut asm, &fields);
    for field in [&fields.exporter, &fields.name] {
        asm.load_field(Reg::R1, Reg::R8, field);
        asm.store(Reg::Fp, ARGUMENT, Reg::R1);
        emit_string(&mut asm, out);
    }
    if importers {
        let attachments = AttachmentFields::resolve(btf)?;
        emit_importers(&mut asm, &attachments, out);
    } else {
        emit_tag(&mut asm, tag::UNKNOWN);
    }
    asm.place(out);
    asm.mov_imm(Reg::R0, 0);
    asm.exit();
    Ok(Program {
        name: "lb_buffers",
        kind: Kind::Iterator(btf.function("bpf_iter_dmabuf")?),
        code: asm.finish()?,
    })
}

fn emit_header(asm: &mut Asm, fields: &DmaBufFields) {
    let slot = |offset: usize| HEADER + offset as i16;
    asm.mov_imm64(Reg::R1, MARK);
    asm.store(Reg::Fp, slot(at::MARK), Reg::R1);
    asm.store_imm(Reg::Fp, slot(at::INODE), 0);
    asm.store_imm(Reg::Fp, slot(at::MAPPABLE), 0);
    asm.load_field(Reg::R1, Reg::R8, &fields.size);
    asm.store(Reg::Fp, slot(at::SIZE), Reg::R1);

    let no_file = asm.label();
    asm.load_field(Reg::R1, Reg::R8, &fields.file);
    asm.jump_if(Cond::Eq, Reg::R1, 0, no_file);
    emit_inode(asm, &fields.inode, Reg::Fp, slot(at::INODE), None, no_file);
    asm.place(no_file);

    let no_mmap = asm.label();
    asm.load_field(Reg::R1, Reg::R8, &fields.ops);
    asm.jump_if(Cond::Eq, Reg::R1, 0, no_mmap);
    asm.load_field(Reg::R1, Reg::R1, &fields.ops_mmap);
    asm.jump_if(Cond::Eq, Reg::R1, 0, no_mmap);
    asm.store_imm(Reg::Fp, slot(at::MAPPABLE), 1);
    asm.place(no_mmap);
    emit_write(asm, HEADER, HEADER_BYTES);
}

/// Writes `bytes` bytes of stack.
fn emit_write(asm: &mut Asm, at: i16, bytes: usize) {
    asm.mov(Reg::R1, Reg::R7);
    asm.address(Reg::R2, Reg::Fp, at);
    asm.mov_imm(Reg::R3, bytes as i32);
    asm.call(Helper::SeqWrite);
}

fn emit_tag(asm: &mut Asm, tag: u8) {
    asm.store_byte(Reg::Fp, TAG, tag);
    emit_write(asm, TAG, 1);
}

/// Writes the string that the argument slot points to, and a zero.
fn emit_string(asm: &mut Asm, out: Label) {
    let absent = asm.label();
    asm.load(Reg::R1, Reg::Fp, ARGUMENT);
    asm.jump_if(Cond::Eq, Reg::R1, 0, absent);
    asm.mov(Reg::R1, Reg::R7);
    asm.address(Reg::R2, Reg::Fp, FORMAT);
    asm.mov_imm(Reg::R3, 3);
    asm.address(Reg::R4, Reg::Fp, ARGUMENT);
    asm.mov_imm(Reg::R5, 8);
    asm.call(Helper::SeqPrintf);
    asm.jump_if(Cond::Ne, Reg::R0, 0, out);
    asm.place(absent);
    emit_tag(asm, 0);
}

/// Walks the list of attachments by checked reads of plain addresses.
fn emit_importers(asm: &mut Asm, fields: &AttachmentFields, out: Label) {
    let (complete, cut, end) = (asm.label(), asm.label(), asm.label());
    asm.mov(Reg::R9, Reg::R8);
    asm.add_offset(Reg::R9, &fields.head);
    emit_read(asm, Reg::R9, None, NODE, cut);
    for _ in 0..MAX_IMPORTERS {
        emit_is_head(asm, fields, complete);
        // R9 leaves the node for the attachment around it.
        asm.load(Reg::R9, Reg::Fp, NODE);
        asm.alu_imm(Alu::Add, Reg::R9, -(fields.node.offset as i32));
        emit_read(asm, Reg::R9, Some(&fields.device), SCRATCH, cut);
        asm.load(Reg::R9, Reg::Fp, SCRATCH);
        emit_read(asm, Reg::R9, Some(&fields.device_name), ARGUMENT, cut);
        emit_tag(asm, tag::IMPORTER);
        emit_string(asm, out);
        asm.load(Reg::R9, Reg::Fp, NODE);
        emit_read(asm, Reg::R9, None, NODE, cut);
    }
    emit_is_head(asm, fields, complete);
    asm.place(cut);
    emit_tag(asm, tag::CUT);
    asm.jump(end);
    asm.place(complete);
    emit_tag(asm, tag::COMPLETE);
    asm.place(end);
}

/// Reads the eight bytes at `from` (plus the field's offset) into a stack slot.
fn emit_read(asm: &mut Asm, from: Reg, field: Option<&Field>, to: i16, failed: Label) {
    asm.address(Reg::R1, Reg::Fp, to);
    asm.mov_imm(Reg::R2, 8);
    asm.mov(Reg::R3, from);
    if let Some(field) = field {
        asm.add_offset(Reg::R3, field);
    }
    asm.call(Helper::ProbeReadKernel);
    asm.jump_if(Cond::Ne, Reg::R0, 0, failed);
}

/// Jumps if the node slot holds the address of the list's head.
fn emit_is_head(asm: &mut Asm, fields: &AttachmentFields, is_head: Label) {
    asm.mov(Reg::R2, Reg::R8);
    asm.add_offset(Reg::R2, &fields.head);
    asm.load(Reg::R1, Reg::Fp, NODE);
    asm.jump_if_same(Reg::R1, Reg::R2, is_head);
}
