//! The row of the error table about KVM's memory slots
//! (Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION), and the
//! exporters' memory as a slot.

use std::time::Duration;

use anyhow::Result;

use crate::checks::Checks;
use crate::exporters::{Access, Exporter, OverMemfd, PlainMemfd, SystemHeap};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::kvm::{Slot, Vm};
use crate::sys::memory::{How, Map};

const SIZE: u64 = 64 << 10;
const AT: u64 = 1 << 20;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kvm_slots_are_refused_as_the_table_says",
    claim: "every refusal of a memory slot is the error that the table has for it, and exporters' memory is taken",
    storey: Storey::Host,
    needs: Needs {
        kvm: true,
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(30),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let vm = Vm::new()?;
    taken(checks, &vm, &PlainMemfd, 0)?;
    taken(checks, &vm, &OverMemfd::small()?, 1)?;
    taken(checks, &vm, &SystemHeap::open()?, 2)?;
    let memfd = PlainMemfd.export(SIZE, Access::ReadWrite)?;
    let map = Map::new(&memfd, 0, memfd.bytes(), How::SHARED)?;
    let right = slot(10, &map);
    checks.answers("a slot", vm.set_slot(right), "ok");
    for (what, slot, want) in [
        ("one over it", Slot { slot: 11, ..right }, "EEXIST"),
        (
            "half a page",
            Slot {
                size: 2048,
                ..free(right)
            },
            "EINVAL",
        ),
        (
            "an address that is no page's",
            Slot {
                address: right.address + 1,
                ..free(right)
            },
            "EINVAL",
        ),
        (
            "a guest address that is no page's",
            Slot {
                guest_address: 2 * AT + 1,
                slot: 12,
                ..right
            },
            "EINVAL",
        ),
        (
            "unknown flags",
            Slot {
                flags: 1 << 30,
                ..free(right)
            },
            "EINVAL",
        ),
        (
            "deleting what is not there",
            Slot {
                size: 0,
                ..free(right)
            },
            "EINVAL",
        ),
    ] {
        checks.answers(what, vm.set_slot(slot), want);
    }
    Ok(())
}

/// Maps a buffer of `exporter` and makes it a slot.
fn taken(checks: &mut Checks, vm: &Vm, exporter: &dyn Exporter, number: u32) -> Result<()> {
    let buffer = exporter.export(SIZE, Access::ReadWrite)?;
    let map = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    let mut slot = slot(number, &map);
    slot.guest_address = 16 * AT + u64::from(number) * AT;
    checks.answers(
        &format!("{} as a slot", exporter.name()),
        vm.set_slot(slot),
        "ok",
    );
    vm.set_slot(Slot { size: 0, ..slot })?;
    Ok(())
}

fn slot(number: u32, map: &Map) -> Slot {
    Slot {
        slot: number,
        flags: 0,
        guest_address: AT,
        size: SIZE,
        address: map.address() as u64,
    }
}

/// The same memory in a slot and at a guest address that are free.
fn free(slot: Slot) -> Slot {
    Slot {
        slot: 12,
        guest_address: 2 * AT,
        ..slot
    }
}
