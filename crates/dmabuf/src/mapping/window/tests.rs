use super::*;
use crate::mapping::Mapping;
use crate::memfd::{Memfd, Options};
use proptest::prelude::*;

const PAGES: usize = 16;

fn memory(pages: usize, mark: u8) -> Memfd {
    let size = pages as u64 * page_size();
    let memfd = Memfd::create("window test", size, Options::default()).unwrap();
    let mapping = Mapping::whole(&memfd, Access::ReadWrite).unwrap();
    mapping.view().fill(0, mapping.len(), mark).unwrap();
    memfd
}

fn page() -> usize {
    usize::try_from(page_size()).unwrap()
}

fn window() -> Window {
    Window::reserve(PAGES * page()).unwrap()
}

fn piece(memfd: &Memfd, pages: usize) -> Piece<'_> {
    Piece::new(memfd, 0, pages as u64 * page_size())
}

fn byte(window: &Window, at: usize) -> Result<u8> {
    window.with(at, 1, |view| view.read_at(0))?
}

#[test]
fn nothing_is_there_before_it_is_mapped_or_after() {
    let (window, memfd) = (window(), memory(2, 5));
    assert!(matches!(byte(&window, 0), Err(Error::Vacant { offset: 0 })));
    window
        .map(page(), &piece(&memfd, 2), Access::ReadWrite)
        .unwrap();
    assert_eq!(byte(&window, page()).unwrap(), 5);
    assert_eq!(byte(&window, 3 * page() - 1).unwrap(), 5);
    assert!(byte(&window, page() - 1).is_err());
    assert!(byte(&window, 3 * page()).is_err());
    assert_eq!(window.unmap(0, window.len()).unwrap(), 1);
    let gone = byte(&window, page());
    assert!(matches!(gone, Err(Error::Vacant { offset }) if offset == page()));
}

#[test]
fn an_access_may_span_neighbours_but_no_gap() {
    let (window, one, two) = (window(), memory(1, 1), memory(1, 2));
    window.map(0, &piece(&one, 1), Access::ReadWrite).unwrap();
    window
        .map(page(), &piece(&two, 1), Access::ReadOnly)
        .unwrap();
    let mut seen = [0; 4];
    window.copy_to(page() - 2, &mut seen).unwrap();
    assert_eq!(seen, [1, 1, 2, 2]);
    let denied = window.copy_from(page() - 2, &seen);
    assert!(matches!(denied, Err(Error::ReadOnly)));
    window.copy_from(0, &seen).unwrap();
    let gap = window.copy_to(2 * page() - 2, &mut seen);
    assert!(matches!(gap, Err(Error::Vacant { offset }) if offset == 2 * page()));
}

#[test]
fn a_piece_is_taken_away_whole_or_not_at_all() {
    let (window, memfd) = (window(), memory(4, 3));
    window
        .map(4 * page(), &piece(&memfd, 4), Access::ReadWrite)
        .unwrap();
    for (at, len) in [(5, 1), (4, 3), (5, 3), (0, 6), (6, 10)] {
        let refused = window.unmap(at * page(), len * page());
        assert!(matches!(refused, Err(Error::Occupied { .. })), "{at} {len}");
        let refused = window.blank(at * page(), len * page());
        assert!(matches!(refused, Err(Error::Occupied { .. })), "{at} {len}");
    }
    assert_eq!(window.unmap(8 * page(), 8 * page()).unwrap(), 0);
    assert_eq!(window.mapped(), [(4 * page(), 4 * page())]);
}

#[test]
fn what_is_blanked_reads_zero_and_reaches_nobody() {
    let (window, memfd) = (window(), memory(2, 9));
    window.map(0, &piece(&memfd, 2), Access::ReadWrite).unwrap();
    assert_eq!(window.blank(0, 2 * page()).unwrap(), 1);
    assert_eq!(byte(&window, page()).unwrap(), 0);
    window.copy_from(0, &[7; 16]).unwrap();
    let mapping = Mapping::whole(&memfd, Access::ReadOnly).unwrap();
    assert_eq!(mapping.view().read_at::<u8>(0).unwrap(), 9);
    assert_eq!(window.unmap(0, 2 * page()).unwrap(), 1);
    assert!(byte(&window, 0).is_err());
}

