//! The data behind inspect, top and probe, on the machine that runs the tests.

use landbridge_inspect::probe::{self, Outcome};
use landbridge_inspect::{Caching, Config, Inspector, Source, Strength, report};

fn has(inspector: &Inspector, strength: Strength) -> bool {
    let mut ways = inspector.availability().into_iter();
    let way = ways.find(|way| way.strength == strength).unwrap();
    if let Some(reason) = &way.missing {
        println!("skipped in part: {strength}: {reason}");
    }
    way.missing.is_none()
}

#[test]
fn the_probes_control_is_ordinary_memory() {
    let inspector = Inspector::open(Config::default());
    let samples = probe::samples();
    let looked_at = samples.iter();
    let rows: Vec<_> = looked_at.map(|it| probe::examine(&inspector, it)).collect();
    for row in &rows {
        println!("{}", serde_json::to_string(row).unwrap());
    }
    let Outcome::Is(control) = &rows[0].found else {
        panic!("no memfd: {:?}", rows[0]);
    };
    if has(&inspector, Strength::Pte) {
        let Outcome::Is(info) = &control.mapping else {
            panic!("{control:?}");
        };
        assert_eq!(
            (info.caching, info.source),
            (Some(Caching::WriteBack), Source::Pte)
        );
        assert_eq!(control.offset_honoured, Outcome::Is(Some(true)));
    }
}

#[test]
fn a_report_can_be_made_with_and_without_privileges() {
    for bpf in [true, false] {
        let inspector = Inspector::open(Config {
            bpf,
            ..Config::default()
        });
        let report = report::collect(&inspector, None);
        if !bpf {
            assert_ne!(report.list, report::ListSource::Kernel);
            assert!(!report.has(Strength::Pte));
        }
        let text = serde_json::to_value(&report).unwrap();
        assert!(text["buffers"].is_array() && text["availability"].is_array());
    }
}

#[test]
fn a_process_without_buffers_has_an_empty_report() {
    let inspector = Inspector::open(Config::default());
    let report = report::collect(&inspector, Some(std::process::id()));
    assert!(report.buffers.is_empty(), "{:?}", report.buffers);
    assert_eq!(report.unreadable_processes, 0);
}
