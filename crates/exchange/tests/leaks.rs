//! Nothing is left behind: no descriptor, no mapping, no thread's fence.
//!
//! A test of its own process, because descriptors are counted for all of it.
#![expect(
    unsafe_code,
    reason = "proves to the ledger that a fake VMM holds nothing"
)]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use landbridge_dmabuf::LetGo;
use landbridge_exchange::exporters::GuestPages;
use landbridge_exchange::exporters::fake::FakeGuestMemory;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::scanout::ScanoutImport;
use landbridge_exchange::importers::window::Window;
use landbridge_exchange::importers::window::fake::{FakeMapper, Mood};
use landbridge_exchange::ranges::{Range, RangeList};
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Error, Exchange, Limits, Tenant};

const PAGE: u64 = 4096;
const NOW: Duration = Duration::ZERO;

fn let_go() -> LetGo {
    // SAFETY: a `FakeMapper` makes no duplicate of a descriptor, no mapping and
    // nothing else of what it is lent, so there is nothing that could be left.
    unsafe { LetGo::assert() }
}

/// Descriptors, and mappings of memfds.
fn held() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mappings = maps.lines().filter(|line| line.contains("/memfd:"));
    (descriptors, mappings.count())
}

/// Host memory through every importer, with every way for a VMM to fail.
fn use_host_memory(exchange: &Exchange, tenant: &Tenant) -> Result<(), Error> {
    let memory = HostMemory::allocate("leaks", 2 * PAGE, Kind::Memfd)?;
    let buffer = exchange.publish(memory, tenant)?;
    buffer.assign_uuid()?;
    let decoder = Arc::new(DecoderImport::attach(&buffer, "decoder", tenant)?);
    drop(decoder.queue("dropped"));
    decoder.queue("written").write(NOW, |bytes| {
        bytes.fill(1);
        Ok::<_, Error>(())
    })?;
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, tenant)?;
    cpu.access(Direction::Write, NOW)?.end()?;
    let scanout = ScanoutImport::attach(&buffer, 0, tenant)?;
    drop(scanout.read(NOW)?);
    decoder
        .queue("refused")
        .write(NOW, |_| Ok::<_, Error>(()))
        .unwrap_err();

    let mapper = Arc::new(FakeMapper::new(let_go));
    let window = Window::new(Arc::clone(&mapper) as Arc<_>, 16 * PAGE);
    let mapping = window.map(&buffer, 0, tenant)?;
    let _dropped = window.map(&buffer, 4 * PAGE, tenant)?;
    mapping.unmap()?;
    for mood in [Mood::Refusing, Mood::RefusingWithProof, Mood::Vanished] {
        mapper.set_mood(mood);
        window.map(&buffer, 8 * PAGE, tenant).unwrap_err();
    }
    Ok(())
}

fn use_guest_pages(exchange: &Exchange, tenant: &Tenant) -> Result<(), Error> {
    let mut guest = FakeGuestMemory::default();
    guest.add(0, 8 * PAGE)?;
    let mut ranges = RangeList::default();
    for page in [5, 1, 3] {
        ranges.push(Range::new(page * PAGE, PAGE).unwrap()).unwrap();
    }
    GuestPages::new(&guest, ranges.clone(), 4 * PAGE).unwrap_err();
    let buffer = exchange.publish(GuestPages::new(&guest, ranges, 3 * PAGE)?, tenant)?;
    let cpu = CpuImport::attach(&buffer, "cpu", Direction::ReadWrite, tenant)?;
    let access = cpu.access(Direction::ReadWrite, NOW)?;
    assert_eq!(held().1, 3);
    access.view().fill(0, 3 * 4096, 1)?;
    access.end()
}

#[test]
fn nothing_is_left_behind() {
    let exchange = Exchange::new();
    let tenant = Tenant::new("guest", Limits::default());
    let before = held();
    for _ in 0..10 {
        use_host_memory(&exchange, &tenant).unwrap();
        use_guest_pages(&exchange, &tenant).unwrap();
    }
    assert_eq!(held(), before);
    assert!(exchange.buffers().is_empty());
    assert!(exchange.registry().is_empty());
}
