//! Pages that a guest brought, seen as one buffer.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use landbridge_dmabuf::{Access, Mapping, Piece, Storage};
use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::{FakeGuestMemory, FakeJoiner};
use landbridge_exchange::exporters::guest_pages::{GuestMemory, GuestPiece, NotGuestMemory};
use landbridge_exchange::exporters::{GuestPages, Joiner};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::ranges::{File, GuestPhysical, Range, RangeList, RangeSlice};
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Error, Exporter};
use proptest::prelude::*;

use crate::scene::{NOW, Scene};

const PAGE: u64 = 4096;
const LOW: u64 = 0x10_0000;
const HIGH: u64 = 0x1_0000_0000;

/// 8 pages at [`LOW`], 8 more behind them from another file, 8 at [`HIGH`].
fn guest() -> FakeGuestMemory {
    let mut guest = FakeGuestMemory::default();
    for start in [HIGH, LOW, LOW + 8 * PAGE] {
        guest.add(start, 8 * PAGE).unwrap();
    }
    guest
}

fn list(ranges: &[(u64, u64)]) -> RangeList<GuestPhysical> {
    let mut list = RangeList::default();
    for (start, len) in ranges {
        list.push(Range::new(*start, *len).unwrap()).unwrap();
    }
    list
}

/// The guest's own view of one page.
fn page(guest: &FakeGuestMemory, address: u64) -> Mapping {
    let pieces = guest.resolve(Range::new(address, PAGE).unwrap()).unwrap();
    let piece = Piece::new(&pieces[0].file, pieces[0].offset, pieces[0].len);
    Mapping::of(&piece, Access::ReadWrite).unwrap()
}

fn publish(scene: &Scene, guest: &FakeGuestMemory, ranges: &[(u64, u64)], size: u64) -> Buffer {
    let pages = GuestPages::new(guest, list(ranges), size).unwrap();
    scene.exchange.publish(pages, &scene.tenant).unwrap()
}

#[test]
fn both_sides_see_the_same_bytes() {
    let (scene, guest) = (Scene::new(), guest());
    // Backwards, over two files, and with a gap.
    let order = [HIGH + PAGE, LOW + 8 * PAGE, LOW + 7 * PAGE, LOW];
    let buffer = publish(&scene, &guest, &order.map(|at| (at, PAGE)), 4 * PAGE);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let access = cpu.access(Direction::ReadWrite, NOW).unwrap();
    for (index, address) in order.into_iter().enumerate() {
        let theirs = page(&guest, address);
        let at = index * 4096;
        theirs.view().write_at(8, address).unwrap();
        assert_eq!(access.view().read_at::<u64>(at + 8).unwrap(), address);
        access.view().write_at(at + 16, !address).unwrap();
        assert_eq!(theirs.view().read_at::<u64>(16).unwrap(), !address);
    }
    assert_eq!(buffer.copied_bytes(), 0);
}

#[test]
fn neighbours_merge_to_one_range_and_one_piece_a_file() {
    let guest = guest();
    let entries: Vec<_> = (0..16).map(|index| (LOW + index * PAGE, PAGE)).collect();
    let ranges = list(&entries);
    assert_eq!(ranges.as_slice().len(), 1);
    let pages = GuestPages::new(&guest, ranges.clone(), 16 * PAGE).unwrap();
    assert_eq!(pages.files().as_slice().len(), 2);
    assert_eq!(pages.ranges().unwrap().as_slice(), ranges.as_slice());
    assert_eq!(pages.identity(), None, "no one file stands for the whole");
    let pages = GuestPages::new(&guest, list(&entries[..8]), 8 * PAGE).unwrap();
    assert!(pages.identity().is_some());
}

#[test]
fn a_page_that_occurs_twice_is_the_same_page() {
    let (scene, guest) = (Scene::new(), guest());
    let ranges = [(LOW, PAGE), (HIGH, PAGE), (LOW, PAGE)];
    let buffer = publish(&scene, &guest, &ranges, 3 * PAGE);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let access = cpu.access(Direction::ReadWrite, NOW).unwrap();
    access.view().write_at(0, 0xabcd_u16).unwrap();
    assert_eq!(access.view().read_at::<u16>(8192).unwrap(), 0xabcd);
    assert_eq!(access.view().read_at::<u16>(4096).unwrap(), 0);
}

