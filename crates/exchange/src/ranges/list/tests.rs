//! Lists against a model: the address of every byte, one by one.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use landbridge_dmabuf::{Access, Memfd, memfd};
use proptest::prelude::*;

use super::*;
use crate::caching::{Caching, CachingSource, KnownCaching};
use crate::ranges::{
    Apertures, BadAperture, Bus, Contents, Device, File, GuestPhysical, Provider, SegmentLimits,
    Unfit, translate,
};

const CACHED: Contents = Contents::Shared {
    cpu: Some(KnownCaching {
        caching: Caching::WriteBack,
        source: CachingSource::Rule("the test says so"),
    }),
};

#[derive(Debug)]
enum Card {}

impl Device for Card {
    const NAME: &'static str = "card";
}

fn range<S: Space>(start: u64, len: u64) -> Range<S> {
    Range::new(start, len).unwrap()
}

fn notes(provider: Provider) -> Notes {
    Notes {
        provider,
        ..Notes::default()
    }
}

/// Each byte's address and provider.
type Bytes = Vec<(u64, Provider)>;

fn bytes<S: Space>(slice: RangeSlice<'_, S>) -> Bytes {
    slice
        .ranges()
        .flat_map(|(range, run)| {
            let provider = run.notes().provider;
            (range.start()..range.end()).map(move |at| (at, provider))
        })
        .collect()
}

/// A list and its bytes: few addresses, so that neighbours are common.
fn lists() -> impl Strategy<Value = (RangeList<GuestPhysical>, Bytes)> {
    let entry = (0u64..64, 1u64..9, any::<bool>());
    prop::collection::vec(entry, 0..40).prop_map(|entries| {
        let (mut list, mut model) = (RangeList::default(), Vec::new());
        for (start, len, guest) in entries {
            let provider = if guest {
                Provider::Guest
            } else {
                Provider::Unstated
            };
            list.begin_run(GuestPhysical, notes(provider));
            list.push(range(start, len)).unwrap();
            model.extend((start..start + len).map(|at| (at, provider)));
        }
        (list, model)
    })
}

proptest! {
    #[test]
    fn a_list_is_its_bytes_in_order((list, model) in lists()) {
        prop_assert_eq!(bytes(list.all()), &model[..]);
        prop_assert_eq!(list.size(), model.len() as u64);
        // As few ranges as can be: no neighbours in one run are left apart.
        let apart = list.all().ranges().zip(list.all().ranges().skip(1)).all(
            |((a, x), (b, y))| a.end() != b.start() || x.notes() != y.notes(),
        );
        prop_assert!(apart);
        prop_assert_eq!(list.all().ranges().count(), list.as_slice().len());
    }

    #[test]
    fn a_part_is_those_bytes(
        (list, model) in lists(), from in 0usize..400, len in 0usize..400, inner in 0usize..400
    ) {
        let found = list.slice(from as u64, len as u64);
        match model.get(from..from + len) {
            None => prop_assert!(found.is_none()),
            Some(part) => {
                let slice = found.unwrap();
                prop_assert_eq!(bytes(slice), part);
                let owned = slice.to_list();
                prop_assert_eq!(bytes(owned.all()), part);
                let rest = slice.slice(inner as u64, (len as u64).saturating_sub(inner as u64));
                match part.get(inner..) {
                    Some(end) => prop_assert_eq!(bytes(rest.unwrap()), end),
                    None => prop_assert!(rest.is_none_or(|rest| rest.size() == 0)),
                }
            }
        }
    }

    #[test]
    fn however_a_part_is_walked_its_ranges_are_the_same(
        (list, model) in lists(), from in 0usize..200, len in 0usize..200, one_by_one in 0usize..20
    ) {
        let from = from.min(model.len());
        let len = len.min(model.len() - from);
        let slice = list.slice(from as u64, len as u64).unwrap();
        let mut stepped = Vec::new();
        let mut walk = slice.ranges();
        let mut left = walk.len();
        while let Some((range, run)) = walk.next() {
            stepped.push((range, run.notes().provider));
            left -= 1;
            prop_assert_eq!(walk.len(), left);
        }
        prop_assert_eq!(left, 0);
        let mut walk = slice.ranges();
        let mut mixed: Vec<_> = walk.by_ref().take(one_by_one).collect();
        walk.for_each(|next| mixed.push(next));
        let mixed: Vec<_> =
            mixed.into_iter().map(|(range, run)| (range, run.notes().provider)).collect();
        prop_assert_eq!(mixed, stepped);
    }

    #[test]
    fn segments_are_the_same_bytes_within_the_limits(
        (list, model) in lists(), max in 1u64..20, boundary in 0u32..6
    ) {
        let boundary = 1 << boundary;
        let limits = SegmentLimits::NONE.max_segment(max).unwrap().boundary(boundary).unwrap();
        let mut seen = Vec::new();
        for segment in list.all().segments(limits) {
            let (segment, run) = segment.unwrap();
            prop_assert!(segment.len() <= max);
            prop_assert_eq!(segment.start() / boundary, (segment.end() - 1) / boundary);
            let provider = run.notes().provider;
            seen.extend((segment.start()..segment.end()).map(|at| (at, provider)));
        }
        prop_assert_eq!(seen, model);
    }

    #[test]
    fn what_a_device_can_not_take_is_said(
        (list, _) in lists(), shift in 0u32..4, width in 1u32..8, max in 8u64..40
    ) {
        let align = 1 << shift;
        let limits = SegmentLimits::NONE.max_segment(max).unwrap();
        let limits = limits.align(align).unwrap().width(width).unwrap();
        let fits = |range: &Range<GuestPhysical>| {
            (range.start() | range.len()).is_multiple_of(align) && range.end() <= 1 << width
        };
        let before = list.as_slice().iter().take_while(|range| fits(range));
        let before: u64 = before.map(Range::len).sum();
        let (mut taken, mut refused) = (0, None);
        for segment in list.all().segments(limits) {
            prop_assert!(refused.is_none(), "nothing follows a refusal");
            match segment {
                Ok((segment, _)) => {
                    prop_assert!(fits(&segment) && segment.len() <= max);
                    taken += segment.len();
                }
                Err(unfit) => refused = Some(unfit),
            }
        }
        prop_assert_eq!(taken, before);
        prop_assert_eq!(refused.is_some(), before < list.size());
    }

    #[test]
    fn a_device_sees_the_same_bytes_where_its_apertures_show_them(
        (list, model) in lists(), cuts in prop::collection::vec(1u64..30, 0..6)
    ) {
        // Apertures side by side from address 0 on, backwards on the bus.
        let mut apertures = Apertures::<_, Card>::new(Bus::of("one"), GuestPhysical);
        let (mut at, mut shown) = (0, Vec::new());
        for len in cuts {
            let bus = 100_000 - 100 * (at + len);
            apertures.add(range(at, len), bus).unwrap();
            shown.extend(bus..bus + len);
            at += len;
        }
        let want: Option<Vec<u64>> =
            model.iter().map(|(at, _)| shown.get(usize::try_from(*at).unwrap()).copied()).collect();
        let got = translate(list.all(), &apertures).ok();
        let got = got.map(|list| bytes(list.all()).into_iter().map(|(at, _)| at).collect());
        prop_assert_eq!(got, want);
    }
}

