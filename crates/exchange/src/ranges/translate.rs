//! The same bytes in another space.

use std::collections::BTreeMap;

use crate::ranges::{BadRange, Bus, Device, Range, RangeList, RangeSlice, Space};

/// Addresses of a range that the other space does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{to} does not reach {len:#x} bytes of {from} at {start:#x}")]
pub struct Unreachable {
    /// Where the address is from.
    pub from: &'static str,
    /// Who can't reach it.
    pub to: &'static str,
    /// The first address that can't be reached.
    pub start: u64,
    /// How many bytes of the range are left from there on.
    pub len: u64,
}

/// What a device's bus, or its IOMMU, shows of the space `S`, and where.
#[derive(Debug, Clone)]
pub struct Apertures<S: Space, D: Device> {
    bus: Bus<D>,
    space: S,
    /// By their starts in `S`: length, and the start on the bus. Disjoint.
    table: BTreeMap<u64, (u64, u64)>,
}

/// An aperture that can't be: another one shows some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAperture {
    /// It has no bytes or wraps, in one space or the other.
    #[error(transparent)]
    Range(#[from] BadRange),
    /// Some of it is shown already.
    #[error("{len:#x} bytes at {start:#x} overlap an aperture")]
    Overlaps {
        /// Where it was to start.
        start: u64,
        /// How long it was to be.
        len: u64,
    },
}

impl<S: Space, D: Device> Apertures<S, D> {
    /// A bus that shows nothing of `space`.
    pub fn new(bus: Bus<D>, space: S) -> Self {
        Self {
            bus,
            space,
            table: BTreeMap::new(),
        }
    }

    /// From now on the bus shows `range` at `at`.
    pub fn add(&mut self, range: Range<S>, at: u64) -> Result<(), BadAperture> {
        Range::<Bus<D>>::new(at, range.len())?;
        let before = self.table.range(..range.end()).next_back();
        if before.is_some_and(|(start, (len, _))| start + len > range.start()) {
            return Err(BadAperture::Overlaps {
                start: range.start(),
                len: range.len(),
            });
        }
        self.table.insert(range.start(), (range.len(), at));
        Ok(())
    }

    /// Where the bus shows the beginning of `range`, and how much of it.
    fn show(&self, range: Range<S>) -> Result<Range<Bus<D>>, Unreachable> {
        let below = self.table.range(..=range.start()).next_back();
        let shown = below.and_then(|(start, (len, at))| {
            let into = range.start() - start;
            let left = len.checked_sub(into).filter(|left| *left > 0)?;
            Some(Range::within(at + into, left.min(range.len())))
        });
        shown.ok_or(Unreachable {
            from: S::NAME,
            to: D::NAME,
            start: range.start(),
            len: range.len(),
        })
    }
}

/// The addresses at which a device finds the bytes of `slice`: ranges that its
/// apertures cut are several, neighbours on its bus are one. What is said of
/// them stays, but for their CPU mapping.
pub fn translate<S: Space, D: Device>(
    slice: RangeSlice<'_, S>,
    apertures: &Apertures<S, D>,
) -> Result<RangeList<Bus<D>>, Unreachable> {
    let mut list: Option<RangeList<Bus<D>>> = None;
    for (range, run) in slice.ranges() {
        let refuse = |start, len| Unreachable {
            from: S::NAME,
            to: D::NAME,
            start,
            len,
        };
        if *run.space() != apertures.space {
            return Err(refuse(range.start(), range.len()));
        }
        let notes = run.notes().on_a_bus();
        let list = list.get_or_insert_with(|| RangeList::new(apertures.bus.clone(), notes));
        list.begin_run(apertures.bus.clone(), notes);
        let mut left = Some(range);
        while let Some(range) = left {
            let shown = apertures.show(range)?;
            // The total is that of the slice, which fits.
            list.push(shown)
                .map_err(|_| refuse(range.start(), range.len()))?;
            let rest = range.len() - shown.len();
            left = (rest > 0).then(|| Range::within(range.start() + shown.len(), rest));
        }
    }
    Ok(list
        .unwrap_or_else(|| RangeList::new(apertures.bus.clone(), crate::ranges::Notes::default())))
}