#[test]
fn only_the_buffers_bytes_are_shown_of_its_last_page() {
    let (scene, guest) = (Scene::new(), guest());
    let buffer = publish(&scene, &guest, &[(LOW, 2 * PAGE)], PAGE + 12);
    assert_eq!(scene.used()[0], PAGE + 12);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    let access = cpu.access(Direction::Read, NOW).unwrap();
    assert_eq!(access.view().len(), 4108);
    access.view().read_at::<u8>(4108).unwrap_err();
}

#[test]
fn what_can_not_be_a_buffer_is_the_guests_fault_and_is_said() {
    let guest = guest();
    let refused = |ranges: &[(u64, u64)], size, reason: &str| {
        let error = GuestPages::new(&guest, list(ranges), size).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("guest pages can't export this: {reason}")
        );
        assert_eq!(error.fault(), Fault::Asker);
    };
    let short = "0x2001 bytes do not fit the 0x2000 bytes of the backing list";
    refused(&[(LOW, 2 * PAGE)], 2 * PAGE + 1, short);
    refused(
        &[],
        1,
        "0x1 bytes do not fit the 0x0 bytes of the backing list",
    );
    refused(
        &[(LOW, PAGE)],
        0,
        "0x0 bytes do not fit the 0x1000 bytes of the backing list",
    );
    for (start, len) in [(LOW + 16, PAGE), (LOW, PAGE + 16), (LOW + 1, 1)] {
        let reason = format!("guest-physical {start:#x}+{len:#x} is not whole pages");
        refused(&[(start, len)], 1, &reason);
    }
    let top = u64::MAX - PAGE + 1 - PAGE;
    for (start, len) in [
        (0, PAGE),
        (LOW - PAGE, 2 * PAGE),
        (LOW + 15 * PAGE, 2 * PAGE),
        (HIGH + 8 * PAGE, PAGE),
        (top, PAGE),
    ] {
        let reason = format!("guest-physical {start:#x}+{len:#x} is not guest memory");
        refused(&[(LOW, PAGE), (start, len)], 1, &reason);
    }
}

/// Answers with one piece, whatever is asked.
struct OnePiece(u64);

impl GuestMemory for OnePiece {
    fn resolve(&self, _: Range<GuestPhysical>) -> Result<Vec<GuestPiece>, NotGuestMemory> {
        let file = landbridge_dmabuf::Memfd::create("piece", PAGE, Default::default()).unwrap();
        Ok(vec![GuestPiece {
            file: Arc::new(OwnedFd::from(file)),
            offset: 0,
            len: self.0,
        }])
    }
}

#[test]
fn a_memory_table_that_answers_too_much_or_too_little_is_refused() {
    for len in [0, PAGE, 3 * PAGE, u64::MAX] {
        let error = GuestPages::new(&OnePiece(len), list(&[(0, 2 * PAGE)]), 1).unwrap_err();
        assert!(error.to_string().ends_with("do not fill it"), "{error}");
    }
}

#[test]
fn a_file_that_is_shorter_than_it_was_told_fails_the_mapping_not_the_process() {
    let scene = Scene::new();
    let pages = GuestPages::new(&OnePiece(2 * PAGE), list(&[(0, 2 * PAGE)]), 1).unwrap();
    let buffer = scene.exchange.publish(pages, &scene.tenant).unwrap();
    let error = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap_err();
    assert!(matches!(error, Error::Memory(_)), "{error}");
    assert!(buffer.importers().is_empty());
}

#[test]
fn a_guests_pages_are_never_exclusive_nor_lent() {
    let (scene, guest) = (Scene::new(), guest());
    let buffer = publish(&scene, &guest, &[(LOW, PAGE)], PAGE);
    let error = DecoderImport::attach(&buffer, "decoder", &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "decoder can't use guest pages: exclusive access is not offered"
    );
    let error = scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "guest window can't use guest pages: descriptor access is not offered"
    );
}

/// Remembers what it was asked for.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<(u64, u64)>>);

impl Joiner for Asked {
    fn join(&self, files: RangeSlice<'_, File>) -> Result<Storage, landbridge_dmabuf::Error> {
        let asked = files
            .ranges()
            .map(|(range, _)| (range.start(), range.len()));
        *self.0.lock().unwrap() = asked.collect();
        FakeJoiner { most: 9 }.join(files)
    }
}

