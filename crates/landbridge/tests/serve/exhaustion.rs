//! Nothing left: no descriptors, no room on the disk, no name for a socket.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;

use landbridge_dmabuf::spare::SPARE;
use landbridge_protocol_gpu::{CapsetId, ErrorCode, Format};
use landbridge_transport::Error;
use landbridge_transport::guest::gpu::{Blob, Gpu};

use crate::daemon::{Daemon, eventually, landbridge, refused, shared_blob};

/// Something that is always full.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Makes blobs until the device has no more, and says what it said then.
fn exhaust(gpu: &Gpu, context: u32) -> (Vec<Blob>, ErrorCode) {
    let mut blobs = Vec::new();
    loop {
        match shared_blob(gpu, context, 4096) {
            Ok(blob) => blobs.push(blob),
            Err(Error::Refused { code, .. }) => return (blobs, code),
            Err(error) => panic!("{error}"),
        }
        assert!(blobs.len() < 1000, "there is no end to them");
    }
}

#[test]
fn descriptors_that_run_out_under_a_guest_are_refused_one_by_one() {
    let daemon = Daemon::start(2);
    let bystander = daemon.guest(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let kept = shared_blob(&gpu, context.id, 4096).unwrap();
    let mapping = gpu.map(&kept).unwrap();
    mapping.write(0, b"kept").unwrap();
    let before = daemon.descriptors();
    let open: usize = before.values().sum();
    for more in [0, 1, 2, 3, 10] {
        daemon.limit_descriptors(open as u64 + SPARE + more);
        let (mut blobs, code) = exhaust(&gpu, context.id);
        assert_eq!(code, ErrorCode::OutOfMemory, "with {more}");
        // There is room for what a VMM has to say.
        let now: usize = daemon.descriptors().values().sum();
        assert!(now as u64 <= open as u64 + more + 1, "{now}, not {open}");
        // Each was made or not made. What it takes to map one may be there or
        // not, and is given back.
        for blob in &blobs {
            match gpu.map(blob) {
                Ok(mapping) => {
                    mapping.write(0, b"more").unwrap();
                    gpu.unmap(mapping).unwrap();
                }
                Err(Error::Refused { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            gpu.assign_uuid(blob).unwrap();
        }
        // What takes no descriptor goes on, for this guest and for others.
        gpu.display_info().unwrap();
        bystander.display_info().unwrap();
        assert_eq!(mapping.read(0, 4).unwrap(), b"kept");
        if let Some(blob) = blobs.pop() {
            gpu.unref(&blob).unwrap();
            blobs.push(shared_blob(&gpu, context.id, 4096).unwrap());
        }
        for blob in &blobs {
            gpu.unref(blob).unwrap();
        }
    }
    daemon.limit_descriptors(1024);
    daemon.wait_for_descriptors(&before);
    let flat = gpu.create_2d(Format::B8G8R8X8, 64, 64).unwrap();
    gpu.unref(&flat).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    drop(gpu.map(&blob).unwrap());
    drop((mapping, gpu));
    daemon.wait_until_idle(0);
    assert!(
        daemon.status().guests[0]
            .charges
            .iter()
            .all(|it| it.used == 0)
    );
}

#[test]
fn who_asks_while_there_are_no_descriptors_is_answered_once_there_are() {
    let daemon = Daemon::start(1);
    let open: usize = daemon.descriptors().values().sum();
    daemon.limit_descriptors(open as u64);
    let asked = landbridge()
        .args(["status", "--control", "control.sock"])
        .current_dir(daemon.dir().path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    daemon.limit_descriptors(1024);
    let answer = asked.wait_with_output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
}

#[test]
fn a_log_that_is_full_holds_nobody_up() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut command = landbridge();
    command.args([
        "serve",
        "-vv",
        "--gpu",
        "gpu0.sock",
        "--control",
        "control.sock",
    ]);
    let mut daemon = Daemon::run_logging_to(&dir, command, full());
    for round in 1..3 {
        let mut stream = daemon.connect(0);
        std::io::Write::write_all(&mut stream, &[0xff; 64]).unwrap();
        eventually("the fault is noticed", || {
            let device = daemon.status().devices.remove(0);
            (device.connections == round && device.last_error.is_some()).then_some(())
        });
    }
    daemon.guest(0).display_info().unwrap();
    assert!(daemon.is_alive());
    assert!(daemon.terminate().success());
}

/// Runs `landbridge` in the daemon's directory with nowhere to print to.
fn unheard(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = landbridge()
        .args(arguments)
        .current_dir(daemon.dir().path())
        .stdout(full())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn what_cannot_be_printed_is_a_failure_that_is_told() {
    let daemon = Daemon::start(1);
    for arguments in [
        ["status", "--control", "control.sock"].as_slice(),
        &["status", "--json", "--control", "control.sock"],
    ] {
        let (code, said) = unheard(&daemon, arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("landbridge: No space left"), "{said}");
    }
    // Nor can the complaint.
    let status = landbridge()
        .args(["status", "--control", "nobody.sock"])
        .current_dir(daemon.dir().path())
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

/// Shows something on the first output.
fn show(gpu: &Gpu) {
    let flat = gpu.create_2d(Format::B8G8R8X8, 64, 64).unwrap();
    let backing = gpu.backing(64 * 64 * 4).unwrap();
    gpu.attach_backing(&flat, &backing).unwrap();
    gpu.set_scanout(0, &flat, flat.rect()).unwrap();
    gpu.flush(&flat, flat.rect()).unwrap();
}

#[test]
fn a_picture_is_written_whole_or_not_at_all() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    show(&gpu);
    let output = daemon.ask(&["screenshot", "/dev/full"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("can't write /dev/full: No space left"),
        "{said}"
    );
    let output = daemon.ask(&["screenshot", "nowhere/picture.png"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("can't write nowhere/picture.png"), "{said}");

    daemon.screenshot(&[]);
    let picture = std::fs::read(daemon.path("picture.png")).unwrap();
    let files = || std::fs::read_dir(daemon.dir().path()).unwrap().count();
    let before = files();
    // A disk without room for it.
    let script = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} screenshot picture.png --control control.sock",
        env!("CARGO_BIN_EXE_landbridge")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(daemon.dir().path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("can't write picture.png"), "{said}");
    assert_eq!(std::fs::read(daemon.path("picture.png")).unwrap(), picture);
    assert_eq!(files(), before, "half a picture is left");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(120);
    for arguments in [
        ["--gpu", long.as_str()].as_slice(),
        &["--gpu", "gpu.sock", "--control", long.as_str()],
    ] {
        let (code, said) = refused(dir.path(), arguments);
        assert_eq!(code, Some(1));
        assert!(said.contains("longer than a socket's can be"), "{said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
