//! Memory of a buffer that nobody uses any more, for the next one: with its map
//! in a guest's window, without its bytes, and never under somebody's hands.

use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::importers::window::fake::Call;
use landbridge_exchange::terms::{Direction, MemoryModel};

use crate::revoke::{buffer, read, write};
use crate::scene::{NOW, Scene};

const RESTORABLE: MemoryModel = MemoryModel::Revocable { restorable: true };

fn maps(scene: &Scene) -> usize {
    let calls = scene.mapper.calls().into_iter();
    calls
        .filter(|call| matches!(call, Call::Map { .. }))
        .count()
}

#[test]
fn the_next_buffer_has_the_map_and_none_of_the_bytes() {
    let scene = Scene::new();
    let old = buffer(&scene, RESTORABLE);
    let cpu = CpuImport::attach(&old, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    write(&cpu, 7);
    drop(cpu);
    let mut mapping = scene.window.map(&old, PAGE, &scene.tenant).unwrap();
    let new = scene.exchange.renew(&old, &scene.tenant).unwrap().unwrap();
    assert!(mapping.hand_over(&new, &scene.tenant).unwrap());
    assert_ne!(new.id(), old.id());
    assert_eq!(new.identity(), old.identity());
    assert_eq!((old.importers().len(), new.importers().len()), (0, 1));
    assert_eq!(maps(&scene), 1);

    // It follows the new buffer's life, and not the old one's.
    old.revoke(NOW).unwrap();
    assert!(mapping.is_mapped());
    let zeroes = scene.mapper.hold_up_after(1);
    new.revoke(NOW).unwrap();
    assert!(!mapping.is_mapped() && scene.mapper.mapped().is_empty());
    drop(zeroes);
    new.restore(NOW).unwrap();
    assert!(mapping.is_mapped());
    mapping.unmap().unwrap();
    let cpu = CpuImport::attach(&new, "cpu", Direction::ReadWrite, &scene.tenant).unwrap();
    assert_eq!(read(&cpu), 0);
}

#[test]
fn memory_that_others_may_reach_is_not_renewed() {
    let scene = Scene::new();
    let renewed = |buffer| scene.exchange.renew(buffer, &scene.tenant).unwrap();
    let old = buffer(&scene, RESTORABLE);
    assert!(renewed(&old).is_none(), "nobody has it in a window");
    let mapping = scene.window.map(&old, 0, &scene.tenant).unwrap();
    let cpu = CpuImport::attach(&old, "cpu", Direction::Read, &scene.tenant).unwrap();
    assert!(renewed(&old).is_none(), "another importer");
    drop(cpu);
    let twice = scene.window.map(&old, 4 * PAGE, &scene.tenant).unwrap();
    assert!(renewed(&old).is_none(), "another map");
    twice.unmap().unwrap();
    assert!(renewed(&old).is_some());
    old.assign_uuid().unwrap();
    assert!(renewed(&old).is_none(), "another device may ask for it");
    drop(mapping);

    let away = buffer(&scene, RESTORABLE);
    let _mapping = scene.window.map(&away, 0, &scene.tenant).unwrap();
    away.revoke(NOW).unwrap();
    assert!(renewed(&away).is_none(), "it is away");
}

#[test]
fn only_what_is_mapped_and_the_same_memory_is_handed_over() {
    let scene = Scene::new();
    let old = buffer(&scene, RESTORABLE);
    let other = buffer(&scene, RESTORABLE);
    let mut mapping = scene.window.map(&old, 0, &scene.tenant).unwrap();
    assert!(!mapping.hand_over(&other, &scene.tenant).unwrap());
    assert!(mapping.is_mapped());
    let new = scene.exchange.renew(&old, &scene.tenant).unwrap().unwrap();
    old.revoke(NOW).unwrap();
    assert!(!mapping.hand_over(&new, &scene.tenant).unwrap());
    assert!(new.importers().is_empty());
    drop(new);
    old.restore(NOW).unwrap();
    assert!(mapping.is_mapped(), "it is still the old one's");
}
