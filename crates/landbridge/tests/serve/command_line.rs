//! What is refused before anything runs, and what is only printed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::daemon::{Daemon, landbridge, refused};

#[test]
fn what_cannot_be_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "colour = 'red'").unwrap();
    for arguments in [
        &[][..],
        &["--control", "c"],
        &["--gpu", "g", "--window", "3MiB"],
        &["--gpu", "g", "--outputs", "0x0"],
        &["--gpu", "g", "--gpu", "g"],
        &["--gpu", "g", "--gpu-mode", "fast"],
        &["--gpu", "g", "--metrics", "nowhere"],
        &["--gpu", "g", "--config", "bad.toml"],
        &["--gpu", "g", "--config", "missing.toml"],
        &["--gpu", "g", "--qemu-memory", "4G"],
    ] {
        let (code, said) = refused(dir.path(), arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(!dir.path().join("g").exists());
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let mut command = landbridge();
    command
        .args(["serve", "--gpu", "/dev/null"])
        .env("LANDBRIDGE_LOG", "a=b=c");
    let (code, said) = crate::daemon::refusal(command);
    assert_eq!(code, Some(2));
    assert!(said.contains("LANDBRIDGE_LOG"), "{said}");
}

fn fake_qemu(dir: &Path, version: &str) -> PathBuf {
    let path = dir.join("qemu-system-x86_64");
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo 'QEMU emulator version {version}';; \
         *) echo 'name \"vhost-user-test-device-pci\", bus PCI';; esac\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn qemu_arguments(dir: &Path, more: &[&str]) -> Result<String, String> {
    let mut command = landbridge();
    command
        .args(["serve", "--gpu", "it's.sock", "--print-qemu-args"])
        .args(more);
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let output = command.current_dir(dir).env("PATH", path).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn the_arguments_of_qemu_are_printed_and_nothing_is_served() {
    let dir = tempfile::tempdir().unwrap();
    fake_qemu(dir.path(), "11.1.3 (Debian)");
    let line = qemu_arguments(dir.path(), &[]).unwrap();
    assert!(
        line.contains("-device vhost-user-test-device-pci,"),
        "{line}"
    );
    assert!(line.contains(r"it'\''s.sock"), "quoted: {line}");
    assert!(line.contains("size=4096M"), "{line}");
    assert!(!dir.path().join("it's.sock").exists());
}

#[test]
fn a_qemu_or_a_vm_that_is_known_to_fail_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        qemu_arguments(dir.path(), &[])
            .unwrap_err()
            .contains("PATH")
    );
    fake_qemu(dir.path(), "11.1.3");
    let small = qemu_arguments(dir.path(), &["--qemu-memory", "1G"]);
    assert!(small.unwrap_err().contains("uncached"));
    assert!(qemu_arguments(dir.path(), &["--qemu-memory", "1G", "--window", "2G"]).is_ok());
    let microvm = ["--qemu-memory", "1G", "--qemu-machine", "microvm"];
    assert!(qemu_arguments(dir.path(), &microvm).is_ok());
    let old = fake_qemu(dir.path(), "10.0.2");
    let said = qemu_arguments(dir.path(), &["--qemu", old.to_str().unwrap()]).unwrap_err();
    assert!(said.contains("11.1"), "{said}");
}

#[test]
fn metrics_are_there_for_a_scraper() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let daemon = Daemon::start_in(&dir, 1, &["--metrics", &port.to_string()]);
    let gpu = daemon.guest(0);
    gpu.display_info().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let connected = r#"landbridge_device_connected{device="0",guest="gpu0"} 1"#;
    assert!(text.lines().any(|line| line == connected), "{text}");
    assert!(text.contains("landbridge_device_commands_total"), "{text}");
}
