//! Limits on everything, and nothing charged for what failed.

use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::fake::Mood;
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel, Offer};
use landbridge_exchange::{Error, Exchange, Limits, Tenant};

use crate::scene::Scene;

const OFFER: Offer = FakeExporter::EVERYTHING;

fn over(error: &Error) -> (Resource, u64, u64, u64) {
    assert_eq!(error.fault(), Fault::Asker);
    match error {
        Error::OverLimit(over) => (over.resource, over.asked, over.used, over.limit),
        other => panic!("{other}"),
    }
}

#[test]
fn publishing_charges_a_buffer_and_its_pinned_bytes() {
    let limits = Limits {
        pinned_bytes: 8192,
        buffers: 2,
        ..Limits::NONE
    };
    let scene = Scene::with_limits(limits);
    let publish = |size| {
        let exporter = FakeExporter::new(size, OFFER);
        scene.exchange.publish(exporter, &scene.tenant)
    };
    let first = publish(4096).unwrap();
    let error = publish(4097).unwrap_err();
    assert_eq!(over(&error), (Resource::PinnedBytes, 4097, 4096, 8192));
    assert_eq!(scene.used(), [4096, 1, 0, 0]);
    let _second = publish(4096).unwrap();
    let error = publish(1).unwrap_err();
    assert_eq!(over(&error), (Resource::Buffers, 1, 2, 2));
    assert_eq!(scene.used(), [8192, 2, 0, 0]);
    drop(first);
    assert_eq!(scene.used(), [4096, 1, 0, 0]);
    assert_eq!(scene.exchange.buffers().len(), 1);
}

#[test]
fn memory_that_is_not_pinned_costs_no_pinned_bytes() {
    let scene = Scene::with_limits(Limits::NONE);
    let offer = Offer {
        model: MemoryModel::Movable { pinnable: true },
        ..OFFER
    };
    let exporter = FakeExporter::new(u64::MAX, offer);
    let _buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    assert_eq!(scene.used(), [0, 1, 0, 0]);
}

#[test]
fn attachments_are_limited_and_refused_ones_are_free() {
    let limits = Limits {
        attachments: 1,
        ..Limits::NONE
    };
    let scene = Scene::with_limits(limits);
    let (buffer, storage) = scene.buffer(1);
    let attach = || CpuImport::attach(&buffer, "cpu", Direction::Read, &scene.tenant);
    let one = attach().unwrap();
    let error = attach().unwrap_err();
    assert_eq!(over(&error), (Resource::Attachments, 1, 1, 1));
    assert_eq!(buffer.importers().len(), 1);
    drop(one);
    assert_eq!(scene.used(), [4096, 1, 0, 0]);

    let read_only = Offer {
        writable: false,
        ..OFFER
    };
    let exporter = FakeExporter::with_storage(storage, read_only);
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    CpuImport::attach(&buffer, "cpu", Direction::Write, &scene.tenant).unwrap_err();
    assert_eq!(scene.used(), [8192, 2, 0, 0]);
    assert!(buffer.importers().is_empty());
}

#[test]
fn window_maps_are_limited_and_failed_ones_are_free() {
    let limits = Limits {
        window_maps: 1,
        ..Limits::NONE
    };
    let scene = Scene::with_limits(limits);
    let (buffer, storage) = scene.buffer(2);
    let free = [8192, 1, 0, 0];
    for offset in [1, 4096 * 15, u64::MAX - 4095] {
        scene
            .window
            .map(&buffer, offset, &scene.tenant)
            .unwrap_err();
        assert_eq!(scene.used(), free);
    }
    for mood in [Mood::Refusing, Mood::RefusingWithProof] {
        scene.mapper.set_mood(mood);
        scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
        assert_eq!(scene.used(), free);
        assert!(buffer.importers().is_empty());
    }
    scene.mapper.set_mood(Mood::Obliging);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    assert_eq!(scene.used(), [8192, 1, 1, 1]);
    let error = scene.window.map(&buffer, 8192, &scene.tenant).unwrap_err();
    assert_eq!(over(&error), (Resource::WindowMaps, 1, 1, 1));
    assert_eq!(scene.used(), [8192, 1, 1, 1]);
    mapping.unmap().unwrap();
    assert_eq!(scene.used(), free);
    assert_eq!(storage.holders().loans, 0);
}

#[test]
fn what_a_vmm_kept_stays_charged_until_the_window_is_reset() {
    for mood in [Mood::Refusing, Mood::Vanished] {
        let scene = Scene::new();
        let (buffer, _) = scene.buffer(1);
        let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
        scene.mapper.set_mood(mood);
        drop((mapping, buffer));
        assert_eq!(scene.used(), [4096, 1, 0, 1], "{mood:?}");
        assert_eq!(scene.exchange.buffers().len(), 1);
        scene.window.reset();
        assert_eq!(scene.used(), [0; 4]);
        assert!(scene.exchange.buffers().is_empty());
    }
}

#[test]
fn every_resource_has_a_limit_of_its_own() {
    let limits = Limits {
        pinned_bytes: 1,
        buffers: 2,
        attachments: 3,
        window_maps: 4,
        bytes: 5,
        mappings: 6,
    };
    let tenant = Tenant::new("guest", limits);
    for (resource, limit) in Resource::ALL.into_iter().zip(1..) {
        let _all = tenant.charge(resource, limit).unwrap();
        let error = tenant.charge(resource, 1).unwrap_err();
        assert_eq!((error.resource, error.limit), (resource, limit));
    }
    assert!(
        Resource::ALL
            .iter()
            .all(|resource| tenant.used(*resource) == 0)
    );
}

#[test]
fn the_defaults_are_below_what_a_vmm_survives() {
    let default = Limits::default();
    assert!(default.window_maps < 511);
    assert!(default.pinned_bytes < u64::MAX && default.buffers < u64::MAX);
}

#[test]
fn one_who_asks_too_much_never_takes_from_its_siblings() {
    let limits = |pinned_bytes| Limits {
        pinned_bytes,
        ..Limits::NONE
    };
    let host = Tenant::new("host", limits(10));
    let greedy = host.child("greedy", limits(1));
    let modest = host.child("modest", limits(10));
    std::thread::scope(|scope| {
        let modest = scope.spawn(|| {
            for _ in 0..20_000 {
                modest.charge(Resource::PinnedBytes, 10).unwrap();
            }
        });
        while !modest.is_finished() {
            let error = greedy.charge(Resource::PinnedBytes, 10).unwrap_err();
            assert_eq!(error.tenant, "greedy");
        }
    });
    assert_eq!(host.used(Resource::PinnedBytes), 0);
}

#[test]
fn parents_pay_for_their_childrens_buffers() {
    let exchange = Exchange::new();
    let host = Tenant::new("host", Limits::NONE);
    let guests = [host.child("a", Limits::NONE), host.child("b", Limits::NONE)];
    let buffers = guests.each_ref().map(|guest| {
        exchange
            .publish(FakeExporter::new(5, OFFER), guest)
            .unwrap()
    });
    assert_eq!(host.used(Resource::PinnedBytes), 10);
    assert_eq!(host.used(Resource::Buffers), 2);
    drop(buffers);
    assert_eq!(host.used(Resource::PinnedBytes), 0);
}
