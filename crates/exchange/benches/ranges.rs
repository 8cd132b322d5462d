//! Ranges against a scatterlist of the same memory: building it, walking it,
//! splitting it to a device's limits, and how many bytes it takes.
//!
//! The scatterlist is laid out as the kernel's (`include/linux/scatterlist.h`):
//! 32 bytes an entry, pages of 128 entries whose last one is the link to the
//! next page, at most 0xfffff000 bytes an entry; and it is built as drivers
//! build it, merging neighbours like `sg_alloc_table_from_pages`.
//!
//! 1 GiB is built and walked in pages of 4 KiB (scattered), 64 KiB, 2 MiB and
//! as one range; 1 TiB in pages of 2 MiB and as one range. 1 TiB in pages of
//! 4 KiB or 64 KiB would be gigabytes of table: its size is computed, and its
//! walk is not measured.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use landbridge_exchange::ranges::{GuestPhysical, Range, RangeList, SegmentLimits};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// How many entries a page of a scatterlist holds, the link included.
const IN_A_PAGE: usize = 128;
/// The most bytes of one entry.
const LARGEST: u64 = 0xffff_f000;

/// `struct scatterlist` with `CONFIG_NEED_SG_DMA_LENGTH`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    page_link: u64,
    offset: u32,
    length: u32,
    dma_address: u64,
    dma_length: u32,
    dma_flags: u32,
}

#[derive(Default)]
struct ScatterList {
    pages: Vec<Box<[Entry; IN_A_PAGE]>>,
    used: usize,
}

impl ScatterList {
    fn push(&mut self, start: u64, len: u64) {
        let mut at = start;
        while at < start + len {
            let taken = (start + len - at).min(LARGEST);
            self.push_entry(at, taken);
            at += taken;
        }
    }

    fn push_entry(&mut self, start: u64, len: u64) {
        if let Some(last) = self.last()
            && last.dma_address + u64::from(last.dma_length) == start
            && u64::from(last.length) + len <= LARGEST
        {
            last.length += len as u32;
            last.dma_length += len as u32;
            return;
        }
        let at = self.used % (IN_A_PAGE - 1);
        if at == 0 {
            self.pages.push(Box::new([Entry::default(); IN_A_PAGE]));
        }
        let page = self.pages.len() - 1;
        self.pages[page][at] = Entry {
            page_link: start >> 12,
            length: len as u32,
            dma_address: start,
            dma_length: len as u32,
            ..Entry::default()
        };
        self.used += 1;
    }

    fn last(&mut self) -> Option<&mut Entry> {
        let index = self.used.checked_sub(1)?;
        let page = self.pages.last_mut()?;
        Some(&mut page[index % (IN_A_PAGE - 1)])
    }

    fn walk(&self) -> u64 {
        let entries = self.pages.iter().flat_map(|page| &page[..IN_A_PAGE - 1]);
        entries.take(self.used).fold(0, |sum, entry| {
            sum ^ entry.dma_address ^ u64::from(entry.dma_length)
        })
    }

    fn bytes(&self) -> usize {
        // The last page is allocated no longer than it is used.
        let links = self.pages.len().saturating_sub(1);
        (self.used + links) * size_of::<Entry>()
    }
}

/// A shape of memory: `total` bytes in pages of `page` bytes, none of which is
/// the neighbour of the one before.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    total: u64,
    page: u64,
}

const SHAPES: [Shape; 6] = [
    shape("1 GiB of 4 KiB", GIB, 4 * KIB),
    shape("1 GiB of 64 KiB", GIB, 64 * KIB),
    shape("1 GiB of 2 MiB", GIB, 2 * MIB),
    shape("1 GiB in one", GIB, GIB),
    shape("1 TiB of 2 MiB", TIB, 2 * MIB),
    shape("1 TiB in one", TIB, TIB),
];

const fn shape(name: &'static str, total: u64, page: u64) -> Shape {
    Shape { name, total, page }
}

