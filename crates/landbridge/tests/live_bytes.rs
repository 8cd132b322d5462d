//! What a guest makes and destroys leaves not a byte: counted by the allocator,
//! since resident memory hides what is small. Alone in its process, because the
//! count is of all of it: device, backend, and the guest with its VMM.
//!
//! `LIVE_BYTES_CYCLES` says how many cycles, if not a few hundred.

use std::sync::Arc;
use std::time::{Duration, Instant};

use landbridge_device_gpu::{FakeDisplay, GpuConfig, Mode, Output};
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_protocol_gpu::{BlobFlags, BlobMem, CapsetId, Format};
use landbridge_transport::Link;
use landbridge_transport::guest::gpu::{Gpu, NewBlob};
use landbridge_transport::guest::{Config, EmbeddedGuest};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const PAGE: u64 = 4096;

/// Enough for one word that is kept by each cycle to be told from [`NOISE`].
const CYCLES: usize = 150;
/// The first ones fill pools.
const SETTLING: usize = 50;
/// A message that is under way as the count is taken.
const NOISE: usize = 1024;

fn guest(idle_maps: usize) -> (Gpu, Arc<FakeDisplay>) {
    let outputs = vec![Output::new(64, 64).unwrap()];
    let tenant = Tenant::new("guest", Limits::default());
    let mode = Mode::HostVisible { window: 1 << 20 };
    let link = Link::new();
    let display = Arc::new(FakeDisplay::default());
    let device = landbridge_device_gpu::Gpu::new(
        GpuConfig::new(outputs, mode, tenant)
            .unwrap()
            .with_idle_maps(idle_maps),
        Exchange::new(),
        link.memory(),
        link.mapper(),
        Arc::clone(&display) as _,
    );
    // As with QEMU, the device hears of its own window each time.
    let config = Config {
        announces_maps: true,
        ..Config::default()
    };
    let guest = EmbeddedGuest::start(Arc::new(device), link, config).unwrap();
    (Gpu::open(Arc::new(guest)), display)
}

fn blob_of_the_host(gpu: &Gpu, context: u32) {
    shared_or_not(gpu, context, BlobFlags::all());
    shared_or_not(gpu, context, BlobFlags::MAPPABLE);
}

fn shared_or_not(gpu: &Gpu, context: u32, flags: BlobFlags) {
    let new = NewBlob {
        mem: BlobMem::Host3d,
        flags,
        blob_id: 0,
        size: PAGE,
        ctx_id: context,
        backing: None,
    };
    let blob = gpu.create_blob(&new).unwrap();
    if flags.contains(BlobFlags::CROSS_DEVICE) {
        gpu.assign_uuid(&blob).unwrap();
    }
    let mapping = gpu.map(&blob).unwrap();
    mapping.write(0, b"bytes").unwrap();
    gpu.unmap(mapping).unwrap();
    gpu.unref(&blob).unwrap();
}

fn blob_that_is_unmapped_by_its_end(gpu: &Gpu, context: u32) {
    let blob = gpu.create_host_blob(context, 0, PAGE).unwrap();
    gpu.map_at(&blob, 64 * PAGE).unwrap();
    gpu.unref(&blob).unwrap();
}

fn memory_of_the_guest(gpu: &Gpu) {
    let backing = gpu.backing(2 * PAGE).unwrap();
    let blob = gpu.create_guest_blob(&backing).unwrap();
    gpu.unref(&blob).unwrap();
    let resource = gpu.create_2d(Format::B8G8R8X8, 32, 32).unwrap();
    gpu.attach_backing(&resource, &backing).unwrap();
    gpu.set_scanout(0, &resource, resource.rect()).unwrap();
    gpu.unref(&resource).unwrap();
}

/// Live bytes, as soon as they are at most `wanted`: whoever just answered may
/// not have dropped all of it yet.
fn live(wanted: usize) -> usize {
    let start = Instant::now();
    loop {
        let live = HEAP.current_usage();
        if live <= wanted || start.elapsed() > Duration::from_millis(500) {
            return live;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn check(what: &str, cycles: usize, live_once: impl Fn()) {
    for _ in 0..SETTLING {
        live_once();
    }
    let before = live(0);
    let began = Instant::now();
    for _ in 0..cycles {
        live_once();
    }
    let took = began.elapsed() / cycles as u32;
    let after = live(before);
    println!("{what}: {before} bytes, then {after}; {took:?} a cycle");
    assert!(
        after <= before + NOISE,
        "{what}: {} bytes are left of {cycles} cycles",
        after - before
    );
}

#[test]
fn what_a_guest_makes_and_destroys_leaves_no_byte() {
    let asked = std::env::var("LIVE_BYTES_CYCLES");
    let cycles = asked.map_or(CYCLES, |cycles| cycles.parse().unwrap());
    for idle_maps in [0, 2] {
        check_all(idle_maps, cycles);
    }
}

fn check_all(idle_maps: usize, cycles: usize) {
    let (gpu, display) = guest(idle_maps);
    let context = gpu.create_context("test", CapsetId(0)).unwrap().id;
    check("a host blob", cycles, || blob_of_the_host(&gpu, context));
    check("one that is mapped to its end", cycles, || {
        blob_that_is_unmapped_by_its_end(&gpu, context);
    });
    check("guest memory", cycles, || {
        memory_of_the_guest(&gpu);
        drop(display.take());
    });
    check("a driver", cycles / 10, || {
        gpu.guest().rebind().unwrap();
    });
}
