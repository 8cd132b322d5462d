//! What remains with fewer capabilities. Each test lowers those of its own thread.

use landbridge_inspect::{Config, Inspector, Reason, Source, Strength};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Runs `test` in a thread with just these capabilities.
fn with(kept: CapabilitySet, test: fn(Inspector)) {
    let lowered = std::thread::spawn(move || {
        let now = capabilities(None).unwrap();
        if !now.permitted.contains(kept) {
            println!("skipped: the test runs without {kept:?}");
            return;
        }
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).unwrap();
        test(Inspector::open(Config::default()));
    });
    lowered.join().unwrap();
}

fn missing(inspector: &Inspector, strength: Strength) -> Option<Reason> {
    let mut ways = inspector.availability().into_iter();
    ways.find(|way| way.strength == strength).unwrap().missing
}

#[test]
fn two_capabilities_are_enough() {
    with(CapabilitySet::BPF | CapabilitySet::PERFMON, |inspector| {
        if let Some(reason) = missing(&inspector, Strength::Pte) {
            return println!("skipped: {reason}");
        }
        let memory = vec![1u8; 8192];
        let address = std::hint::black_box(&memory).as_ptr() as u64;
        let found = inspector.mapping(None, address).unwrap();
        assert_eq!(found.info.source, Source::Pte);
        assert_eq!(missing(&inspector, Strength::Query), None);
    });
}

/// The reason given for the strongest ways names what is needed.
fn assert_needs(inspector: &Inspector, needs: &'static str) {
    for strength in [Strength::Pte, Strength::Vma, Strength::BufferList] {
        match missing(inspector, strength) {
            // The test can't tell why a kernel lacks BPF altogether.
            Some(Reason::NoBtf { .. } | Reason::NotInKernel { .. } | Reason::NoBpf) => {
                println!("skipped: {strength} is not in this kernel");
            }
            reason => assert_eq!(reason, Some(Reason::NoCapability { needs }), "{strength}"),
        }
    }
}

#[test]
fn bpf_alone_says_what_it_lacks() {
    with(CapabilitySet::BPF, |inspector| {
        assert_needs(&inspector, "CAP_PERFMON");
    });
}

#[test]
fn no_capability_says_what_it_lacks() {
    with(CapabilitySet::empty(), |inspector| {
        let address = &raw const inspector as u64;
        assert!(inspector.mapping(None, address).is_err());
        assert!(inspector.kernel_buffers().is_err());
        assert_eq!(missing(&inspector, Strength::Rule), None);
        assert_needs(&inspector, "CAP_BPF and CAP_PERFMON");
    });
}
