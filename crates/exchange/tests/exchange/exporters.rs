//! Memory of this host, on the kinds that this machine has.

use std::path::Path;

use landbridge_exchange::error::Fault;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::scanout::ScanoutImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Caching, Error, Exporter};

use crate::scene::{NOW, Scene};

/// The kinds that this machine has; says which it has not.
fn kinds() -> Vec<Kind> {
    let device = |kind| match kind {
        Kind::Memfd | Kind::HugePages => None,
        Kind::Udmabuf => Some("/dev/udmabuf"),
        Kind::SystemHeap => Some("/dev/dma_heap/system"),
    };
    let mut kinds = vec![Kind::Memfd, Kind::Udmabuf, Kind::SystemHeap];
    kinds.retain(|kind| match device(*kind) {
        Some(path) if !Path::new(path).exists() => {
            eprintln!("skipped: {kind}: this machine has no {path}");
            false
        }
        _ => true,
    });
    kinds
}

#[test]
fn every_kind_serves_the_decoder_the_scanout_the_cpu_and_the_window() {
    for kind in kinds() {
        let scene = Scene::new();
        let memory = HostMemory::allocate("test", 8192, kind).unwrap();
        let buffer = scene.exchange.publish(memory, &scene.tenant).unwrap();
        assert_eq!(buffer.exporter_name(), kind.to_string());
        assert_eq!(buffer.size(), 8192);

        let decoder = DecoderImport::attach(&buffer, "decoder", &scene.tenant).unwrap();
        let frame = std::sync::Arc::new(decoder).queue("frame");
        frame
            .write(NOW, |bytes| {
                assert!(bytes.iter().all(|byte| *byte == 0), "{kind} is not zeroed");
                bytes.fill(3);
                Ok::<_, Error>(())
            })
            .unwrap();

        let cpu = CpuImport::attach(&buffer, "cpu", Direction::Write, &scene.tenant).unwrap();
        let access = cpu.access(Direction::Write, NOW).unwrap();
        access.view().write_at(1, 4_u8).unwrap();
        access.end().unwrap();

        let scanout = ScanoutImport::attach(&buffer, 0, &scene.tenant).unwrap();
        let pixels = scanout.read(NOW).unwrap();
        assert_eq!(pixels.view().read_at::<u16>(0).unwrap(), 0x0403, "{kind}");

        let mapping = scene.window.map(&buffer, 4096, &scene.tenant).unwrap();
        assert_eq!(mapping.caching(), Some(Caching::WriteBack));
        assert_eq!(buffer.copied_bytes(), 0);
    }
}

#[test]
fn every_buffer_is_memory_of_its_own() {
    for kind in kinds() {
        let scene = Scene::new();
        let identity = || {
            let memory = HostMemory::allocate("test", 4096, kind).unwrap();
            let buffer = scene.exchange.publish(memory, &scene.tenant).unwrap();
            (buffer.identity().unwrap(), buffer)
        };
        let (first, second) = (identity(), identity());
        assert_ne!(first.0, second.0, "{kind}");
        assert_ne!(first.1.id(), second.1.id());
    }
}

#[test]
fn sizes_that_can_not_be_are_the_askers_fault() {
    for size in [0, 1, 4095, 4097] {
        let error = HostMemory::allocate("test", size, Kind::Memfd).unwrap_err();
        assert_eq!(error.fault(), Fault::Asker, "{error}");
    }
}

#[test]
fn a_device_that_is_missing_is_the_hosts_fault() {
    let missing: Vec<_> = [Kind::Udmabuf, Kind::SystemHeap]
        .into_iter()
        .filter(|kind| !kinds().contains(kind))
        .collect();
    if missing.is_empty() {
        eprintln!("skipped: this machine has every device");
    }
    for kind in missing {
        let error = HostMemory::allocate("test", 4096, kind).unwrap_err();
        assert!(
            error.to_string().starts_with("this machine has no /dev/"),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::Host);
        assert!(!error.may_pass());
    }
}

#[test]
fn names_are_cut_to_what_the_kernel_takes() {
    let name = "a name that is longer than a dma-buf's may be, by far";
    HostMemory::allocate(name, 4096, Kind::Memfd).unwrap();
}

#[test]
fn memory_that_others_may_reach_is_not_offered_as_exclusive() {
    let memory = HostMemory::allocate("test", 4096, Kind::Memfd).unwrap();
    assert!(memory.offer().exclusive);
    assert!(!memory.offer().ranges);
    assert!(memory.ranges().is_none());
}

#[test]
fn publish_with_makes_nothing_that_is_not_paid_for() {
    let limits = landbridge_exchange::Limits {
        pinned_bytes: 4096,
        ..Default::default()
    };
    let scene = Scene::with_limits(limits);
    let publish = |size, made: u64| {
        let make = || Ok(FakeExporter::new(made, FakeExporter::EVERYTHING));
        scene
            .exchange
            .publish_with(size, MemoryModel::Pinned, &scene.tenant, make)
    };
    let error = scene
        .exchange
        .publish_with(
            4097,
            MemoryModel::Pinned,
            &scene.tenant,
            || -> Result<FakeExporter, _> { panic!("made what may not be had") },
        )
        .unwrap_err();
    assert!(matches!(error, Error::OverLimit(_)));
    assert!(matches!(publish(1, 4096), Err(Error::Export { .. })));
    assert_eq!(scene.used(), [0; 4]);
    let buffer = publish(4096, 4096).unwrap();
    assert_eq!(scene.used(), [4096, 1, 0, 0]);
    assert_eq!(buffer.tenant().unwrap().name(), "guest");
}
