//! Memory of huge pages. Needs some: `hugepages=8` on the kernel's command
//! line, or `/proc/sys/vm/nr_hugepages`.

use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{
    Access, Error, Mapping, Memfd, Piece, Storage, Udmabuf, Window, page_size,
};

/// The size of a huge page if two are free, or a printed reason for leaving the
/// test out.
fn huge_page() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let field = |key: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    if field("HugePages_Free:").unwrap_or(0) < 2 {
        eprintln!("skipped: fewer than two huge pages are free");
        return None;
    }
    Some(field("Hugepagesize:")? << 10)
}

fn memory(size: u64) -> Result<Memfd, Error> {
    let options = Options {
        huge_pages: true,
        ..Options::default()
    };
    Memfd::create("huge", size, options)
}

#[test]
fn huge_memory_is_whole_huge_pages() {
    let refused = memory(page_size());
    assert!(matches!(refused, Err(Error::Misaligned { align, .. }) if align > page_size()));
}

// One test, so that two never compete for the pages.
#[test]
fn huge_memory_is_mapped_windowed_cut_and_shared() {
    let Some(huge) = huge_page() else { return };
    let memfd = memory(2 * huge).unwrap();
    let at = usize::try_from(huge).unwrap();
    let whole = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    whole.view().write_at(at + 4096, 5u8).unwrap();
    let part = Mapping::new(&memfd, huge + 4096, 10, Access::ReadOnly).unwrap();
    assert_eq!(part.view().read_at::<u8>(0).unwrap(), 5);

    let window = Window::reserve(4 * at).unwrap();
    let small = Piece::new(&memfd, page_size(), page_size());
    let refused = window.map(0, &small, Access::ReadOnly);
    assert!(matches!(refused, Err(Error::Misaligned { .. })));
    let piece = Piece::new(&memfd, huge, huge);
    window.map(2 * at, &piece, Access::ReadWrite).unwrap();
    let mut seen = [0];
    window.copy_to(2 * at + 4096, &mut seen).unwrap();
    assert_eq!(seen, [5]);
    window.blank(2 * at, at).unwrap();
    window.copy_to(2 * at + 4096, &mut seen).unwrap();
    assert_eq!(seen, [0]);
    window.unmap(0, 4 * at).unwrap();

    whole.cut().unwrap();
    assert!(matches!(
        whole.view().read_at::<u8>(at + 4096),
        Err(Error::Revoked)
    ));
    assert_eq!(part.view().read_at::<u8>(0).unwrap(), 5);

    if let Ok(device) = Udmabuf::open() {
        let buffer = device.create(&memfd, huge, page_size() * 2).unwrap();
        let mapping = Mapping::whole(&buffer, Access::ReadOnly).unwrap();
        assert_eq!(mapping.view().read_at::<u8>(4096).unwrap(), 5);
    }
    drop((whole, part, window));
    drop(memfd);
    let storage = Storage::from_memfd(memory(huge).unwrap()).unwrap();
    storage.exclusive(None).unwrap().fill(1);
}
