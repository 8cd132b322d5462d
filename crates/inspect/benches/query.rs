//! One exact query against what a program without it would do: read its own smaps.

use criterion::{Criterion, criterion_group, criterion_main};
use landbridge_inspect::btf::Btf;
use landbridge_inspect::procfs::smaps;
use landbridge_inspect::{Config, Inspector, Strength};

fn queries(c: &mut Criterion) {
    let inspector = Inspector::open(Config::default());
    for way in inspector.availability() {
        if let Some(reason) = way.missing {
            println!("{} not available: {reason}", way.strength);
            if way.strength == Strength::Query {
                return;
            }
        }
    }
    let memory = vec![1u8; 8192];
    let address = std::hint::black_box(&memory).as_ptr() as u64;
    let pid = std::process::id();
    let mut group = c.benchmark_group("one mapping");
    group.bench_function("one own page, by query", |b| {
        b.iter(|| inspector.page(None, address).unwrap());
    });
    group.bench_function("own, by query", |b| {
        b.iter(|| inspector.mapping(None, address).unwrap());
    });
    group.bench_function("of a process, by query", |b| {
        b.iter(|| inspector.mapping(Some(pid), address).unwrap());
    });
    group.bench_function("flags only, by smaps", |b| {
        b.iter(|| smaps::gup_at(pid, address).unwrap());
    });
    group.finish();

    let mut group = c.benchmark_group("all mappings");
    group.bench_function("of one process", |b| {
        b.iter(|| inspector.mappings(Some(pid)).unwrap());
    });
    group.bench_function("of all processes", |b| {
        b.iter(|| inspector.mappings(None).unwrap());
    });
    group.finish();
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    group.bench_function("read the kernel's BTF", |b| {
        b.iter(|| Btf::of_running_kernel().unwrap());
    });
    group.bench_function("open an inspector", |b| {
        b.iter(|| Inspector::open(Config::default()));
    });
    group.finish();
}

criterion_group!(benches, queries, start);
criterion_main!(benches);
