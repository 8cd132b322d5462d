//! Sockets that the service manager made.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::daemon::{Daemon, refusal};

/// `landbridge serve` as systemd starts it, with two sockets of these names.
fn activated(names: &str, arguments: &str, sockets: [UnixListener; 2]) -> Command {
    let [first, second] = sockets.map(OwnedFd::from);
    let mut command = Command::new("sh");
    // A shell moves them to where systemd puts them.
    let script = format!(
        "exec 3<&0 4>&1 0</dev/null 1>/dev/null; \
         LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} exec {} serve {arguments}",
        env!("CARGO_BIN_EXE_landbridge"),
    );
    command.args(["-c", &script]);
    command
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second));
    command
}

fn sockets(dir: &tempfile::TempDir) -> [UnixListener; 2] {
    ["gpu0.sock", "control.sock"].map(|name| UnixListener::bind(dir.path().join(name)).unwrap())
}

#[test]
fn sockets_are_taken_over_and_left_in_place() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let command = activated("gpu-vm1:control", "--window 64MiB", sockets(&dir));
    let daemon = Daemon::run(&dir, command);
    daemon.guest(0).display_info().unwrap();
    let status = daemon.status();
    assert_eq!(status.devices[0].guest, "gpu-vm1");
    assert_eq!(status.devices[0].window_bytes, Some(64 << 20));
    assert!(daemon.terminate().success());
    // They are the service manager's.
    assert!(dir.path().join("gpu0.sock").exists());
}

#[test]
fn a_socket_without_a_purpose_is_refused() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for (names, arguments, reason) in [
        ("gpu:display", "", "display"),
        ("gpu", "", "names"),
        ("gpu:control", "--control other.sock", "handed over"),
    ] {
        let fresh = tempfile::tempdir_in(dir.path()).unwrap();
        let (code, said) = refusal(activated(names, arguments, sockets(&fresh)));
        assert!(code.is_some() && said.contains(reason), "{said}");
    }
}
