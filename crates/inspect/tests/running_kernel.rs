//! Questions to the kernel that runs the tests. What the machine or the process lacks is
//! printed as the reason for skipping.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use landbridge_inspect::btf::{Btf, VMLINUX};
use landbridge_inspect::{Caching, Config, Error, Inspector, Reason, Source, Strength};

/// An inspector that has `needed`, or the reason why the test is skipped.
fn inspector(needed: Strength) -> Option<Inspector> {
    let inspector = Inspector::open(Config::default());
    let way = inspector
        .availability()
        .into_iter()
        .find(|way| way.strength == needed)?;
    match way.missing {
        None => Some(inspector),
        Some(reason) => {
            println!("skipped: {needed}: {reason}");
            None
        }
    }
}

/// The address of a byte that was just written.
fn touched(memory: &mut [u8]) -> u64 {
    memory.fill(1);
    std::hint::black_box(memory).as_ptr() as u64
}

#[test]
fn the_kernels_types_parse() {
    if !Path::new(VMLINUX).exists() {
        return println!("skipped: no {VMLINUX}");
    }
    let btf = Btf::of_running_kernel().unwrap();
    assert!(btf.type_count() > 10_000);
    let start = btf.field("vm_area_struct", "vm_start").unwrap();
    let end = btf.field("vm_area_struct", "vm_end").unwrap();
    assert_eq!((start.size, end.size), (8, 8));
    assert_ne!(start.offset, end.offset);
    assert!(matches!(
        btf.field("vm_area_struct", "no_such_member"),
        Err(Error::BtfMissing { .. })
    ));
}

#[test]
fn every_missing_strength_has_its_reason() {
    for way in Inspector::open(Config::default()).availability() {
        match way.missing {
            None => println!("{}: available", way.strength),
            Some(reason) => println!("{}: {reason}", way.strength),
        }
    }
}

#[test]
fn own_memory_is_write_back_by_its_page_table() {
    let Some(inspector) = inspector(Strength::Pte) else {
        return;
    };
    let mut memory = vec![0; 64 * 1024];
    let found = inspector.mapping(None, touched(&mut memory)).unwrap();
    assert_eq!(found.info.caching, Some(Caching::WriteBack));
    assert_eq!(found.info.source, Source::Pte);
    assert!(found.info.gup);
    assert!(found.coverage.unwrap().present >= 16);
    let page = inspector.page(None, touched(&mut memory)).unwrap();
    assert_eq!(
        (page.caching, page.source),
        (Some(Caching::WriteBack), Source::Pte)
    );
}

#[test]
fn mappings_agree_with_procfs() {
    let Some(inspector) = inspector(Strength::Vma) else {
        return;
    };
    let pid = std::process::id();
    let ours = inspector.mappings(Some(pid)).unwrap();
    let procfs = landbridge_inspect::procfs::smaps::of_process(pid).unwrap();
    let text = procfs
        .iter()
        .find(|entry| entry.offset != 0 && entry.inode != 0)
        .unwrap();
    let same = ours
        .iter()
        .find(|vma| vma.start == text.range.start)
        .unwrap();
    assert_eq!(same.end, text.range.end);
    assert_eq!(same.inode, text.inode);
    assert_eq!(same.page_offset * 4096, text.offset);
    assert_eq!(Some(same.gup()), text.gup());
}

#[test]
fn another_process_can_be_asked() {
    let Some(inspector) = inspector(Strength::Pte) else {
        return;
    };
    // The test's parent: some process whose stack is surely touched.
    let pid = std::os::unix::process::parent_id();
    let Some(entries) = landbridge_inspect::procfs::smaps::of_process(pid) else {
        return println!("skipped: process {pid} may not be looked into");
    };
    let stack = entries
        .iter()
        .find(|entry| entry.path == "[stack]")
        .unwrap();
    let found = inspector.mapping(Some(pid), stack.range.end - 1).unwrap();
    assert_eq!(found.vma.end, stack.range.end);
    assert_eq!(found.info.caching, Some(Caching::WriteBack));
    assert_eq!(found.info.source, Source::Pte);
}

#[test]
fn nothing_mapped_and_nobody_there_are_told_apart() {
    let Some(inspector) = inspector(Strength::Vma) else {
        return;
    };
    let nowhere = inspector.mapping(None, 0x1000);
    assert!(
        matches!(nowhere, Err(Error::NoMapping { .. })),
        "{nowhere:?}"
    );
    let nobody = inspector.mapping(Some(0x3fff_fff0), 0x1000);
    assert!(matches!(nobody, Err(Error::NoProcess { .. })), "{nobody:?}");
}

#[test]
fn the_kernels_list_of_buffers_can_be_read() {
    let Some(inspector) = inspector(Strength::BufferList) else {
        return;
    };
    let listed = inspector.kernel_buffers().unwrap();
    if let Ok(bufinfo) = landbridge_inspect::bufinfo::read() {
        let key = |buffer: &landbridge_inspect::KernelBuffer| (buffer.inode, buffer.size);
        let mut a: Vec<_> = listed.iter().map(key).collect();
        let mut b: Vec<_> = bufinfo.iter().map(key).collect();
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }
}

#[test]
fn other_files_are_not_dma_bufs() {
    let inspector = Inspector::open(Config {
        bpf: false,
        ..Config::default()
    });
    let file = File::open("/proc/self/exe").unwrap();
    assert!(matches!(
        inspector.map_info(file.as_fd()),
        Err(Error::NotDmaBuf)
    ));
}

#[test]
fn a_memfd_is_touched_by_a_child_not_by_us() {
    let Some(inspector) = inspector(Strength::Pte) else {
        return;
    };
    let memfd = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memfd, 3 << 20).unwrap();
    let info = inspector.map_info_of_memory(&memfd).unwrap();
    assert_eq!(info.caching, Some(Caching::WriteBack));
    assert_eq!(info.source, Source::Pte);
    assert!(info.gup && info.mappable);
    let path = "/memfd:probe (deleted)";
    let ours = landbridge_inspect::procfs::smaps::of_process(std::process::id()).unwrap();
    assert!(
        !ours.iter().any(|entry| entry.path == path),
        "the caller mapped it"
    );
}

#[test]
fn the_exporters_mmap_error_comes_through() {
    let inspector = Inspector::open(Config {
        bpf: false,
        ..Config::default()
    });
    let directory = File::open("/").unwrap();
    let refused = inspector.map_info_of_memory(&directory);
    assert!(
        matches!(refused, Err(Error::Mmap(_) | Error::System { .. })),
        "{refused:?}"
    );
}

#[test]
fn without_bpf_every_way_says_so() {
    let inspector = Inspector::open(Config {
        bpf: false,
        ..Config::default()
    });
    for way in inspector.availability() {
        let expected = (way.strength != Strength::Rule).then_some(Reason::NotConfigured);
        assert_eq!(way.missing, expected, "{}", way.strength);
    }
}
