//! What a guest finds in its window where memory was taken away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use landbridge_dmabuf::{Access, Mapping};
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::fake::{Call, HoldUp, Mood};
use landbridge_exchange::importers::window::{
    MapperError, PAGE, Unmapped, Window, WindowMap, WindowMapper,
};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Limits};

use crate::scene::{LONG, Scene, let_go};

const SIZE: u64 = 2 * PAGE;

/// Two pages that can be taken away and come back.
fn buffer(scene: &Scene) -> Buffer {
    let memory = HostMemory::allocate("zeroes", SIZE, Kind::Memfd).unwrap();
    let memory = memory.of_model(MemoryModel::Revocable { restorable: true });
    scene.exchange.publish(memory, &scene.tenant).unwrap()
}

fn bytes(scene: &Scene) -> u64 {
    scene.tenant.used(Resource::Bytes)
}

/// Takes a mapped buffer's memory away, and holds the VMM up when it is asked for
/// zero pages.
fn revoke_and_hold_zeroes<'a>(scene: &'a Scene, buffer: &Buffer) -> HoldUp<'a> {
    let held = scene.mapper.hold_up_after(1);
    buffer.revoke(LONG).unwrap();
    scene.mapper.wait_for_calls(3);
    held
}

/// Waits for something that another thread does.
fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("not in ten seconds: {what}");
}

/// A VMM that maps, as its guest sees it.
#[derive(Default)]
struct Guest(Mutex<BTreeMap<u64, Mapping>>);

impl Guest {
    fn read(&self, at: usize) -> Option<u8> {
        let maps = self.0.lock().unwrap();
        Some(maps.get(&0)?.view().read_at(at).unwrap())
    }

    fn write(&self, at: usize, byte: u8) {
        let maps = self.0.lock().unwrap();
        maps[&0].view().write_at(at, byte).unwrap();
    }
}

impl WindowMapper for Guest {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        let mapping = Mapping::new(&map.file, 0, map.len, Access::ReadWrite).unwrap();
        let before = self.0.lock().unwrap().insert(map.offset, mapping);
        assert!(before.is_none(), "a VMM refuses what overlaps");
        Ok(())
    }

    fn unmap(&self, offset: u64, _: u64) -> Result<Unmapped, MapperError> {
        let gone = self.0.lock().unwrap().remove(&offset);
        assert!(gone.is_some(), "a VMM refuses to unmap nothing");
        Ok(Unmapped::Proven(let_go()))
    }
}

#[test]
fn a_guest_reads_zeroes_and_writes_what_nobody_sees() {
    let scene = Scene::new();
    let guest = Arc::<Guest>::default();
    let window = Window::new(Arc::clone(&guest) as Arc<_>, 16 * PAGE);
    let buffer = buffer(&scene);
    let mapping = window.map(&buffer, 0, &scene.tenant).unwrap();
    guest.write(0, 0x5a);
    guest.write(4100, 0x5b);
    buffer.revoke(LONG).unwrap();
    until("zero pages", || guest.read(0).is_some());
    assert_eq!((guest.read(0), guest.read(4100)), (Some(0), Some(0)));
    assert!(!mapping.is_mapped());
    guest.write(0, 0x77);
    assert_eq!(guest.read(0), Some(0x77), "what it wrote");
    until("the map is settled", || bytes(&scene) == 2 * SIZE);

    buffer.restore(LONG).unwrap();
    assert!(mapping.is_mapped());
    assert_eq!((guest.read(0), guest.read(4100)), (Some(0x5a), Some(0x5b)));
    assert_eq!(bytes(&scene), SIZE);
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant).unwrap();
    let access = cpu.access(Direction::Read, LONG).unwrap();
    assert_eq!(access.view().read_at::<u8>(0).unwrap(), 0x5a);
    access.end().unwrap();

    buffer.revoke(LONG).unwrap();
    until("zero pages", || guest.read(0).is_some());
    assert_eq!(guest.read(0), Some(0), "and not what it wrote before");
    mapping.unmap().unwrap();
    assert_eq!(guest.read(0), None);
    assert_eq!(bytes(&scene), SIZE);
    assert_eq!(window.maps(), 0);
}

#[test]
fn memory_that_never_comes_back_leaves_zeroes_until_the_guest_unmaps_it() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.lose(LONG).unwrap();
    until("zero pages", || scene.mapper.mapped() == [(0, SIZE)]);
    assert_eq!(bytes(&scene), 2 * SIZE);
    mapping.unmap().unwrap();
    assert_eq!(scene.mapper.mapped(), []);
    assert_eq!(scene.window.maps(), 0);
}