#[test]
fn pages_that_can_be_joined_are_one_buffer_with_a_descriptor() {
    let (scene, guest) = (Scene::new(), guest());
    // The last page is more than the buffer has.
    let ranges = list(&[(HIGH, 2 * PAGE), (LOW, 3 * PAGE), (HIGH + 3 * PAGE, PAGE)]);
    let joiner = Asked::default();
    let pages = GuestPages::new(&guest, ranges, 4 * PAGE).unwrap();
    let pages = pages.joined_by(&joiner);
    let pieces = [(0, 2 * PAGE), (0, 2 * PAGE)];
    assert_eq!(*joiner.0.lock().unwrap(), pieces);
    assert_eq!(
        (pages.name(), pages.note()),
        ("udmabuf of guest pages", None)
    );
    let identity = pages.identity();
    assert_eq!(identity, pages.storage().map(|storage| storage.identity()));
    let buffer = scene.exchange.publish(pages, &scene.tenant).unwrap();
    let map = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    drop(map);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let access = cpu.access(Direction::ReadWrite, NOW).unwrap();
    assert_eq!(access.view().len() as u64, 4 * PAGE);
}

#[test]
fn pages_that_can_not_be_joined_serve_as_they_are_and_say_why() {
    let (scene, guest) = (Scene::new(), guest());
    let ranges = [(LOW, PAGE), (HIGH, PAGE), (LOW + PAGE, PAGE)];
    let pages = GuestPages::new(&guest, list(&ranges), 3 * PAGE).unwrap();
    let pages = pages.joined_by(&FakeJoiner { most: 2 });
    assert_eq!(pages.name(), "guest pages");
    let note = pages.note().unwrap();
    assert!(
        note.starts_with("no dma-buf: ") && note.contains('3'),
        "{note}"
    );
    assert!(!pages.offer().descriptor && pages.storage().is_none());
    let buffer = scene.exchange.publish(pages, &scene.tenant).unwrap();
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    let access = cpu.access(Direction::ReadWrite, NOW).unwrap();
    access.view().write_at(8192, 7_u8).unwrap();
    let theirs = page(&guest, LOW + PAGE);
    assert_eq!(theirs.view().read_at::<u8>(0).unwrap(), 7);
    let pages = GuestPages::new(&guest, list(&ranges), PAGE + 1).unwrap();
    let pages = pages.joined_by(&FakeJoiner { most: 9 });
    assert_eq!(pages.note(), Some("no dma-buf: it is not whole pages"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any list of the guest's pages shows each page where the list has it.
    #[test]
    fn the_view_follows_the_list(
        runs in prop::collection::vec((0u64..16, 1u64..4, any::<bool>()), 1..12)
    ) {
        let (scene, guest) = (Scene::new(), guest());
        let ranges: Vec<_> = runs
            .into_iter()
            .map(|(first, count, high)| {
                let (base, pages) = if high { (HIGH, 8) } else { (LOW, 16) };
                let first = first % pages;
                (base + first * PAGE, count.min(pages - first) * PAGE)
            })
            .collect();
        let addresses: Vec<u64> = ranges
            .iter()
            .flat_map(|(start, len)| (0..len / PAGE).map(move |index| start + index * PAGE))
            .collect();
        for address in &addresses {
            page(&guest, *address).view().write_at(0, *address).unwrap();
        }
        let buffer = publish(&scene, &guest, &ranges, addresses.len() as u64 * PAGE);
        let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
        let access = cpu.access(Direction::Read, NOW).unwrap();
        for (index, address) in addresses.iter().enumerate() {
            prop_assert_eq!(access.view().read_at::<u64>(index * 4096).unwrap(), *address);
        }
    }

    /// Merging keeps every address in its place, and leaves no neighbours.
    #[test]
    fn merging_changes_no_address(
        entries in prop::collection::vec((0u64..8, 1u64..3), 0..24)
    ) {
        let merged = list(&entries);
        let addresses = |ranges: &mut dyn Iterator<Item = (u64, u64)>| {
            ranges
                .flat_map(|(start, len)| start..start + len)
                .collect::<Vec<_>>()
        };
        let after = merged.as_slice().iter().map(|range| (range.start(), range.len()));
        prop_assert_eq!(
            addresses(&mut entries.iter().copied()),
            addresses(&mut after.into_iter())
        );
        prop_assert!(
            merged.as_slice().windows(2).all(|pair| pair[0].end() != pair[1].start())
        );
    }
}
