//! ARCHITECTURE's table of who takes what: each cell is backed by a test that is
//! there.

use std::fs;

use landbridge_lab_init::scenarios;

use crate::workspace::root;

/// The rows of the table of importers: who, and the three cells.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    page.lines()
        .skip_while(|line| !line.starts_with("| importer |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let importer = cells.next().unwrap_or_default().to_owned();
            (importer, cells.map(str::to_owned).collect())
        })
        .collect()
}

/// What stands in a cell between backticks and names a test.
fn named(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains("::")).collect()
}

/// Why there is no such test.
fn missing(name: &str) -> Option<String> {
    let (file, test) = name.rsplit_once("::")?;
    let path = match file.split_once("::") {
        None if file == "lab" => {
            let found = scenarios::find(test).is_some();
            return (!found).then(|| format!("no scenario is called {test}"));
        }
        None => format!("crates/exchange/tests/exchange/{file}.rs"),
        Some(("gpu", file)) => format!("crates/devices/gpu/tests/gpu/{file}.rs"),
        Some(("kvm", file)) => format!("crates/kvm/src/{file}.rs"),
        Some((other, _)) => return Some(format!("where are tests of {other}?")),
    };
    let text = fs::read_to_string(root().join(&path)).unwrap_or_default();
    let there = text.contains(&format!("#[test]\nfn {test}("))
        || text.contains(&format!("#[test]\n    fn {test}("));
    (!there).then(|| format!("{path} has no test {test}"))
}

#[test]
fn every_cell_names_a_test_that_is_there() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = rows(&page);
    assert!(rows.len() >= 8, "the table has {} rows", rows.len());
    for (importer, cells) in rows {
        assert_eq!(cells.len(), 3, "{importer}");
        for cell in cells {
            let tests = named(&cell);
            assert!(!tests.is_empty(), "{importer}: nothing backs \"{cell}\"");
            for test in tests {
                assert_eq!(missing(test), None, "{importer}");
            }
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    for name in [
        "lab::no_such_claim",
        "revoke::no_such_test",
        "kvm::private::private_memory",
        "decoder::",
    ] {
        assert!(missing(name).is_some(), "{name}");
    }
    assert_eq!(named("yes: `terms` and `a::b`, `c::d`"), ["a::b", "c::d"]);
}