#[test]
fn neighbours_are_merged_in_order_only() {
    let mut list = RangeList::<GuestPhysical>::default();
    for (start, len) in [(0x1000, 0x1000), (0x2000, 0x1000), (0, 0x1000)] {
        list.push(range(start, len)).unwrap();
    }
    assert_eq!(list.as_slice(), [range(0x1000, 0x2000), range(0, 0x1000)]);
    assert_eq!(list.size(), 0x3000);
}

#[test]
fn a_list_longer_than_the_address_space_is_refused() {
    let mut list = RangeList::<GuestPhysical>::default();
    list.push(range(0, u64::MAX)).unwrap();
    assert!(list.push(range(7, 1)).is_err());
}

#[test]
fn a_long_list_is_entered_anywhere() {
    const LEN: u64 = 3;
    let mut list = RangeList::<GuestPhysical>::default();
    for index in 0..5_000 {
        list.push(range(index * 10, LEN)).unwrap();
    }
    for byte in [0, 1, 1_535, 1_536, 1_537, 7_777, 14_999] {
        let (first, _) = list.slice(byte, 1).unwrap().ranges().next().unwrap();
        assert_eq!(first.start(), byte / LEN * 10 + byte % LEN);
    }
    assert!(list.slice(15_000, 1).is_none());
    // 16 bytes a range, and a little.
    assert!(list.footprint() < 5_000 * 16 + 200);
}

#[test]
fn runs_without_ranges_leave_no_trace() {
    let mut list = RangeList::new(GuestPhysical, notes(Provider::Guest));
    list.push(range(0, 4)).unwrap();
    list.begin_run(GuestPhysical, notes(Provider::Device));
    list.begin_run(GuestPhysical, notes(Provider::Guest));
    list.push(range(4, 4)).unwrap();
    assert_eq!(list.as_slice(), [range(0, 8)]);
    assert_eq!(list.runs().len(), 1);
}

