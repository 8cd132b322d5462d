//! The demo's pipeline against the same pipeline with one copy per frame, and
//! a blob's round trip through the embedded guest.
//!
//! `cargo bench -p landbridge --bench pipeline`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use landbridge::demo::{Checks, Machine, Show};
use landbridge_device_media::{Clip, Codec, Error, Frame, Layout, MotionJpeg};

static CLIP: &[u8] = include_bytes!("../../../assets/demo.avi");
const FRAMES: u32 = 72;

/// Decodes into memory of its own and copies.
#[derive(Default)]
struct Copying(Vec<u8>);

impl Codec for Copying {
    fn decode(
        &mut self,
        frame: &Frame<'_>,
        target: &mut [u8],
        layout: &Layout,
    ) -> Result<u64, Error> {
        let len = layout.byte_len()?;
        self.0.resize(len, 0);
        MotionJpeg.decode(frame, &mut self.0, layout)?;
        target[..len].copy_from_slice(&self.0);
        Ok(len as u64)
    }
}

/// The pipeline without decoding: what sharing itself costs.
struct Still;

impl Codec for Still {
    fn decode(&mut self, _: &Frame<'_>, target: &mut [u8], _: &Layout) -> Result<u64, Error> {
        black_box(target);
        Ok(0)
    }
}

/// The same with a copy of a frame that is already decoded.
#[derive(Default)]
struct StillCopying(Vec<u8>);

impl Codec for StillCopying {
    fn decode(&mut self, _: &Frame<'_>, target: &mut [u8], layout: &Layout) -> Result<u64, Error> {
        let len = layout.byte_len()?;
        self.0.resize(len, 0);
        target[..len].copy_from_slice(&self.0);
        Ok(len as u64)
    }
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
        bencher.iter(|| show.run(MotionJpeg, |_| ()).expect("shown"));
    });
    group.bench_function("decode and copy", |bencher| {
        bencher.iter(|| show.run(Copying::default(), |_| ()).expect("shown"));
    });
    group.bench_function("share in place", |bencher| {
        bencher.iter(|| show.run(Still, |_| ()).expect("shown"));
    });
    group.bench_function("share and copy", |bencher| {
        bencher.iter(|| show.run(StillCopying::default(), |_| ()).expect("shown"));
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
