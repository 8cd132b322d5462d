//! Programs built for kernels that are only described.

use super::*;
use crate::btf::Btf;
use crate::btf::build::Builder;
use crate::error::Error;
use mappings::{Samples, WalkParameters};
use query::{Depth, Subject};

/// A kernel's types; `without` names a structure member or function that it lacks.
fn kernel(without: &str) -> Btf {
    let mut b = Builder::new();
    let long = b.int("unsigned long", 8);
    let int = b.int("int", 4);
    let pointer = b.pointer(0);
    let structures: &[(&str, &[(&str, u32)])] = &[
        ("list_head", &[("next", pointer), ("prev", pointer)]),
        ("pgprot", &[("pgprot", long)]),
        ("mm_struct", &[("count", long), ("pgd", pointer)]),
        ("super_block", &[("s_magic", long)]),
        ("inode", &[("i_sb", pointer), ("i_ino", long)]),
        ("file", &[("f_inode", pointer)]),
        ("task_struct", &[("pid", int), ("tgid", int)]),
        ("bpf_iter_meta", &[("seq", pointer)]),
        ("kobject", &[("name", pointer)]),
        ("dma_buf_ops", &[("mmap", pointer)]),
        ("bpf_iter_task_vma", &[("opaque", long)]),
    ];
    for (name, members) in structures {
        structure(&mut b, name, members, without);
    }
    // Ids follow the order above: three types, then one for each structure.
    let (list, pgprot, kobject) = (4, 5, 12);
    let composed: &[(&str, &[(&str, u32)])] = &[
        ("device", &[("parent", pointer), ("kobj", kobject)]),
        ("dma_buf_attachment", &[("dev", pointer), ("node", list)]),
    ];
    for (name, members) in composed {
        structure(&mut b, name, members, without);
    }
    let vma = [
        ("vm_start", long),
        ("vm_end", long),
        ("vm_mm", pointer),
        ("vm_page_prot", pgprot),
        ("vm_flags", long),
        ("vm_pgoff", long),
        ("vm_file", pointer),
    ];
    structure(&mut b, "vm_area_struct", &vma, without);
    let buffer = [
        ("size", long),
        ("file", pointer),
        ("ops", pointer),
        ("exp_name", pointer),
        ("name", pointer),
        ("attachments", list),
    ];
    structure(&mut b, "dma_buf", &buffer, without);
    let context = [("meta", pointer), ("task", pointer), ("vma", pointer)];
    structure(&mut b, "bpf_iter__task_vma", &context, without);
    let context = [("meta", pointer), ("dmabuf", pointer)];
    structure(&mut b, "bpf_iter__dmabuf", &context, without);
    for name in FUNCTIONS.iter().filter(|&&name| name != without) {
        b.function(name);
    }
    Btf::parse(b.finish()).unwrap()
}

const FUNCTIONS: &[&str] = &[
    "bpf_iter_task_vma",
    "bpf_iter_dmabuf",
    "bpf_task_from_pid",
    "bpf_task_release",
    "bpf_iter_task_vma_new",
    "bpf_iter_task_vma_next",
    "bpf_iter_task_vma_destroy",
];

/// Members of eight bytes each but for the list head of sixteen.
fn structure(b: &mut Builder, name: &str, members: &[(&str, u32)], without: &str) {
    const LIST: u32 = 4;
    let mut bits = 0;
    let mut placed = Vec::new();
    for &(member, ty) in members {
        if member != without {
            placed.push((member, ty, bits));
        }
        bits += if ty == LIST && name != "list_head" {
            128
        } else {
            64
        };
    }
    b.structure(name, bits / 8, &placed);
}

const WALK: WalkParameters = WalkParameters {
    direct_map: 0xffff_8880_0000_0000,
    mask: 0x000f_ffff_ffff_f000,
    five_levels: false,
};

fn builds(btf: &Btf) -> [Result<Program, Error>; 6] {
    [
        query::build(btf, Subject::Current, Depth::Table),
        query::build(btf, Subject::Process, Depth::Vma),
        mappings::build(btf, Samples::None),
        mappings::build(btf, Samples::Ends(WALK)),
        buffers::build(btf, false),
        buffers::build(btf, true),
    ]
}

#[test]
fn every_program_is_built_from_types_alone() {
    for program in builds(&kernel("")) {
        let program = program.unwrap();
        assert!(program.code.len() % 8 == 0 && program.name.len() <= 15);
        // BPF_EXIT ends it.
        assert_eq!(program.code[program.code.len() - 8], 0x95);
    }
    assert!(peek::build().is_ok());
}

/// What a kernel without `name` can't have, by position in [`builds`].
fn refused_without(name: &str) -> Vec<usize> {
    let programs = builds(&kernel(name));
    let refused = programs.iter().enumerate().filter_map(|(index, program)| {
        let error = program.as_ref().err()?;
        assert!(
            error.to_string().contains(name),
            "{error} should name {name}"
        );
        Some(index)
    });
    refused.collect()
}

#[test]
fn a_missing_member_or_function_is_named_and_refuses_only_its_users() {
    assert_eq!(refused_without("vm_page_prot"), [0, 1, 2, 3]);
    assert_eq!(refused_without("bpf_iter_task_vma_new"), [0, 1]);
    assert_eq!(refused_without("bpf_task_from_pid"), [1]);
    assert_eq!(refused_without("tgid"), [2, 3]);
    assert_eq!(refused_without("bpf_iter_dmabuf"), [4, 5]);
    assert_eq!(refused_without("exp_name"), [4, 5]);
    assert_eq!(refused_without("attachments"), [5]);
}

#[test]
fn offsets_are_those_of_the_types() {
    let program = mappings::build(&kernel(""), Samples::None).unwrap();
    // ldxdw r1, [r8 + 32]: vm_flags is the fifth member.
    let load = [0x79, 0x81, 32, 0, 0, 0, 0, 0];
    assert!(program.code.chunks(8).any(|insn| insn == load));
}
