//! Buffers by UUID.

use std::sync::Barrier;
use std::thread;

use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::registry::UuidError;
use landbridge_exchange::{Buffer, Error};
use uuid::Uuid;

use crate::scene::Scene;

const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);

fn buffer(scene: &Scene) -> Buffer {
    let exporter = FakeExporter::new(1, FakeExporter::EVERYTHING);
    scene.exchange.publish(exporter, &scene.tenant).unwrap()
}

#[test]
fn the_nil_uuid_is_nobodys() {
    let scene = Scene::new();
    let buffer = buffer(&scene);
    let error = buffer.register_uuid(Uuid::nil()).unwrap_err();
    assert_eq!(error, UuidError::Nil);
    assert_eq!(Error::from(error).fault(), Fault::Asker);
    assert_eq!(buffer.uuid(), None);
    assert!(scene.exchange.lookup(Uuid::nil()).is_none());
}

#[test]
fn a_uuid_has_one_buffer_and_a_buffer_one_uuid() {
    let scene = Scene::new();
    let (one, other) = (buffer(&scene), buffer(&scene));
    assert_eq!(one.register_uuid(FIRST), Ok(FIRST));
    assert_eq!(one.register_uuid(FIRST), Ok(FIRST));
    assert_eq!(one.assign_uuid(), Ok(FIRST));
    assert_eq!(other.register_uuid(FIRST), Err(UuidError::Taken(FIRST)));
    let assigned = UuidError::Assigned {
        has: FIRST,
        asked: SECOND,
    };
    assert_eq!(one.register_uuid(SECOND), Err(assigned));
    assert_eq!(other.register_uuid(SECOND), Ok(SECOND));
    assert_eq!(scene.exchange.registry().len(), 2);
    assert_eq!(scene.exchange.lookup(SECOND).unwrap().id(), other.id());
}

#[test]
fn assigned_uuids_differ_and_are_found() {
    let scene = Scene::new();
    let buffers = [(); 16].map(|()| buffer(&scene));
    for buffer in &buffers {
        let uuid = buffer.assign_uuid().unwrap();
        assert_eq!(scene.exchange.lookup(uuid).unwrap().id(), buffer.id());
        assert_eq!(buffer.clone().uuid(), Some(uuid));
    }
    assert_eq!(scene.exchange.registry().len(), 16);
}

#[test]
fn a_uuid_is_free_again_when_its_buffer_is_gone() {
    let scene = Scene::new();
    let one = buffer(&scene);
    one.register_uuid(FIRST).unwrap();
    let clone = one.clone();
    drop(one);
    assert!(scene.exchange.lookup(FIRST).is_some());
    drop(clone);
    assert!(scene.exchange.lookup(FIRST).is_none());
    assert!(scene.exchange.registry().is_empty());
    buffer(&scene).register_uuid(FIRST).unwrap();
}

#[test]
fn lookups_race_with_the_last_drop() {
    let scene = Scene::new();
    for _ in 0..300 {
        let buffer = buffer(&scene);
        let id = buffer.id();
        buffer.register_uuid(FIRST).unwrap();
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    while let Some(found) = scene.exchange.lookup(FIRST) {
                        assert_eq!(found.id(), id);
                        assert_eq!(found.uuid(), Some(FIRST));
                    }
                });
            }
            start.wait();
            drop(buffer);
        });
        assert!(scene.exchange.registry().is_empty());
    }
}

#[test]
fn a_successor_is_not_forgotten_with_its_predecessor() {
    let scene = Scene::new();
    for _ in 0..300 {
        let old = buffer(&scene);
        old.register_uuid(FIRST).unwrap();
        let new = buffer(&scene);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                drop(old);
            });
            start.wait();
            while new.register_uuid(FIRST).is_err() {
                thread::yield_now();
            }
        });
        assert_eq!(scene.exchange.lookup(FIRST).unwrap().id(), new.id());
    }
}

#[test]
fn of_many_who_want_a_uuid_at_once_one_gets_it() {
    let scene = Scene::new();
    for _ in 0..50 {
        let buffers = [(); 4].map(|()| buffer(&scene));
        let start = Barrier::new(4);
        let results = thread::scope(|scope| {
            let threads = buffers.each_ref().map(|buffer| {
                scope.spawn(|| {
                    start.wait();
                    buffer.register_uuid(FIRST)
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let winner = buffers
            .iter()
            .find(|buffer| buffer.uuid().is_some())
            .unwrap();
        assert_eq!(scene.exchange.lookup(FIRST).unwrap().id(), winner.id());
    }
}
