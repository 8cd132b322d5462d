//! The members of kernel structures that the programs read, from the kernel's BTF.

use crate::btf::{Btf, Field, Target};
use crate::error::Error;

/// A member that must be a plain integer.
fn value(btf: &Btf, name: &str, path: &str) -> Result<Field, Error> {
    let field = btf.field(name, path)?;
    let sound = field.target == Target::Value && matches!(field.size, 1 | 2 | 4 | 8);
    check(sound, name, path, "not a plain integer", field)
}

/// A member that must be a pointer.
fn pointer(btf: &Btf, name: &str, path: &str) -> Result<Field, Error> {
    let field = btf.field(name, path)?;
    let sound = matches!(field.target, Target::Pointer(_));
    check(sound, name, path, "not a pointer", field)
}

/// A member that must be an array or structure inside another.
fn inside(btf: &Btf, name: &str, path: &str) -> Result<Field, Error> {
    let field = btf.field(name, path)?;
    let sound = matches!(field.target, Target::Inside(_));
    check(sound, name, path, "not embedded", field)
}

fn check(
    sound: bool,
    name: &str,
    path: &str,
    why: &'static str,
    field: Field,
) -> Result<Field, Error> {
    if sound {
        return Ok(field);
    }
    Err(Error::BtfUnusable {
        what: format!("{name}.{path}"),
        why,
    })
}

/// `struct vm_area_struct` and what hangs on it.
#[derive(Debug, Clone)]
pub(super) struct VmaFields {
    pub(super) start: Field,
    pub(super) end: Field,
    pub(super) flags: Field,
    pub(super) page_prot: Field,
    pub(super) page_offset: Field,
    pub(super) file: Field,
    pub(super) mm: Field,
    pub(super) pgd: Field,
    pub(super) inode: InodeFields,
}

impl VmaFields {
    pub(super) fn resolve(btf: &Btf) -> Result<Self, Error> {
        const VMA: &str = "vm_area_struct";
        Ok(Self {
            start: value(btf, VMA, "vm_start")?,
            end: value(btf, VMA, "vm_end")?,
            flags: value(btf, VMA, "vm_flags")?,
            page_prot: value(btf, VMA, "vm_page_prot.pgprot")?,
            page_offset: value(btf, VMA, "vm_pgoff")?,
            file: pointer(btf, VMA, "vm_file")?,
            mm: pointer(btf, VMA, "vm_mm")?,
            pgd: pointer(btf, "mm_struct", "pgd")?,
            inode: InodeFields::resolve(btf)?,
        })
    }
}

/// From `struct file` to the inode's number and the file system's magic.
#[derive(Debug, Clone)]
pub(super) struct InodeFields {
    pub(super) inode: Field,
    pub(super) number: Field,
    pub(super) super_block: Field,
    pub(super) magic: Field,
}

impl InodeFields {
    pub(super) fn resolve(btf: &Btf) -> Result<Self, Error> {
        Ok(Self {
            inode: pointer(btf, "file", "f_inode")?,
            number: value(btf, "inode", "i_ino")?,
            super_block: pointer(btf, "inode", "i_sb")?,
            magic: value(btf, "super_block", "s_magic")?,
        })
    }
}

/// The context of an iterator program and its way to the output.
#[derive(Debug, Clone)]
pub(super) struct IterFields {
    pub(super) meta: Field,
    pub(super) seq: Field,
    pub(super) item: Field,
}

impl IterFields {
    /// `context` is the program's argument, `item` the object it is called for.
    pub(super) fn resolve(btf: &Btf, context: &str, item: &str) -> Result<Self, Error> {
        Ok(Self {
            meta: iter_pointer(btf, context, "meta")?,
            seq: iter_pointer(btf, "bpf_iter_meta", "seq")?,
            item: iter_pointer(btf, context, item)?,
        })
    }
}

/// The kernel wraps these pointers in anonymous unions of eight bytes.
pub(super) fn iter_pointer(btf: &Btf, name: &str, path: &str) -> Result<Field, Error> {
    pointer(btf, name, path)
}

/// The thread-group id, which is the process id of the initial namespace.
pub(super) fn tgid(btf: &Btf) -> Result<Field, Error> {
    value(btf, "task_struct", "tgid")
}

/// `struct dma_buf`.
#[derive(Debug, Clone)]
pub(super) struct DmaBufFields {
    pub(super) size: Field,
    pub(super) file: Field,
    pub(super) ops: Field,
    pub(super) ops_mmap: Field,
    pub(super) exporter: Field,
    pub(super) name: Field,
    pub(super) inode: InodeFields,
}

impl DmaBufFields {
    pub(super) fn resolve(btf: &Btf) -> Result<Self, Error> {
        const BUF: &str = "dma_buf";
        Ok(Self {
            size: value(btf, BUF, "size")?,
            file: pointer(btf, BUF, "file")?,
            ops: pointer(btf, BUF, "ops")?,
            ops_mmap: pointer(btf, "dma_buf_ops", "mmap")?,
            exporter: pointer(btf, BUF, "exp_name")?,
            name: pointer(btf, BUF, "name")?,
            inode: InodeFields::resolve(btf)?,
        })
    }
}

/// From `struct dma_buf` through its attachments to device names.
#[derive(Debug, Clone)]
pub(super) struct AttachmentFields {
    pub(super) head: Field,
    pub(super) node: Field,
    pub(super) device: Field,
    pub(super) device_name: Field,
}

impl AttachmentFields {
    pub(super) fn resolve(btf: &Btf) -> Result<Self, Error> {
        // `next` is read at the start of the list head, where BTF must place it.
        let next = pointer(btf, "list_head", "next")?;
        check(next.offset == 0, "list_head", "next", "not first", next)?;
        Ok(Self {
            head: inside(btf, "dma_buf", "attachments")?,
            node: inside(btf, "dma_buf_attachment", "node")?,
            device: pointer(btf, "dma_buf_attachment", "dev")?,
            device_name: pointer(btf, "device", "kobj.name")?,
        })
    }
}
