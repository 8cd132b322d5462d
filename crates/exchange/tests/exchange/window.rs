//! A guest's window against a naive model of it.

use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::window::fake::{Call, Mood};
use landbridge_exchange::importers::window::{
    MAX_MAPS, MapperError, PAGE, Window, WindowError, WindowMapping,
};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::Offer;
use landbridge_exchange::{Error, Limits};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::scene::{Scene, WINDOW, holders};

fn window_error(error: Error) -> WindowError {
    match error {
        Error::Window(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn the_vmm_is_asked_for_exactly_what_the_guest_gets() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(2);
    let mapping = scene.window.map(&buffer, PAGE, &scene.tenant).unwrap();
    assert_eq!(storage.holders(), holders(1, 0, 0));
    mapping.unmap().unwrap();
    assert_eq!(storage.holders(), holders(0, 0, 0));
    let (offset, len) = (PAGE, 2 * PAGE);
    let file = Some(storage.identity());
    let map = Call::Map { file, offset, len };
    assert_eq!(scene.mapper.calls(), [map, Call::Unmap { offset, len }]);
}

#[test]
fn an_unmap_without_proof_frees_the_place_and_leaves_the_memory_shared() {
    let scene = Scene::new();
    let (buffer, storage) = scene.buffer(2);
    let mapping = scene.window.map(&buffer, PAGE, &scene.tenant).unwrap();
    scene.mapper.set_mood(Mood::ObligingWithoutProof);
    mapping.unmap().unwrap();
    assert_eq!(scene.window.maps(), 0);
    assert_eq!(storage.holders(), holders(0, 1, 0));
    let again = scene.window.map(&buffer, PAGE, &scene.tenant).unwrap();
    again.unmap().unwrap();
}

#[test]
fn what_would_harm_a_vmm_never_reaches_it() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(2);
    let _there = scene.window.map(&buffer, 4 * PAGE, &scene.tenant).unwrap();
    let refused = |offset| {
        let error = scene
            .window
            .map(&buffer, offset, &scene.tenant)
            .unwrap_err();
        assert_eq!(error.fault(), Fault::Asker);
        window_error(error).to_string()
    };
    assert_eq!(
        refused(12),
        "window offset 0xc or size 0x2000 is not a multiple of 4096"
    );
    for offset in [WINDOW - PAGE, WINDOW, u64::MAX - PAGE + 1] {
        assert_eq!(
            refused(offset),
            format!("0x2000 bytes at {offset:#x} leave the window of 0x10000 bytes")
        );
    }
    for offset in [3 * PAGE, 4 * PAGE, 5 * PAGE] {
        assert_eq!(
            refused(offset),
            format!("0x2000 bytes at {offset:#x} overlap what is mapped at 0x4000")
        );
    }
    assert_eq!(scene.mapper.calls().len(), 1);
}

#[test]
fn a_buffer_that_is_not_whole_pages_has_no_place() {
    let scene = Scene::new();
    for size in [1, PAGE - 1, PAGE + 1] {
        let exporter = FakeExporter::new(size, FakeExporter::EVERYTHING);
        let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
        let error = scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
        assert!(matches!(
            window_error(error),
            WindowError::Misaligned { .. }
        ));
    }
}

#[test]
fn a_caching_that_nobody_knows_is_never_guessed() {
    let scene = Scene::new();
    let offer = Offer {
        caching: None,
        ..FakeExporter::EVERYTHING
    };
    let exporter = FakeExporter::new(PAGE, offer);
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    let error = scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
    assert_eq!(
        error.to_string(),
        "guest window can't use fake: the caching is not known"
    );
}

#[test]
fn there_are_never_more_maps_than_a_vmm_survives() {
    let scene = Scene::with_limits(Limits::NONE);
    let (buffer, _) = scene.buffer(1);
    let mapper = std::sync::Arc::clone(&scene.mapper);
    let window = Window::new(mapper, 1 << 40);
    let map = |index: usize| window.map(&buffer, index as u64 * PAGE, &scene.tenant);
    let mut maps: Vec<_> = (0..MAX_MAPS).map(|index| map(index).unwrap()).collect();
    let error = window_error(map(MAX_MAPS).unwrap_err());
    assert!(matches!(error, WindowError::TooMany));
    assert_eq!(scene.mapper.mapped().len(), MAX_MAPS);
    maps.pop();
    map(MAX_MAPS).unwrap();
}

#[test]
fn a_failure_of_the_vmm_is_the_hosts_and_its_proof_stays_inside() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    for (mood, words) in [
        (Mood::Refusing, "the VMM refused to map"),
        (Mood::RefusingWithProof, "the VMM refused to map"),
        (
            Mood::Vanished,
            "the VMM can't be reached to map: the fake has vanished",
        ),
    ] {
        scene.mapper.set_mood(mood);
        let error = scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
        assert_eq!(error.fault(), Fault::Host);
        assert_eq!(error.to_string(), words);
        let inner = window_error(error);
        let proof = matches!(inner, WindowError::Mapper(MapperError::HoldsNothing { .. }));
        assert!(!proof);
    }
}

#[test]
fn a_mapping_of_an_earlier_life_is_not_unmapped() {
    let scene = Scene::new();
    let (buffer, _) = scene.buffer(1);
    let old = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    scene.mapper.drop_all();
    scene.window.reset();
    let new = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    drop(old);
    assert_eq!(scene.mapper.mapped(), [(0, PAGE)]);
    assert_eq!(scene.window.maps(), 1);
    new.unmap().unwrap();
    assert_eq!(scene.mapper.mapped(), []);
}

