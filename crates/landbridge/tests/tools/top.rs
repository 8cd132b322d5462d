//! `landbridge top`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::run::{complaint, json, landbridge, out, width};

#[test]
fn one_frame_fits_and_names_the_keys() {
    for columns in ["40", "80", "200"] {
        let text = out(landbridge(&["top", "--once"]).env("COLUMNS", columns));
        assert!(
            width(&text) <= columns.parse().unwrap(),
            "{columns}: {text}"
        );
        assert!(text.contains("BUFFER") && text.contains("q quit"), "{text}");
    }
}

#[test]
fn a_look_is_one_object_on_one_line() {
    let once = json(&mut landbridge(&["top", "--once", "--json"]));
    assert!(once["buffers"].is_array());
    let mut child = landbridge(&["top", "--json", "--interval", "10"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut at = || {
        let line = lines.next().unwrap().unwrap();
        let look: Value = serde_json::from_str(&line).unwrap();
        look["at"].as_u64().unwrap()
    };
    let (first, second) = (at(), at());
    assert!(first < second);
    // A reader that leaves ends it, and that is no failure.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let said = complaint(landbridge(&["top"]).stdin(Stdio::null()), 2);
    assert!(said.contains("--once"), "{said}");
    let said = complaint(&mut landbridge(&["top", "--sort", "colour"]), 2);
    assert!(said.contains("newest"), "{said}");
    complaint(&mut landbridge(&["top", "--interval", "0"]), 2);
}

#[test]
fn on_a_terminal_it_shows_the_keys_and_gives_the_terminal_back() {
    if Command::new("script").arg("--version").output().is_err() {
        return println!("skipped: no script(1) to make a terminal");
    }
    let program = env!("CARGO_BIN_EXE_landbridge");
    let mut script = Command::new("script")
        .args([
            "-qefc",
            &format!("stty cols 90 rows 24; {program} top"),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = script.stdin.take().unwrap();
    let mut screen = Vec::new();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut until = |text: &str, screen: &mut Vec<u8>| {
        while !String::from_utf8_lossy(screen).contains(text) {
            let more = shown.fill_buf().unwrap();
            assert!(
                !more.is_empty(),
                "{text}: {}",
                String::from_utf8_lossy(screen)
            );
            let count = more.len();
            screen.extend_from_slice(more);
            shown.consume(count);
        }
    };
    until("q quit", &mut screen);
    keys.write_all(b"q").unwrap();
    until("\x1b[?1049l", &mut screen);
    assert_eq!(script.wait().unwrap().code(), Some(0));
}
