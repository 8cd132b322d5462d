//! What happens in a window while the VMM takes its time.

use std::sync::Arc;
use std::thread;

use landbridge_exchange::importers::window::fake::{Call, Mood};
use landbridge_exchange::importers::window::{MAX_MAPS, PAGE, Window, WindowError};
use landbridge_exchange::{Buffer, Error, Limits};

use crate::scene::{Scene, holders};

fn assert_overlap(scene: &Scene, buffer: &Buffer) {
    let error = scene.window.map(buffer, 0, &scene.tenant).unwrap_err();
    assert!(
        matches!(error, Error::Window(WindowError::Overlap { .. })),
        "{error}"
    );
}

#[test]
fn a_place_is_taken_while_the_vmm_is_asked() {
    let scene = Scene::new();
    let ((one, _), (other, _)) = (scene.buffer(1), scene.buffer(1));
    thread::scope(|scope| {
        let held = scene.mapper.hold_up();
        let mapping = scope.spawn(|| scene.window.map(&one, 0, &scene.tenant));
        scene.mapper.wait_for_calls(1);
        assert_overlap(&scene, &other);
        // No lock is held meanwhile: the rest of the window can be asked about.
        assert_eq!(scene.window.maps(), 1);
        drop(held);
        let mapping = mapping.join().unwrap().unwrap();

        let held = scene.mapper.hold_up();
        let unmapping = scope.spawn(|| mapping.unmap());
        scene.mapper.wait_for_calls(2);
        assert_overlap(&scene, &other);
        drop(held);
        unmapping.join().unwrap().unwrap();
    });
    scene.window.map(&other, 0, &scene.tenant).unwrap();
}

#[test]
fn a_map_that_is_overtaken_by_a_reset_is_undone_and_fails() {
    let scene = Scene::new();
    let ((one, storage), (other, _)) = (scene.buffer(1), scene.buffer(1));
    thread::scope(|scope| {
        let held = scene.mapper.hold_up();
        let mapping = scope.spawn(|| scene.window.map(&one, 0, &scene.tenant));
        scene.mapper.wait_for_calls(1);
        scene.window.reset();
        assert_overlap(&scene, &other);
        drop(held);
        let error = mapping.join().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the window was reset while 0x1000 bytes were mapped at 0x0"
        );
        assert!(error.may_pass());
    });
    let undone = Call::Unmap {
        offset: 0,
        len: PAGE,
    };
    assert_eq!(scene.mapper.calls()[1..], [undone]);
    assert_eq!(scene.mapper.mapped(), []);
    assert_eq!(storage.holders(), holders(0, 0, 0));
    scene.window.map(&other, 0, &scene.tenant).unwrap();
}

#[test]
fn an_unmap_that_is_overtaken_by_a_reset_hits_nobody_else() {
    for mood in [Mood::Obliging, Mood::Refusing, Mood::Vanished] {
        let scene = Scene::new();
        let ((one, _), (other, _)) = (scene.buffer(1), scene.buffer(1));
        let mapping = scene.window.map(&one, 0, &scene.tenant).unwrap();
        thread::scope(|scope| {
            let held = scene.mapper.hold_up();
            let unmapping = scope.spawn(|| mapping.unmap());
            scene.mapper.wait_for_calls(2);
            scene.mapper.drop_all();
            scene.window.reset();
            assert_overlap(&scene, &other);
            scene.mapper.set_mood(mood);
            drop(held);
            // The VMM had dropped it by itself, so it finds nothing to unmap.
            unmapping.join().unwrap().unwrap_err();
        });
        scene.mapper.set_mood(Mood::Obliging);
        let new = scene.window.map(&other, 0, &scene.tenant).unwrap();
        assert_eq!(scene.mapper.mapped(), [(0, PAGE)]);
        new.unmap().unwrap();
    }
}

/// Its message overtook the driver's end, and the VMM was done with its reset: what
/// the window has forgotten still lies in the guest, in the next driver's way.
#[test]
fn a_map_between_the_vmms_reset_and_ours_gives_way() {
    let scene = Scene::new();
    let ((one, storage), (other, _)) = (scene.buffer(2), scene.buffer(1));
    scene.mapper.drop_all();
    let late = scene.window.map(&one, 0, &scene.tenant).unwrap();
    scene.window.reset();
    assert_eq!(scene.mapper.mapped(), [(0, 2 * PAGE)]);
    let new = scene.window.map(&other, PAGE, &scene.tenant).unwrap();
    assert_eq!(scene.mapper.mapped(), [(PAGE, PAGE)]);
    // Nobody knows when the VMM let go of it.
    late.unmap().unwrap();
    assert_eq!(storage.holders(), holders(0, 1, 0));
    assert_eq!(scene.mapper.mapped(), [(PAGE, PAGE)]);
    new.unmap().unwrap();
}

#[test]
fn what_lingers_counts_towards_what_a_vmm_survives() {
    let scene = Scene::with_limits(Limits::NONE);
    let window = Window::new(Arc::clone(&scene.mapper) as Arc<_>, 600 * PAGE);
    let (buffer, _) = scene.buffer(1);
    let late = window.map(&buffer, 599 * PAGE, &scene.tenant).unwrap();
    window.reset();
    let maps: Vec<_> = (0..MAX_MAPS as u64)
        .map(|page| window.map(&buffer, page * PAGE, &scene.tenant).unwrap())
        .collect();
    assert_eq!(scene.mapper.mapped().len(), MAX_MAPS);
    drop((late, maps));
    assert_eq!(scene.mapper.mapped(), []);
}

#[test]
fn many_threads_share_a_window() {
    let scene = Scene::new();
    let buffers = [(); 4].map(|()| scene.buffer(1).0);
    thread::scope(|scope| {
        for (index, buffer) in buffers.iter().enumerate() {
            let scene = &scene;
            scope.spawn(move || {
                for round in 0..200 {
                    // Two neighbours fight for a place, and the VMM sees one.
                    let offset = ((index / 2 + round) % 3) as u64 * PAGE;
                    match scene.window.map(buffer, offset, &scene.tenant) {
                        Ok(mapping) => mapping.unmap().unwrap(),
                        Err(Error::Window(WindowError::Overlap { .. })) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(scene.window.maps(), 0);
    assert_eq!(scene.mapper.mapped(), []);
}