impl Shape {
    fn pages(self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.total / self.page).map(move |index| (2 * index * self.page, self.page))
    }

    fn ranges(self) -> RangeList<GuestPhysical> {
        let mut list = RangeList::default();
        for (start, len) in self.pages() {
            list.push(Range::new(start, len).unwrap()).unwrap();
        }
        list
    }

    fn scatterlist(self) -> ScatterList {
        let mut list = ScatterList::default();
        for (start, len) in self.pages() {
            list.push(start, len);
        }
        list
    }
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for shape in SHAPES {
        group.throughput(Throughput::Elements(shape.total / shape.page));
        group.bench_function(BenchmarkId::new("ranges", shape.name), |bencher| {
            bencher.iter_with_large_drop(|| black_box(shape).ranges());
        });
        group.bench_function(BenchmarkId::new("scatterlist", shape.name), |bencher| {
            bencher.iter_with_large_drop(|| black_box(shape).scatterlist());
        });
    }
    group.finish();
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    let device = SegmentLimits::NONE.max_segment(64 * KIB).unwrap();
    let device = device.boundary(4 * GIB).unwrap().align(512).unwrap();
    for shape in SHAPES {
        let (ranges, scattered) = (shape.ranges(), shape.scatterlist());
        group.throughput(Throughput::Elements(shape.total / shape.page));
        group.bench_function(BenchmarkId::new("ranges", shape.name), |bencher| {
            bencher.iter(|| walked(black_box(&ranges)));
        });
        group.bench_function(BenchmarkId::new("scatterlist", shape.name), |bencher| {
            bencher.iter(|| black_box(&scattered).walk());
        });
        if shape.total == GIB {
            let name = BenchmarkId::new("ranges in segments of 64 KiB", shape.name);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let segments = black_box(&ranges).all().segments(device);
                    segments.fold(0, |sum, next| {
                        next.map_or(sum, |(segment, _)| sum ^ segment.start())
                    })
                });
            });
        }
    }
    group.finish();
}

/// Not a matter of time: printed.
fn bytes(_: &mut Criterion) {
    println!("{:<18} {:>14} {:>14}", "bytes", "ranges", "scatterlist");
    for shape in SHAPES {
        let (ranges, scattered) = (shape.ranges().footprint(), shape.scatterlist().bytes());
        println!("{:<18} {ranges:>14} {scattered:>14}", shape.name);
    }
    for (name, page) in [("1 TiB of 4 KiB", 4 * KIB), ("1 TiB of 64 KiB", 64 * KIB)] {
        let pages = TIB / page;
        let marks = pages.div_ceil(512) * 8;
        let links = (pages - 1) / (IN_A_PAGE as u64 - 1);
        let (ranges, scattered) = (pages * 16 + marks + 64, (pages + links) * 32);
        println!("{name:<18} {ranges:>14} {scattered:>14} (computed)");
    }
}

/// On a machine that does other things too, only the fastest of many tells: all
/// take turns, and the fastest of each is printed.
fn fastest(_: &mut Criterion) {
    println!(
        "{:<18} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "fastest, ns", "build", "scatterlist", "walk", "by for", "scatterlist"
    );
    for shape in SHAPES {
        let (ranges, scattered) = (shape.ranges(), shape.scatterlist());
        let mut least = [u128::MAX; 5];
        for _ in 0..100 {
            let times = [
                time(|| black_box(shape).ranges()),
                time(|| black_box(shape).scatterlist()),
                time(|| walked(black_box(&ranges))),
                time(|| walked_by_for(black_box(&ranges))),
                time(|| black_box(&scattered).walk()),
            ];
            for (least, time) in least.iter_mut().zip(times) {
                *least = time.min(*least);
            }
        }
        print!("{:<18}", shape.name);
        for least in least {
            print!(" {least:>11}");
        }
        println!();
    }
}

fn time<R>(work: impl FnOnce() -> R) -> u128 {
    let start = Instant::now();
    let result = black_box(work());
    let took = start.elapsed().as_nanos();
    drop(result);
    took
}

fn walked(list: &RangeList<GuestPhysical>) -> u64 {
    let ranges = list.all().ranges();
    ranges.fold(0, |sum, (range, _)| sum ^ range.start() ^ range.len())
}

fn walked_by_for(list: &RangeList<GuestPhysical>) -> u64 {
    let mut sum = 0;
    for (range, _) in list.all().ranges() {
        sum ^= range.start() ^ range.len();
    }
    sum
}

criterion_group!(benches, bytes, fastest, build, walk);
criterion_main!(benches);
