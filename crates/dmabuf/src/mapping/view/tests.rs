use super::*;
use crate::mapping::Mapping;
use crate::memfd::{Memfd, Options};
use crate::sys::page::page_size;
use proptest::prelude::*;

fn mapping() -> Mapping {
    let memfd = Memfd::create("view test", page_size(), Options::default()).unwrap();
    Mapping::whole(&memfd, Access::ReadWrite).unwrap()
}

#[test]
fn integers_keep_their_value_aligned_or_not() {
    let mapping = mapping();
    let view = mapping.view();
    for offset in 0..16 {
        view.write_at(offset, 0x0102_0304_0506_0708u64).unwrap();
        assert_eq!(view.read_at::<u64>(offset).unwrap(), 0x0102_0304_0506_0708);
        view.write_at(offset, -5i16).unwrap();
        assert_eq!(view.read_at::<i16>(offset).unwrap(), -5);
    }
}

#[test]
fn a_slice_is_bounded_by_itself_not_by_its_parent() {
    let mapping = mapping();
    let part = mapping.view().slice(8..12).unwrap();
    assert!(part.read_at::<u32>(0).is_ok());
    assert!(part.read_at::<u64>(0).is_err());
    assert!(part.read_at::<u8>(4).is_err());
    assert!(part.sub(4, 0).unwrap().is_empty());
    #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is the case")]
    let reversed = mapping.view().slice(12..8).unwrap();
    assert!(reversed.is_empty());
}

#[test]
fn a_read_only_view_of_a_writable_mapping_stays_read_only() {
    let mapping = mapping();
    let view = mapping.view().read_only().slice(0..8).unwrap();
    assert!(matches!(view.write_at(0, 1u8), Err(Error::ReadOnly)));
}

#[test]
fn the_last_row_needs_no_padding_behind_it() {
    let mapping = mapping();
    let view = mapping.view().slice(0..100).unwrap();
    assert_eq!(view.rows(10, 30, 30, 3).unwrap().len(), 3);
    assert_eq!(view.rows(25, 30, 15, 3).unwrap().count(), 3);
    assert!(view.rows(26, 30, 15, 3).is_err());
    assert!(view.rows(0, 10, 11, 1).is_err());
    assert_eq!(view.rows(100, 0, 0, 5).unwrap().count(), 5);
    assert_eq!(view.rows(100, 8, 8, 0).unwrap().count(), 0);
}

proptest! {
    /// Whatever is copied in comes out, and nothing beside it changes: the same
    /// as with an ordinary slice.
    #[test]
    fn views_behave_like_slices(
        steps in prop::collection::vec((0usize..80, 0usize..80, any::<u8>(), 0u8..3), 1..30)
    ) {
        let mapping = mapping();
        let view = mapping.view().slice(0..100).unwrap();
        let mut model = vec![0u8; 100];
        for (offset, len, byte, kind) in steps {
            let bytes: Vec<u8> = (0..len).map(|i| byte.wrapping_add(i as u8)).collect();
            let fits = offset + len <= 100;
            let done = match kind {
                0 => view.copy_from(offset, &bytes),
                1 => view.fill(offset, len, byte),
                _ => view.sub(100 - len, len).and_then(|from| view.copy_from_view(offset, from)),
            };
            prop_assert_eq!(done.is_ok(), fits);
            if fits {
                match kind {
                    0 => model[offset..offset + len].copy_from_slice(&bytes),
                    1 => model[offset..offset + len].fill(byte),
                    _ => model.copy_within(100 - len.., offset),
                }
            }
            let mut seen = vec![0; 100];
            view.copy_to(0, &mut seen).unwrap();
            prop_assert_eq!(&seen, &model);
        }
    }

    /// No offset or length, however large, gets past the end.
    #[test]
    fn nothing_reaches_past_the_end(offset in any::<usize>(), len in any::<usize>()) {
        let mapping = mapping();
        let view = mapping.view();
        let within = offset.checked_add(len).is_some_and(|end| end <= view.len());
        prop_assert_eq!(view.sub(offset, len).is_ok(), within);
        prop_assert_eq!(view.fill(offset, len, 1).is_ok(), within);
        let fits = offset.checked_add(8).is_some_and(|end| end <= view.len());
        prop_assert_eq!(view.read_at::<u64>(offset).is_ok(), fits);
    }

    /// Rows exist exactly when every byte of every row does.
    #[test]
    fn rows_are_within_or_refused(
        offset in prop_oneof![0usize..5000, any::<usize>()],
        stride in prop_oneof![0usize..300, any::<usize>()],
        width in 0usize..300,
        count in prop_oneof![0usize..40, any::<usize>()],
    ) {
        let mapping = mapping();
        let view = mapping.view();
        let wide = |n: usize| n as u128;
        let end = match count {
            0 => wide(offset),
            n => wide(offset) + (wide(n) - 1) * wide(stride) + wide(width),
        };
        let fits = end <= wide(view.len()) && width <= stride;
        let rows = view.rows(offset, stride, width, count);
        prop_assert_eq!(rows.is_ok(), fits);
        // Rows of no width may be very many.
        if let Ok(rows) = rows && count < 5000 {
            let start = view.start.addr();
            let starts: Vec<_> = rows.map(|row| (row.start.addr() - start, row.len())).collect();
            let expected: Vec<_> = (0..count).map(|n| (offset + n * stride, width)).collect();
            prop_assert_eq!(starts, expected);
        }
    }
}
