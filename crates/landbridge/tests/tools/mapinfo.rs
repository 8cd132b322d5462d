//! `landbridge mapinfo`.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Stdio, id};

use landbridge_dmabuf::memfd::{Memfd, Options};
use landbridge_inspect::Strength;

use crate::run::{Unprivileged, complaint, has, json, landbridge, out};

pub(crate) fn memfd() -> Memfd {
    Memfd::create("asked", 8192, Options::default()).unwrap()
}

#[test]
fn a_memfd_is_write_back_by_its_page_table() {
    if !has(Strength::Pte) {
        return;
    }
    let stdin = || Stdio::from(OwnedFd::from(memfd()));
    let info = json(landbridge(&["mapinfo", "--fd", "0", "--json"]).stdin(stdin()));
    for (key, value) in [("caching", "write-back"), ("source", "pte")] {
        assert_eq!(info[key], value);
    }
    assert_eq!(
        (&info["gup"], &info["mappable"]),
        (&true.into(), &true.into())
    );
    let text = out(landbridge(&["mapinfo", "--fd", "0"]).stdin(stdin()));
    assert!(
        text.contains("asked") && text.contains("page table"),
        "{text}"
    );
}

#[test]
fn another_processs_descriptor_is_copied() {
    if !has(Strength::Pte) {
        return;
    }
    let memfd = memfd();
    let (pid, fd) = (id().to_string(), memfd.as_fd().as_raw_fd().to_string());
    let info = json(&mut landbridge(&[
        "mapinfo", "--pid", &pid, "--fd", &fd, "--json",
    ]));
    assert_eq!(info["caching"], "write-back");
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let mut command = user.landbridge(&["mapinfo", "--pid", &pid, "--fd", &fd]);
    assert!(complaint(&mut command, 1).contains("CAP_SYS_PTRACE"));
}

#[test]
fn what_is_not_known_is_a_failure_that_says_why() {
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let mut command = user.landbridge(&["mapinfo", "--fd", "0"]);
    let said = complaint(command.stdin(Stdio::from(OwnedFd::from(memfd()))), 1);
    assert!(said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
}

#[test]
fn a_device_is_neither_mapped_nor_touched() {
    let null = File::open("/dev/null").unwrap();
    let said = complaint(landbridge(&["mapinfo", "--fd", "0"]).stdin(null), 1);
    assert!(said.contains("neither a dma-buf nor a memfd"), "{said}");
}

#[test]
fn a_command_line_without_sense_is_refused() {
    let cases: [&[&str]; 5] = [
        &[],
        &["--pid", "1"],
        &["--fd", "-1"],
        &["--fd", "0", "--broker", "socket"],
        &["--broker", "socket", "--mode", "999"],
    ];
    for case in cases {
        complaint(landbridge(&["mapinfo"]).args(case), 2);
    }
    let said = complaint(&mut landbridge(&["mapinfo", "--fd", "99999"]), 1);
    assert!(said.contains("no descriptor 99999"), "{said}");
}