#[test]
fn limits_that_nothing_meets_are_refused() {
    let none = SegmentLimits::NONE;
    assert!(none.align(3).is_err());
    assert!(none.max_segment(0).is_err());
    assert!(none.align(8).unwrap().max_segment(7).is_err());
    assert!(none.boundary(12).is_err());
    assert!(none.align(8).unwrap().boundary(4).is_err());
    assert!(none.width(0).is_err() && none.width(65).is_err());
    assert_eq!(
        none.align(8).unwrap().max_segment(31).unwrap().longest(),
        24
    );
}

#[test]
fn refusals_name_the_range() {
    let mut list = RangeList::<GuestPhysical>::default();
    list.push(range(0xffff_f000, 0x2000)).unwrap();
    let limits = SegmentLimits::NONE.width(32).unwrap();
    let refused = list.all().segments(limits).next().unwrap();
    assert_eq!(
        refused.unwrap_err(),
        Unfit::TooHigh {
            start: 0xffff_f000,
            len: 0x2000,
            width: 32
        }
    );
}

#[test]
fn ranges_of_one_device_do_not_go_to_another_of_its_make() {
    let (one, other) = (Bus::<Card>::of("one"), Bus::<Card>::of("other"));
    let mut list = RangeList::new(one.clone(), Notes::default());
    list.push(range(0, 8)).unwrap();
    assert!(list.only(&one).is_ok());
    let wrong = list.only(&other).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the ranges belong to card one, not to card other"
    );
}

#[test]
fn apertures_do_not_overlap() {
    let mut apertures = Apertures::<_, Card>::new(Bus::of("one"), GuestPhysical);
    apertures.add(range(0x1000, 0x1000), 0).unwrap();
    for (start, len) in [(0x1fff, 1), (0, 0x1001), (0, 0x9000), (0x1800, 8)] {
        let refused = apertures.add(range(start, len), 0x8000);
        assert!(matches!(refused, Err(BadAperture::Overlaps { .. })));
    }
    let wraps = apertures.add(range(0x8000, 0x1000), u64::MAX - 5);
    assert!(matches!(wraps, Err(BadAperture::Range(_))));
    apertures.add(range(0x2000, 0x1000), 0x2000).unwrap();
}

fn file(pages: u64, byte: u8) -> File {
    let memfd = Memfd::create("ranges", pages * 4096, memfd::Options::default()).unwrap();
    let mapping = landbridge_dmabuf::Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    let len = mapping.len();
    mapping.view().fill(0, len, byte).unwrap();
    File::new(Arc::new(OwnedFd::from(memfd)))
}

fn files(contents: [Contents; 2]) -> RangeList<File> {
    let say = |contents| Notes {
        contents,
        ..Notes::default()
    };
    let mut list = RangeList::new(file(4, 1), say(contents[0]));
    list.push(range(4096, 4096)).unwrap();
    list.begin_run(file(2, 2), say(contents[1]));
    list.push(range(0, 8192)).unwrap();
    list
}

#[test]
fn a_cpu_and_a_window_see_every_file() {
    let list = files([CACHED, CACHED]);
    let cpu = list.slice(0, 8192).unwrap().cpu().unwrap();
    let view = cpu.map(Access::ReadOnly).unwrap();
    let read = |at| view.view().read_at::<u8>(at).unwrap();
    assert_eq!((view.len(), read(4095), read(4096)), (8192, 1, 2));
    let pieces: Vec<_> = list.all().cpu().unwrap().window(0x10_0000).collect();
    let placed = pieces
        .iter()
        .map(|piece| (piece.file_offset, piece.offset, piece.len));
    assert_eq!(
        placed.collect::<Vec<_>>(),
        [(4096, 0x10_0000, 4096), (0, 0x10_1000, 8192)]
    );
    assert!(pieces[0].file != pieces[1].file);
}

#[test]
fn what_says_nothing_of_a_cpu_gives_it_nothing() {
    let silent = Contents::Shared { cpu: None };
    for contents in [[CACHED, silent], [Contents::Private, CACHED]] {
        let list = files(contents);
        assert!(list.all().cpu().is_none());
        // A part that says so is still mapped.
        let parts = [list.slice(0, 4096), list.slice(4096, 8192)];
        let mapped = parts.map(|part| part.unwrap().cpu().is_some());
        assert_eq!(mapped, contents.map(|contents| contents == CACHED));
    }
}

#[test]
fn a_bus_says_nothing_of_a_cpu_mapping() {
    let say = Notes {
        contents: CACHED,
        snooped: true,
        ..Notes::default()
    };
    let mut list = RangeList::new(GuestPhysical, say);
    list.push(range(0, 4096)).unwrap();
    let mut apertures = Apertures::<_, Card>::new(Bus::of("one"), GuestPhysical);
    apertures.add(range(0, 4096), 0x8000_0000).unwrap();
    let bus = translate(list.all(), &apertures).unwrap();
    let notes = bus.runs()[0].notes();
    assert_eq!((notes.cpu(), notes.snooped), (None, true));
}