/// A socket's mmap fails only after the kernel has prepared the range.
#[test]
fn a_mapping_that_fails_leaves_the_reservation_whole() {
    let window = window();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let broken = Piece::new(&socket, 0, page_size()).trusting_owner();
    let failed = window.map(3 * page(), &broken, Access::ReadWrite);
    assert!(matches!(failed, Err(Error::Sys { .. })), "{failed:?}");
    assert!(window.mapped().is_empty());
    let first = window.region.as_ptr().addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let holds = maps.lines().any(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        hex(start) <= first && first + window.len() <= hex(end) && rest.contains(" ---p ")
    });
    assert!(holds, "the reservation has a hole:\n{maps}");
}

#[test]
fn bad_windows_and_bad_places_are_refused() {
    assert!(matches!(Window::reserve(0), Err(Error::Empty { .. })));
    assert!(matches!(
        Window::reserve(100),
        Err(Error::Misaligned { .. })
    ));
    let (window, memfd) = (window(), memory(2, 1));
    let map = |at| window.map(at, &piece(&memfd, 2), Access::ReadWrite);
    assert!(matches!(map(1), Err(Error::Misaligned { .. })));
    assert!(matches!(map(15 * page()), Err(Error::OutOfBounds { .. })));
    assert!(matches!(map(usize::MAX), Err(Error::OutOfBounds { .. })));
    assert_eq!(window.region.as_ptr().addr() % ALIGN, 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(usize, usize, u8),
    Unmap(usize, usize),
    Blank(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..PAGES + 2, 1usize..6);
    prop_oneof![
        3 => (place(), 1u8..255).prop_map(|((at, len), mark)| Step::Map(at, len, mark)),
        2 => place().prop_map(|(at, len)| Step::Unmap(at, len)),
        1 => place().prop_map(|(at, len)| Step::Blank(at, len)),
    ]
}

/// What a window should be: pieces with what they show.
#[derive(Default)]
struct Model(Vec<(usize, usize, u8)>);

impl Model {
    fn whole_within(&self, at: usize, len: usize) -> bool {
        let overlapping = self.0.iter().filter(|p| p.0 < at + len && at < p.0 + p.1);
        at + len <= PAGES && { overlapping }.all(|p| at <= p.0 && p.0 + p.1 <= at + len)
    }

    fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::Map(at, len, mark) => {
                let free = self.0.iter().all(|p| p.0 >= at + len || at >= p.0 + p.1);
                let possible = free && at + len <= PAGES;
                if possible {
                    self.0.push((at, len, mark));
                }
                possible
            }
            Step::Unmap(at, len) => {
                let possible = self.whole_within(at, len);
                self.0.retain(|p| !possible || p.0 < at || p.0 >= at + len);
                possible
            }
            Step::Blank(at, len) => {
                let possible = self.whole_within(at, len);
                for piece in &mut self.0 {
                    if possible && at <= piece.0 && piece.0 < at + len {
                        piece.2 = 0;
                    }
                }
                possible
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every page shows what the model says, or is vacant, after every step.
    #[test]
    fn windows_follow_their_model(steps in prop::collection::vec(step(), 1..30)) {
        let (window, mut model) = (window(), Model::default());
        for step in steps {
            let possible = model.apply(step);
            let done = match step {
                Step::Map(at, len, mark) => {
                    let memfd = memory(len, mark);
                    window.map(at * page(), &piece(&memfd, len), Access::ReadWrite)
                }
                Step::Unmap(at, len) => window.unmap(at * page(), len * page()).map(drop),
                Step::Blank(at, len) => window.blank(at * page(), len * page()).map(drop),
            };
            prop_assert_eq!(done.is_ok(), possible, "{:?}: {:?}", step, done);
            for at in 0..PAGES {
                let shown = model.0.iter().find(|p| p.0 <= at && at < p.0 + p.1).map(|p| p.2);
                prop_assert_eq!(byte(&window, at * page()).ok(), shown);
            }
        }
    }
}