#[derive(Debug, Clone)]
enum Step {
    Map {
        offset: u64,
        buffer: usize,
        mood: Mood,
    },
    Unmap {
        which: Index,
        mood: Mood,
    },
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mood = || {
        prop_oneof![
            6 => Just(Mood::Obliging),
            1 => select(
                &[
                    Mood::ObligingWithoutProof,
                    Mood::Refusing,
                    Mood::RefusingWithProof,
                    Mood::Vanished,
                ][..]
            ),
        ]
    };
    let offset = prop_oneof![
        8 => (0..18u64).prop_map(|page| page * PAGE),
        1 => any::<u64>(),
    ];
    let map = (offset, 0..3usize, mood()).prop_map(|(offset, buffer, mood)| Step::Map {
        offset,
        buffer,
        mood,
    });
    let unmap = (any::<Index>(), mood()).prop_map(|(which, mood)| Step::Unmap { which, mood });
    let step = prop_oneof![6 => map, 4 => unmap, 1 => Just(Step::Reset)];
    prop::collection::vec(step, 0..40)
}

/// Page by page who has it, and nothing clever.
#[derive(Default)]
struct Model {
    pages: [Option<usize>; 16],
    maps: usize,
    life: usize,
    loans: [(u32, u32); 3],
}

impl Model {
    fn has_place(&self, offset: u64, len: u64) -> bool {
        offset.is_multiple_of(PAGE)
            && offset <= WINDOW
            && len <= WINDOW - offset
            && self.pages(offset, len).iter().all(Option::is_none)
    }

    fn pages(&self, offset: u64, len: u64) -> &[Option<usize>] {
        &self.pages[(offset / PAGE) as usize..][..(len / PAGE) as usize]
    }

    fn set(&mut self, offset: u64, len: u64, owner: Option<usize>) {
        self.pages[(offset / PAGE) as usize..][..(len / PAGE) as usize].fill(owner);
        if owner.is_some() {
            self.maps += 1;
        } else {
            self.maps -= 1;
        }
    }
}

struct Live {
    mapping: WindowMapping,
    buffer: usize,
    offset: u64,
    life: usize,
}

proptest! {
    #[test]
    fn the_book_agrees_with_a_naive_model(steps in steps()) {
        let scene = Scene::new();
        let buffers = [1, 2, 3].map(|pages| scene.buffer(pages));
        let mut model = Model::default();
        let mut live: Vec<Live> = Vec::new();
        for step in steps {
            match step {
                Step::Map { offset, buffer, mood } => {
                    scene.mapper.set_mood(mood);
                    let len = buffers[buffer].0.size();
                    let place = model.has_place(offset, len);
                    let asked = scene.mapper.calls().len();
                    let result = scene.window.map(&buffers[buffer].0, offset, &scene.tenant);
                    prop_assert_eq!(scene.mapper.calls().len() > asked, place);
                    let obliging = matches!(mood, Mood::Obliging | Mood::ObligingWithoutProof);
                    prop_assert_eq!(result.is_ok(), place && obliging);
                    let (loans, lost) = &mut model.loans[buffer];
                    match mood {
                        _ if !place => {}
                        Mood::Obliging | Mood::ObligingWithoutProof => *loans += 1,
                        Mood::RefusingWithProof => {}
                        Mood::Refusing | Mood::Vanished | Mood::Dead => *lost += 1,
                    }
                    if place && (obliging || mood == Mood::Vanished) {
                        model.set(offset, len, Some(buffer));
                    }
                    if let Ok(mapping) = result {
                        let life = model.life;
                        live.push(Live { mapping, buffer, offset, life });
                    }
                }
                Step::Unmap { which, mood } if !live.is_empty() => {
                    scene.mapper.set_mood(mood);
                    let Live { mapping, buffer, offset, life } =
                        live.swap_remove(which.index(live.len()));
                    let stale = life != model.life;
                    let result = mapping.unmap();
                    let obliging = matches!(mood, Mood::Obliging | Mood::ObligingWithoutProof);
                    prop_assert_eq!(result.is_ok(), stale || obliging);
                    let proof = matches!(mood, Mood::Obliging | Mood::RefusingWithProof);
                    let (loans, lost) = &mut model.loans[buffer];
                    *loans -= 1;
                    if stale || !proof {
                        *lost += 1;
                    }
                    if !stale && (proof || obliging) {
                        model.set(offset, buffers[buffer].0.size(), None);
                    }
                }
                Step::Unmap { .. } => {}
                Step::Reset => {
                    scene.mapper.drop_all();
                    scene.window.reset();
                    model.pages = Default::default();
                    model.maps = 0;
                    model.life += 1;
                }
            }
            for (at, len) in scene.mapper.mapped() {
                prop_assert!(model.pages(at, len).iter().all(Option::is_some));
            }
            prop_assert_eq!(scene.window.maps(), model.maps);
            prop_assert_eq!(scene.tenant.used(Resource::WindowMaps), model.maps as u64);
            prop_assert_eq!(scene.tenant.used(Resource::Attachments), live.len() as u64);
            for ((_, storage), (loans, lost)) in buffers.iter().zip(model.loans) {
                prop_assert_eq!(storage.holders(), holders(loans, lost, 0));
            }
        }
    }
}
