//! `landbridge inspect`.

use std::os::fd::{AsFd, AsRawFd};
use std::process::id;

use landbridge_dmabuf::memfd::{Memfd, Options};
use landbridge_dmabuf::{Access, DmaBuf, Mapping, Udmabuf};
use landbridge_inspect::Strength;
use serde_json::{Value, json};

use crate::run::{Unprivileged, complaint, has, json, landbridge, out};

const BYTES: u64 = 8192;

/// A buffer to be found, if this machine has an exporter without a device.
fn buffer() -> Option<DmaBuf> {
    let memfd = Memfd::create("found", BYTES, Options::default()).unwrap();
    let made = Udmabuf::open().and_then(|udmabuf| udmabuf.wrap(memfd));
    made.map_err(|error| println!("skipped: no udmabuf: {error}"))
        .ok()
}

fn find(document: &Value, inode: u64) -> Option<&Value> {
    let mut all = document["buffers"].as_array().unwrap().iter();
    all.find(|buffer| buffer["inode"] == inode)
}

#[test]
fn the_document_has_its_keys() {
    let document = json(&mut landbridge(&["inspect", "--json"]));
    assert!(document["at"].as_u64().unwrap() > 0);
    assert!(document["buffers"].is_array() && document["missing"].is_array());
    assert!(document["unreadable_processes"].is_u64());
    let lists = ["kernel", "bufinfo", "processes"].map(Value::from);
    assert!(lists.contains(&document["list"]));
    if has(Strength::BufferList) {
        assert_eq!(document["list"], "kernel");
    }
}

#[test]
fn a_process_that_holds_nothing_has_an_empty_list() {
    // The parent is this process, whose other tests may hold buffers: ask a child.
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let document = json(&mut landbridge(&[
        "inspect",
        &child.id().to_string(),
        "--json",
    ]));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(document["buffers"], json!([]));
}

#[test]
fn a_process_that_is_not_there_is_a_failure() {
    let said = complaint(&mut landbridge(&["inspect", "4194305"]), 1);
    assert_eq!(said, "landbridge: no process 4194305\n");
    complaint(&mut landbridge(&["inspect", "everything"]), 2);
}

#[test]
fn without_privileges_it_says_what_one_would_add() {
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let text = out(&mut user.landbridge(&["inspect"]));
    for part in [
        "CAP_BPF and CAP_PERFMON",
        "CAP_SYS_PTRACE",
        "could not be looked into",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let document = json(&mut user.landbridge(&["inspect", "--json"]));
    assert_ne!(document["list"], "kernel");
    assert!(document["unreadable_processes"].as_u64().unwrap() > 0);
    let ways = document["missing"].as_array().unwrap();
    assert!(ways.iter().any(|way| way["way"] == "pte"), "{ways:?}");
    let said = complaint(&mut user.landbridge(&["inspect", &id().to_string()]), 1);
    assert!(said.contains("CAP_SYS_PTRACE"), "{said}");
}

#[test]
fn a_buffer_is_found_with_holder_and_mapping() {
    let Some(buffer) = buffer() else { return };
    let mapping = Mapping::new(&buffer, 0, BYTES, Access::ReadWrite).unwrap();
    let inode = rustix::fs::fstat(&buffer).unwrap().st_ino;
    let document = json(&mut landbridge(&["inspect", &id().to_string(), "--json"]));
    let found = find(&document, inode).expect("listed");
    assert_eq!(
        (&found["size"], &found["exporter"]),
        (&json!(BYTES), &json!("udmabuf"))
    );
    let holder = &found["holders"][0];
    assert_eq!(holder["pid"], id());
    let fds = holder["fds"].as_array().unwrap();
    assert!(fds.contains(&json!(buffer.as_fd().as_raw_fd())));
    assert_eq!(holder["mappings"][0]["caching"], "write-back");
    drop(mapping);
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let blind = json(&mut user.landbridge(&["inspect", "--json"]));
    assert!(
        find(&blind, inode).is_none(),
        "another user's buffer is not seen"
    );
}
