//! `landbridge mapinfo --broker`, and programs that ask it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use landbridge_dmabuf::Udmabuf;
use landbridge_inspect::Strength;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mapinfo::memfd;
use crate::run::{Unprivileged, complaint, has, json, landbridge};

/// A folder that everybody can reach.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    folder
}

struct Broker {
    child: Child,
    socket: PathBuf,
    said: Value,
}

impl Broker {
    fn start(socket: PathBuf) -> Self {
        let path = socket.to_str().unwrap();
        let mut child = landbridge(&["mapinfo", "--broker", path, "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        Self {
            said: serde_json::from_str(&line).expect("it is ready"),
            child,
            socket,
        }
    }

    fn path(&self) -> &str {
        self.socket.to_str().unwrap()
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_keeps_two_capabilities_and_nothing_else() {
    if !has(Strength::Vma) {
        return;
    }
    let folder = folder();
    let broker = Broker::start(folder.path().join("socket"));
    let mut said: Vec<_> = broker.said["capabilities"].as_array().unwrap().clone();
    said.sort_by_key(ToString::to_string);
    assert_eq!(said, [json!("CAP_BPF"), json!("CAP_PERFMON")]);
    // CAP_PERFMON is 38, CAP_BPF 39.
    let two = format!("{:016x}", (1u64 << 38) | (1 << 39));
    assert_eq!(
        (broker.status("CapEff"), broker.status("CapPrm")),
        (two.clone(), two)
    );
    assert_eq!(broker.status("CapInh"), format!("{:016x}", 0));
    assert_eq!(broker.status("CapAmb"), format!("{:016x}", 0));
    assert_eq!(
        (broker.status("NoNewPrivs"), broker.status("Seccomp")),
        ("1".into(), "2".into())
    );
    let mode = fs::metadata(&broker.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn an_unprivileged_program_is_answered() {
    let (true, Some(user)) = (has(Strength::Pte), Unprivileged::new()) else {
        return;
    };
    let folder = folder();
    let broker = Broker::start(folder.path().join("socket"));
    let ask = |fd: OwnedFd| {
        let mut command = user.landbridge(&["mapinfo", "--fd", "0", "--json", "--ask"]);
        command.arg(broker.path()).stdin(fd);
        command
    };
    // The broker maps dma-bufs only: what it says of a memfd is an answer too.
    let said = complaint(&mut ask(memfd().into()), 1);
    assert!(said.contains("not a dma-buf"), "{said}");
    match Udmabuf::open().and_then(|udmabuf| udmabuf.wrap(memfd())) {
        Err(error) => println!("skipped in part: no udmabuf: {error}"),
        Ok(buffer) => {
            let info = json(&mut ask(buffer.into()));
            assert_eq!(
                (&info["caching"], &info["source"]),
                (&json!("write-back"), &json!("pte"))
            );
        }
    }
}

#[test]
fn a_dead_brokers_socket_is_taken_over_and_a_live_ones_is_not() {
    if !has(Strength::Vma) {
        return;
    }
    let folder = folder();
    let broker = Broker::start(folder.path().join("socket"));
    let mut second = landbridge(&["mapinfo", "--broker", broker.path()]);
    assert!(complaint(&mut second, 1).contains("can't listen"));
    let socket = broker.socket.clone();
    drop(broker);
    let again = Broker::start(socket);
    assert_eq!(again.said["seccomp"], true);
}

#[test]
fn without_the_capabilities_there_is_no_broker_and_no_socket() {
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let folder = folder();
    let socket = folder.path().join("socket");
    let mut command = user.landbridge(&["mapinfo", "--broker", socket.to_str().unwrap()]);
    let said = complaint(&mut command, 1);
    assert!(said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    assert!(!socket.exists());
    let path = socket.to_str().unwrap();
    let mut nobody = landbridge(&["mapinfo", "--fd", "0", "--ask", path]);
    let said = complaint(nobody.stdin(OwnedFd::from(memfd())), 1);
    assert!(said.contains("asking the broker"), "{said}");
}
