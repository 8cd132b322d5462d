//! dma-bufs of the running kernel: udmabuf, heaps, sync_files.
//!
//! Each test says on stderr why it can't run where a device is missing.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use landbridge_dmabuf::dma_buf::{FenceUse, Readiness};
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::storage::Kind;
use landbridge_dmabuf::sync_file::Status;
use landbridge_dmabuf::udmabuf::Item;
use landbridge_dmabuf::{
    Access, Bracketed, Direction, DmaBuf, Error, Identity, Mapping, Memfd, Piece, Storage, Udmabuf,
    Window, page_size,
};
use std::os::fd::AsFd;

/// The device, or a printed reason for leaving the test out.
fn udmabuf() -> Option<Udmabuf> {
    Udmabuf::open()
        .inspect_err(|e| eprintln!("skipped: {e}"))
        .ok()
}

fn system_heap() -> Option<Heap> {
    Heap::open("system")
        .inspect_err(|e| eprintln!("skipped: {e}"))
        .ok()
}

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

fn soon() -> Option<Instant> {
    Instant::now().checked_add(LIMIT)
}

fn memory(pages: u64) -> Memfd {
    Memfd::create("kernel test", pages * page_size(), Options::default()).unwrap()
}

fn page() -> usize {
    usize::try_from(page_size()).unwrap()
}

/// Writes the number of each page at its start.
fn number_pages(mapping: &Mapping) {
    for at in (0..mapping.len()).step_by(page()) {
        let number = (at / page()) as u64;
        mapping.view().write_at(at, number).unwrap();
    }
}

#[test]
fn a_udmabuf_shows_its_memfd_both_ways() {
    let Some(device) = udmabuf() else { return };
    let memfd = memory(4);
    let buffer = device.create(&memfd, page_size(), 2 * page_size()).unwrap();
    assert_eq!(buffer.size().unwrap(), 2 * page_size());
    assert_eq!(buffer.exporter_name().unwrap(), "udmabuf");
    assert_eq!(buffer.identity().unwrap(), Identity::of(&buffer).unwrap());
    let through_memfd = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let through_buffer = Mapping::whole(&buffer, Access::ReadWrite).unwrap();
    number_pages(&through_memfd);
    assert_eq!(through_buffer.view().read_at::<u64>(0).unwrap(), 1);
    assert_eq!(through_buffer.view().read_at::<u64>(page()).unwrap(), 2);
    through_buffer.view().write_at(8, 77u64).unwrap();
    assert_eq!(through_memfd.view().read_at::<u64>(page() + 8).unwrap(), 77);
}

#[test]
fn a_list_shows_its_ranges_in_order() {
    let Some(device) = udmabuf() else { return };
    let memfd = memory(8);
    number_pages(&Mapping::whole(&memfd, Access::ReadWrite).unwrap());
    let fd = memfd.as_fd();
    let item = |first: u64, pages: u64| Item {
        fd,
        offset: first * page_size(),
        len: pages * page_size(),
    };
    let buffer = device
        .create_list(&[item(6, 1), item(0, 1), item(1, 2), item(7, 1)])
        .unwrap();
    let mapping = Mapping::whole(&buffer, Access::ReadOnly).unwrap();
    let numbers = (0..5).map(|at| mapping.view().read_at::<u64>(at * page()).unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), [6, 0, 1, 2, 7]);
}

#[test]
fn the_size_limit_is_told_before_the_kernel_refuses() {
    let Some(device) = udmabuf() else { return };
    let limit = device.limits().bytes;
    let memfd = Memfd::create("limit", limit + page_size(), Options::default()).unwrap();
    device.create(&memfd, 0, limit).unwrap();
    let refused = device.create(&memfd, 0, limit + page_size());
    assert!(
        matches!(refused, Err(Error::OverLimit { .. })),
        "{refused:?}"
    );
}

#[test]
fn names_of_31_bytes_fit_and_of_32_do_not() {
    let Some(device) = udmabuf() else { return };
    let buffer = device.create(&memory(1), 0, page_size()).unwrap();
    assert_eq!(buffer.name().unwrap(), None);
    let name = "n".repeat(31);
    buffer.set_name(&name).unwrap();
    assert_eq!(buffer.name().unwrap(), Some(name));
    let long = buffer.set_name(&"n".repeat(32));
    assert!(matches!(long, Err(Error::BadName { .. })));
    buffer.set_name("x\nexp_name:\tdrm").unwrap();
    assert_eq!(buffer.exporter_name().unwrap(), "udmabuf");
    assert_eq!(buffer.name().unwrap().as_deref(), Some("x\nexp_name:\tdrm"));
}

