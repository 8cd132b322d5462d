//! What the exchange itself costs: no VMM, no device.
#![expect(
    unsafe_code,
    reason = "proves to the ledger that nobody mapped anything"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use landbridge_dmabuf::LetGo;
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::window::{
    MapperError, Unmapped, Window, WindowMap, WindowMapper,
};
use landbridge_exchange::ranges::{GuestPhysical, Range, RangeList};
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Exchange, Limits, Tenant};
use uuid::Uuid;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A VMM that answers at once and keeps no record, unlike the crate's fake.
struct Idle;

impl WindowMapper for Idle {
    fn map(&self, map: &WindowMap<'_>) -> Result<(), MapperError> {
        black_box(map);
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> Result<Unmapped, MapperError> {
        // SAFETY: `map` makes no duplicate of the descriptor, no mapping and
        // nothing else of what it is lent, so there is nothing left.
        Ok(Unmapped::Proven(unsafe { LetGo::assert() }))
    }
}

fn host_memory(exchange: &Exchange, tenant: &Tenant, size: u64) -> Buffer {
    let memory = HostMemory::allocate("bench", size, Kind::Memfd).unwrap();
    exchange.publish(memory, tenant).unwrap()
}

/// Attach, map, unmap, detach.
fn attach(criterion: &mut Criterion) {
    let exchange = Exchange::new();
    let tenant = Tenant::new("bench", Limits::NONE);
    let mut group = criterion.benchmark_group("attach+map+unmap+detach");
    for size in [PAGE, 8 * MIB] {
        let buffer = host_memory(&exchange, &tenant, size);
        group.bench_function(BenchmarkId::new("cpu", size), |bencher| {
            bencher.iter(|| CpuImport::attach(&buffer, "cpu", Direction::Read, &tenant).unwrap());
        });
        let window = Window::new(Arc::new(Idle), GIB);
        group.bench_function(BenchmarkId::new("window", size), |bencher| {
            bencher.iter(|| window.map(&buffer, 0, &tenant).unwrap().unmap().unwrap());
        });
    }
    group.finish();
}

/// A buffer by its UUID, among many.
fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for count in [1, 1_000, 1_000_000_u128] {
        let exchange = Exchange::new();
        let tenant = Tenant::new("bench", Limits::NONE);
        // Spread like random ones, but the same in every run.
        let uuid = |index: u128| {
            Uuid::from_u128((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
        };
        let _buffers: Vec<_> = (0..count)
            .map(|index| {
                let exporter = FakeExporter::new(1, FakeExporter::EVERYTHING);
                let buffer = exchange.publish(exporter, &tenant).unwrap();
                buffer.register_uuid(uuid(index)).unwrap();
                buffer
            })
            .collect();
        let mut index = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                index = (index + 7919) % count;
                exchange.lookup(black_box(uuid(index))).unwrap()
            });
        });
    }
    group.finish();
}

/// 1 GiB of backing in entries of 4 KiB.
fn merge(criterion: &mut Criterion) {
    const ENTRIES: u64 = GIB / PAGE;
    let mut group = criterion.benchmark_group("merge 1 GiB in 4 KiB entries");
    group.throughput(Throughput::Elements(ENTRIES));
    for (name, stride) in [("contiguous", PAGE), ("scattered", 2 * PAGE)] {
        let entries: Vec<(u64, u64)> = (0..ENTRIES).map(|index| (index * stride, PAGE)).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut list = RangeList::<GuestPhysical>::default();
                for (start, len) in black_box(&entries) {
                    list.push(Range::new(*start, *len).unwrap()).unwrap();
                }
                list
            });
        });
    }
    group.finish();
}

criterion_group!(benches, attach, lookup, merge);
criterion_main!(benches);
