//! One memory, one caching: whoever comes second with another is refused.

use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Memfd, Storage};
use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::fake::FakeImporter;
use landbridge_exchange::terms::{CachingNeed, Direction, Method, Needs, Offer, Unmet};
use landbridge_exchange::{Caching, CachingSource, Error, Evidence, KnownCaching};

use crate::scene::Scene;

const CACHINGS: [Caching; 3] = [
    Caching::WriteBack,
    Caching::WriteCombining,
    Caching::Uncached,
];

fn storage() -> Storage {
    let memfd = Memfd::create("aliased", 8192, Options::default()).unwrap();
    Storage::from_memfd(memfd).unwrap()
}

fn offer(caching: Option<Caching>) -> Offer {
    Offer {
        caching: caching.map(|caching| KnownCaching {
            caching,
            source: CachingSource::Kernel(Evidence::PageTable),
        }),
        ..FakeExporter::EVERYTHING
    }
}

#[test]
fn a_second_buffer_of_the_same_memory_is_cached_the_same() {
    let scene = Scene::new();
    let storage = storage();
    let publish = |caching| {
        let exporter = FakeExporter::with_storage(storage.clone(), offer(caching));
        scene.exchange.publish(exporter, &scene.tenant)
    };
    for first in CACHINGS {
        let held = publish(Some(first)).unwrap();
        for second in CACHINGS {
            let before = scene.used();
            match publish(Some(second)) {
                Ok(_) => assert_eq!(first, second),
                Err(error) => {
                    assert_ne!(first, second);
                    assert!(matches!(error, Error::TwoCachings { .. }), "{error}");
                    assert_eq!((error.fault(), error.may_pass()), (Fault::Asker, false));
                    assert_eq!(scene.used(), before, "nothing is charged");
                }
            }
        }
        let other = publish(Some(first)).unwrap();
        drop(held);
        let third = CACHINGS.into_iter().find(|it| *it != first);
        assert!(publish(third).is_err(), "somebody still has it");
        drop(other);
    }
}

#[test]
fn the_same_memory_is_found_by_its_identity() {
    let scene = Scene::new();
    let storage = storage();
    assert!(scene.exchange.find(storage.identity()).is_none());
    let exporter = FakeExporter::with_storage(storage.clone(), offer(None));
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    let found = scene.exchange.find(storage.identity()).unwrap();
    assert_eq!(found.id(), buffer.id());
    drop((found, buffer));
    assert!(scene.exchange.find(storage.identity()).is_none());
}

#[test]
fn an_importer_that_needs_another_caching_is_refused() {
    let scene = Scene::new();
    for offered in CACHINGS {
        let exporter = FakeExporter::with_storage(storage(), offer(Some(offered)));
        let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
        for needed in CACHINGS {
            let importer = FakeImporter::new(
                "exact",
                Needs {
                    caching: CachingNeed::Exactly(needed),
                    ..Needs::new(Method::Cpu, Direction::Read)
                },
            );
            match buffer.attach(&importer, &scene.tenant) {
                Ok(attached) => {
                    let agreed = attached.terms().caching().unwrap();
                    assert_eq!((agreed.caching, needed), (offered, offered));
                }
                Err(Error::Refused(refusal)) => {
                    assert_ne!(offered, needed);
                    assert!(matches!(refusal.unmet[..], [Unmet::Caching { .. }]));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn memory_whose_caching_nobody_knows_is_in_no_window() {
    let scene = Scene::new();
    let exporter = FakeExporter::with_storage(storage(), offer(None));
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    let error = scene.window.map(&buffer, 0, &scene.tenant).unwrap_err();
    let Error::Refused(refusal) = error else {
        panic!("{error}");
    };
    assert_eq!(refusal.unmet, [Unmet::CachingUnknown]);
    assert!(scene.mapper.calls().is_empty());
}
