//! A guest's blob whose memory an operator takes away and gives back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use landbridge_protocol_gpu::{CapsetId, Format};
use landbridge_transport::guest::gpu::Picture;
use serde_json::Value;

use crate::daemon::{Daemon, landbridge, shared_blob};

const PICTURE: Picture = Picture {
    format: Format::B8G8R8X8,
    width: 32,
    height: 32,
    stride: 128,
    offset: 0,
};

/// `landbridge events`, killed when dropped.
struct Events(Child, BufReader<std::process::ChildStdout>);

impl Events {
    fn of(daemon: &Daemon) -> Self {
        let mut child = landbridge()
            .args(["events", "--json", "--control"])
            .arg(daemon.path("control.sock"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    /// The next event of this name.
    fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.1.read_line(&mut line).unwrap() > 0, "no {name} came");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"]["name"] == name {
                return event["event"].clone();
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answer(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = daemon.ask(arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_revoked_blob_is_out_of_the_guests_reach_until_it_is_restored() {
    let daemon = Daemon::start(1);
    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = shared_blob(&gpu, context.id, 4096).unwrap();
    let uuid = gpu.assign_uuid(&blob).unwrap().to_string();
    let mapping = gpu.map(&blob).unwrap();
    mapping.write(0, &[0x5a; 4096]).unwrap();
    gpu.set_scanout_blob(0, &blob, PICTURE).unwrap();
    let mut events = Events::of(&daemon);
    // Something is heard before anything is done.
    let heard = std::iter::repeat_with(|| daemon.screenshot(&[]));
    drop(heard.take(1).collect::<Vec<_>>());

    let result = answer(&daemon, &["revoke", &uuid, "--json"]);
    assert_eq!(
        (&result["already"], &result["cut_off"]),
        (&false.into(), &Value::Null)
    );
    // Nothing, until its VMM has put zero pages there: they are its own.
    let zeroes = std::iter::repeat_with(|| mapping.read(0, 4096)).find_map(Result::ok);
    assert_eq!(zeroes.unwrap(), [0; 4096]);
    mapping.write(0, &[0x77; 4096]).unwrap();
    gpu.set_scanout_blob(0, &blob, PICTURE).unwrap_err();
    let status = daemon.status();
    assert_eq!(status.buffers[0].life, "revoked, restorable");
    assert_eq!(status.buffers[0].model, "revocable, restorable");
    let output = daemon.ask(&["screenshot", "it.png"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("is revoked, restorable"), "{words}");

    let number = result["buffer"].to_string();
    assert_eq!(
        answer(&daemon, &["restore", &number, "--json"])["life"],
        "live"
    );
    assert_eq!(mapping.read(0, 4096).unwrap(), [0x5a; 4096]);
    gpu.set_scanout_blob(0, &blob, PICTURE).unwrap();
    let (_, _, pixels) = daemon.screenshot(&[]);
    assert_eq!(pixels[..4], [0x5a, 0x5a, 0x5a, 255]);

    let revoked = events.wait_for("revoked");
    assert_eq!(revoked["uuid"], uuid);
    assert_eq!(events.wait_for("restored")["buffer"], revoked["buffer"]);
}

#[test]
fn what_is_no_buffer_is_refused() {
    let daemon = Daemon::start(1);
    for (buffer, status, words) in [
        ("12", 1, "there is no such buffer"),
        (
            "00000000-0000-0000-0000-000000000001",
            1,
            "there is no such buffer",
        ),
        ("nonsense", 2, "neither a UUID nor a number"),
    ] {
        for command in ["revoke", "restore"] {
            let output = daemon.ask(&[command, buffer]);
            assert_eq!(output.status.code(), Some(status), "{command} {buffer}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(words), "{said}");
        }
    }
    let output = daemon.ask(&["revoke", "1", "--deadline-ms", "60001"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 60000"));
}