#[test]
fn nobody_waits_for_zeroes_but_who_needs_the_place() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    let held = revoke_and_hold_zeroes(&scene, &buffer);
    thread::scope(|scope| {
        let restoring = scope.spawn(|| buffer.restore(LONG).unwrap());
        thread::sleep(Duration::from_millis(20));
        assert_eq!(scene.mapper.calls().len(), 3, "the VMM is asked one thing");
        drop(held);
        restoring.join().unwrap();
    });
    assert!(mapping.is_mapped());
    let calls = scene.mapper.calls();
    let unmap = Call::Unmap {
        offset: 0,
        len: SIZE,
    };
    assert_eq!(calls[1], unmap);
    assert_ne!(calls[2], calls[0], "other memory than the buffer's");
    assert_eq!(calls[3..], [unmap, calls[0]]);
    assert_eq!(scene.mapper.mapped(), [(0, SIZE)]);
}

#[test]
fn a_guest_that_unmaps_first_leaves_nothing_behind() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    let held = revoke_and_hold_zeroes(&scene, &buffer);
    thread::scope(|scope| {
        let unmapping = scope.spawn(|| mapping.unmap().unwrap());
        drop(held);
        unmapping.join().unwrap();
    });
    assert_eq!(scene.mapper.mapped(), []);
    assert_eq!((scene.window.maps(), bytes(&scene)), (0, SIZE));
}

#[test]
fn zeroes_that_a_reset_overtakes_are_undone() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    let held = revoke_and_hold_zeroes(&scene, &buffer);
    scene.mapper.drop_all();
    scene.window.reset();
    drop(held);
    until("undone", || scene.window.maps() == 0);
    assert_eq!(scene.mapper.mapped(), []);
    mapping.unmap().unwrap();
    buffer.restore(LONG).unwrap();
    assert_eq!(scene.mapper.mapped(), []);
}

/// A window that was reset has no zero pages to unmap any more.
#[test]
fn zeroes_go_with_a_reset() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    until("zero pages", || !scene.mapper.mapped().is_empty());
    scene.mapper.drop_all();
    scene.window.reset();
    mapping.unmap().unwrap();
    until("given back", || bytes(&scene) == SIZE);
    assert_eq!(scene.mapper.mapped(), []);
}

#[test]
fn without_zeroes_the_place_waits_empty() {
    let scene = Scene::with_limits(Limits {
        bytes: 2 * SIZE - 1,
        ..Limits::default()
    });
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    // Nobody is asked for what nobody pays for.
    thread::sleep(Duration::from_millis(20));
    assert_eq!(scene.mapper.calls().len(), 2);
    buffer.restore(LONG).unwrap();
    assert!(mapping.is_mapped());
}

#[test]
fn a_vmm_that_refuses_zeroes_gets_the_memory_back_all_the_same() {
    for mood in [Mood::Refusing, Mood::RefusingWithProof] {
        let scene = Scene::new();
        let buffer = buffer(&scene);
        let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
        let held = revoke_and_hold_zeroes(&scene, &buffer);
        scene.mapper.set_mood(mood);
        drop(held);
        until("refused", || bytes(&scene) == SIZE);
        scene.mapper.set_mood(Mood::Obliging);
        buffer.restore(LONG).unwrap();
        assert!(mapping.is_mapped());
        assert_eq!(scene.mapper.mapped(), [(0, SIZE)]);
    }
}

/// Memory that came back and could not be mapped waits for the next time, and
/// the guest finds zeros again.
#[test]
fn a_map_that_fails_when_the_memory_is_back_is_made_up_for() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    scene.mapper.wait_for_calls(3);
    // Unmaps the zero pages, and is refused the buffer.
    let held = scene.mapper.hold_up_after(1);
    thread::scope(|scope| {
        let restoring = scope.spawn(|| buffer.restore(LONG).unwrap());
        scene.mapper.wait_for_calls(5);
        scene.mapper.set_mood(Mood::RefusingWithProof);
        drop(held);
        restoring.join().unwrap();
    });
    assert!(!mapping.is_mapped());
    scene.mapper.set_mood(Mood::Obliging);
    buffer.revoke(LONG).unwrap();
    buffer.restore(LONG).unwrap();
    assert!(mapping.is_mapped());
}
