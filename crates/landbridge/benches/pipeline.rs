//! The demo's pipeline against the same pipeline with one copy per frame, and
//! a blob's round trip through the embedded guest.
//!
//! `cargo bench -p landbridge --bench pipeline`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use landbridge::demo::{Checks, Machine, Show};
use landbridge_device_media::{Clip, Codec, Error, Frame, Layout, motion_jpeg};

static CLIP: &[u8] = include_bytes!("../../../assets/demo.avi");
const FRAMES: u32 = 72;

/// A codec that works in memory of its own and copies.
fn copying(mut codec: impl Codec) -> impl Codec {
    let mut pixels = Vec::new();
    move |frame: &Frame<'_>, target: &mut [u8], layout: &Layout| {
        let len = layout.byte_len()?;
        pixels.resize(len, 0);
        codec(frame, &mut pixels, layout)?;
        target[..len].copy_from_slice(&pixels);
        Ok(len as u64)
    }
}

/// Leaves the buffer as it is: what remains is what sharing itself costs.
fn still(_: &Frame<'_>, target: &mut [u8], _: &Layout) -> Result<u64, Error> {
    black_box(target);
    Ok(0)
}

fn pipeline(criterion: &mut Criterion) {
    let show = Show {
        clip: Arc::new(Clip::parse(CLIP.to_vec()).expect("the clip that we ship")),
        frames: FRAMES,
        pictures: None,
        checks: Checks::None,
    };
    let mut group = criterion.benchmark_group("pipeline");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(FRAMES.into()));
    group.bench_function("decode in place", |bencher| {
        bencher.iter(|| show.run(motion_jpeg, |_| ()).expect("shown"));
    });
    group.bench_function("decode and copy", |bencher| {
        bencher.iter(|| show.run(copying(motion_jpeg), |_| ()).expect("shown"));
    });
    group.bench_function("share in place", |bencher| {
        bencher.iter(|| show.run(still, |_| ()).expect("shown"));
    });
    group.bench_function("share and copy", |bencher| {
        bencher.iter(|| show.run(copying(still), |_| ()).expect("shown"));
    });
    group.finish();
}

fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("guest");
    for size in [4 << 10, 1 << 20, 16 << 20] {
        let machine = Machine::start(640, 480, size).expect("a guest");
        group.bench_function(
            format!("create, map, unmap, unref {} KiB", size >> 10),
            |bencher| {
                bencher.iter(|| {
                    let blob = machine.create_blob(size).expect("a blob");
                    let mapping = machine.gpu.map(&blob).expect("a mapping");
                    machine.gpu.unmap(mapping).expect("unmapped");
                    machine.gpu.unref(&blob).expect("released");
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, pipeline, round_trip);
criterion_main!(benches);
