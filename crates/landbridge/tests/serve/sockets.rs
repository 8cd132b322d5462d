//! Sockets that can't be, and too few descriptors.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::daemon::{Daemon, eventually, refusal, refused};

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for path in [
        "missing/gpu.sock",
        "file/gpu.sock",
        "/proc/gpu.sock",
        "file",
    ] {
        let (code, said) = refused(dir.path(), &["--gpu", path]);
        assert_eq!(code, Some(1));
        assert!(said.contains(path), "{said}");
    }
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"");
}

#[test]
fn only_this_user_can_connect() {
    let daemon = Daemon::start(1);
    for name in ["gpu0.sock", "control.sock"] {
        let mode = daemon.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn too_few_descriptors_are_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    for limit in [4, 6, 8] {
        let mut command = Command::new("sh");
        let script = format!(
            "ulimit -n {limit}; exec {} serve --gpu a --gpu b --gpu c --gpu d --control e",
            env!("CARGO_BIN_EXE_landbridge")
        );
        command.args(["-c", &script]).current_dir(dir.path());
        let (code, said) = refusal(command);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("Too many open files"), "{said}");
        for name in ["a", "b", "c", "d", "e"] {
            assert!(!dir.path().join(name).exists(), "{name} is left behind");
        }
    }
}

#[test]
fn a_vmm_that_finds_no_descriptors_is_served_once_there_are_some() {
    let daemon = Daemon::start(1);
    let open: usize = daemon.descriptors().values().sum();
    // Room for whoever asks for the status, not for a VMM.
    daemon.limit_descriptors(open as u64 + 2);
    let stream = daemon.connect(0);
    let told = eventually("the trouble is told", || {
        daemon.status().devices[0].last_error.clone()
    });
    assert!(told.contains("Too many open files"), "{told}");
    daemon.limit_descriptors(1024);
    drop(stream);
    daemon.guest(0).display_info().unwrap();
    assert_eq!(daemon.status().devices[0].last_error, None);
}
