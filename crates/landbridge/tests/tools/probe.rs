//! `landbridge probe`.

use landbridge_inspect::Strength;
use serde_json::{Value, json};

use crate::run::{Unprivileged, has, json, landbridge, out, width};

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().unwrap()
}

#[test]
fn the_control_is_ordinary_memory() {
    let document = json(&mut landbridge(&["probe", "--json"]));
    let control = &rows(&document)[0];
    assert_eq!(
        (&control["what"], &control["allocated"]),
        (&json!("memfd (control)"), &json!(true))
    );
    if has(Strength::Pte) && has(Strength::Query) {
        for (key, value) in [
            ("caching", json!("write-back")),
            ("source", json!("pte")),
            ("gup", json!(true)),
            ("offset_honoured", json!(true)),
        ] {
            assert_eq!(control[key], value, "{key}");
        }
    }
}

#[test]
fn what_is_not_known_is_null_and_says_why() {
    let document = json(&mut landbridge(&["probe", "--json"]));
    for row in rows(&document) {
        let unknown = ["mappable", "caching", "source", "gup", "sync_file"];
        let unknown = unknown.iter().any(|key| row[key].is_null());
        let errors = row["errors"].as_array().unwrap();
        assert!(!unknown || !errors.is_empty(), "{row}");
    }
}

#[test]
fn without_privileges_nothing_is_guessed() {
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let document = json(&mut user.landbridge(&["probe", "--json"]));
    let control = &rows(&document)[0];
    assert_eq!(
        (&control["allocated"], &control["caching"]),
        (&json!(true), &Value::Null)
    );
    for row in rows(&document) {
        assert!(
            [Value::Null, json!("rule")].contains(&row["source"]),
            "{row}"
        );
    }
    assert!(out(&mut user.landbridge(&["probe"])).contains("needs CAP_BPF and CAP_PERFMON"));
}

#[test]
fn the_table_is_as_wide_as_it_may_be() {
    let text = out(landbridge(&["probe"]).env("COLUMNS", "60"));
    let table: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(['│', '┌']))
        .collect();
    assert!(
        !table.is_empty() && width(&table.join("\n")) <= 60,
        "{text}"
    );
}