#[test]
fn duplicates_are_the_same_buffer() {
    let Some(device) = udmabuf() else { return };
    let buffer = device.create(&memory(1), 0, page_size()).unwrap();
    let copy = DmaBuf::try_from(OwnedFd::from(buffer.try_clone().unwrap())).unwrap();
    assert_eq!(buffer.identity().unwrap(), copy.identity().unwrap());
    let other = device.create(&memory(1), 0, page_size()).unwrap();
    assert_ne!(buffer.identity().unwrap(), other.identity().unwrap());
}

#[test]
fn cpu_access_begins_and_ends() {
    let Some(device) = udmabuf() else { return };
    let buffer = device.create(&memory(1), 0, page_size()).unwrap();
    let memory = Bracketed::of(buffer, Access::ReadWrite).unwrap();
    for direction in [Direction::Read, Direction::Write, Direction::ReadWrite] {
        let bracket = memory.access(direction, 0..memory.len(), LIMIT).unwrap();
        bracket.end().unwrap();
    }
    let counters = memory.counters();
    assert_eq!((counters.starts, counters.ends), (3, 3));
}

#[test]
fn an_idle_buffer_is_ready_and_its_fences_have_signalled() {
    let Some(device) = udmabuf() else { return };
    let buffer = device.create(&memory(1), 0, page_size()).unwrap();
    assert!(buffer.is_ready(Readiness::Read).unwrap());
    assert!(buffer.is_ready(Readiness::Write).unwrap());
    let read = buffer.export_sync_file(FenceUse::Read).unwrap();
    let write = buffer.export_sync_file(FenceUse::Write).unwrap();
    let both = read.merge("both", &write).unwrap();
    assert_eq!(
        both.wait(Some(Duration::from_secs(10))).unwrap(),
        Status::Signaled
    );
    let info = both.info().unwrap();
    assert_eq!(
        (info.name.as_str(), info.status),
        ("both", Status::Signaled)
    );
    assert!(!info.fences.is_empty());
    assert!(info.fences.iter().all(|f| f.status == Status::Signaled));
    buffer.import_sync_file(FenceUse::Write, &both).unwrap();
    assert!(buffer.is_ready(Readiness::Write).unwrap());
    both.set_deadline(Instant::now() + Duration::from_secs(1))
        .unwrap();
    let again = landbridge_dmabuf::SyncFile::try_from(OwnedFd::from(both));
    assert!(again.is_ok());
}

#[test]
fn parts_of_a_udmabuf_are_viewed_and_stitched_right() {
    let Some(device) = udmabuf() else { return };
    let memfd = memory(4);
    number_pages(&Mapping::whole(&memfd, Access::ReadWrite).unwrap());
    let buffer = device.create(&memfd, 0, 4 * page_size()).unwrap();
    let part = Mapping::new(&buffer, 2 * page_size(), 8, Access::ReadOnly).unwrap();
    assert_eq!(part.view().read_at::<u64>(0).unwrap(), 2);
    let pieces = [3, 1].map(|at| Piece::new(&buffer, at * page_size(), page_size()));
    let stitched = Mapping::stitch(&pieces, Access::ReadOnly).unwrap();
    assert_eq!(stitched.view().read_at::<u64>(0).unwrap(), 3);
    assert_eq!(stitched.view().read_at::<u64>(page()).unwrap(), 1);
}

#[test]
fn cutting_a_dma_buf_mapping_leaves_the_buffer_alone() {
    let Some(device) = udmabuf() else { return };
    let buffer = device.create(&memory(2), 0, 2 * page_size()).unwrap();
    let kept = Mapping::whole(&buffer, Access::ReadWrite).unwrap();
    let cut = Mapping::whole(&buffer, Access::ReadWrite).unwrap();
    cut.view().fill(0, 2 * page(), 5).unwrap();
    cut.cut().unwrap();
    let refused = cut.view().fill(0, 2 * page(), 6);
    assert!(matches!(refused, Err(Error::Revoked)), "{refused:?}");
    assert_eq!(kept.view().read_at::<u8>(page()).unwrap(), 5);
}

fn window_carries(buffer: &DmaBuf) {
    let size = usize::try_from(buffer.size().unwrap()).unwrap();
    let window = Window::reserve(4 * size).unwrap();
    let piece = Piece::new(buffer, 0, buffer.size().unwrap());
    window.map(size, &piece, Access::ReadWrite).unwrap();
    window.copy_from(size + 3, b"through the window").unwrap();
    let mapping = Mapping::whole(buffer, Access::ReadOnly).unwrap();
    let mut seen = [0; 18];
    mapping.view().copy_to(3, &mut seen).unwrap();
    assert_eq!(&seen, b"through the window");
    window.blank(size, size).unwrap();
    window.copy_to(size + 3, &mut seen).unwrap();
    assert_eq!(seen, [0; 18]);
    window.unmap(size, size).unwrap();
    assert!(window.copy_to(size, &mut seen).is_err());
}

#[test]
fn a_window_carries_a_udmabuf() {
    let Some(device) = udmabuf() else { return };
    window_carries(&device.wrap(memory(4)).unwrap());
}

#[test]
fn a_window_carries_heap_memory() {
    let Some(heap) = system_heap() else { return };
    window_carries(&heap.allocate(4 * page_size()).unwrap());
}

/// Exclusive, then lent, then never again: the ledger on a real dma-buf.
fn stores(buffer: DmaBuf) {
    let storage = Storage::from_dmabuf(buffer).unwrap();
    assert_eq!(storage.kind(), Kind::DmaBuf);
    assert!(storage.can_be_exclusive());
    for mark in [3u8, 4] {
        let mut bytes = storage.exclusive(soon()).unwrap();
        bytes.fill(mark);
        assert!(matches!(storage.lend(), Err(Error::InUse { .. })));
        bytes.finish().unwrap();
    }
    assert!(
        storage
            .dma_buf()
            .unwrap()
            .is_ready(Readiness::Write)
            .unwrap()
    );
    let loan = storage.lend().unwrap();
    let theirs = Mapping::whole(&loan, Access::ReadOnly).unwrap();
    assert_eq!(theirs.view().read_at::<u8>(0).unwrap(), 4);
    let ours = storage.map(Access::ReadOnly).unwrap();
    let bracket = ours.read(LIMIT).unwrap();
    assert_eq!(bracket.view().read_at::<u8>(0).unwrap(), 4);
    bracket.end().unwrap();
    assert_eq!(ours.counters().starts, 1);
    assert!(matches!(
        storage.exclusive(soon()),
        Err(Error::InUse { .. })
    ));
}

#[test]
fn a_wrapped_memfd_can_be_exclusive() {
    let Some(device) = udmabuf() else { return };
    stores(device.wrap(memory(2)).unwrap());
}

#[test]
fn heap_memory_can_be_exclusive() {
    let Some(heap) = system_heap() else { return };
    stores(heap.allocate(2 * page_size()).unwrap());
}

#[test]
fn a_udmabuf_beside_its_memfd_is_never_exclusive() {
    let Some(device) = udmabuf() else { return };
    let memfd = memory(1);
    let buffer = device.create(&memfd, 0, page_size()).unwrap();
    for storage in [
        Storage::from_dmabuf(buffer).unwrap(),
        Storage::from_memfd(memfd).unwrap(),
    ] {
        assert!(matches!(storage.exclusive(soon()), Err(Error::Foreign)));
    }
    let wrapped = device.wrap(memory(1)).unwrap();
    let storage = Storage::from_foreign_dmabuf(wrapped).unwrap();
    assert!(matches!(storage.exclusive(soon()), Err(Error::Foreign)));
}

#[test]
fn heap_memory_is_zeroed_whole_pages() {
    let Some(heap) = system_heap() else { return };
    assert!(Heap::list().unwrap().contains(&"system".to_owned()));
    let buffer = heap.allocate(page_size() + 1).unwrap();
    assert_eq!(buffer.size().unwrap(), 2 * page_size());
    assert_eq!(buffer.exporter_name().unwrap(), "system");
    let mapping = Mapping::whole(&buffer, Access::ReadWrite).unwrap();
    let mut bytes = vec![1; 2 * page()];
    mapping.view().copy_to(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
}

/// The trap that `punch_hole` warns of, so that we learn when it changes.
#[test]
fn a_hole_splits_a_udmabuf_from_its_memfd() {
    let Some(device) = udmabuf() else { return };
    let memfd = memory(1);
    let buffer = device.create(&memfd, 0, page_size()).unwrap();
    let through_memfd = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let through_buffer = Mapping::whole(&buffer, Access::ReadWrite).unwrap();
    through_memfd.view().write_at(0, 1u8).unwrap();
    assert_eq!(through_buffer.view().read_at::<u8>(0).unwrap(), 1);
    memfd.punch_hole(0, page_size()).unwrap();
    assert_eq!(through_memfd.view().read_at::<u8>(0).unwrap(), 0);
    assert_eq!(through_buffer.view().read_at::<u8>(0).unwrap(), 1);
}
