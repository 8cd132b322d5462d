//! `landbridge recover` against a QEMU that is played.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::daemon::{Daemon, landbridge};

/// Plays QEMU: answers each command with what `play` says, and returns what
/// was asked.
fn qemu(
    path: &Path,
    play: impl Fn(&str, &Value) -> Vec<Value> + Send + 'static,
) -> JoinHandle<Vec<(String, Value)>> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let say = |line: &Value| {
            let mut stream: &UnixStream = &stream;
            // The client may have gone.
            let _ = stream.write_all(format!("{line}\r\n").as_bytes());
        };
        say(&json!({ "QMP": { "version": {}, "capabilities": ["oob"] } }));
        let mut asked = Vec::new();
        for line in BufReader::new(&stream).lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let command = request["execute"].as_str().unwrap().to_owned();
            for line in play(&command, &request["arguments"]) {
                say(&line);
            }
            asked.push((command, request["arguments"].clone()));
        }
        asked
    })
}

fn fine() -> Vec<Value> {
    vec![json!({ "return": {} })]
}

fn error(class: &str, text: &str) -> Vec<Value> {
    vec![json!({ "error": { "class": class, "desc": text } })]
}

/// The device goes when it is asked to, after an event that is about another.
fn cooperative(command: &str, arguments: &Value) -> Vec<Value> {
    let deleted = |id: &str| json!({ "event": "DEVICE_DELETED", "data": { "device": id } });
    match command {
        "qom-get" => match arguments["property"].as_str().unwrap() {
            "parent_bus" => vec![json!({ "return": "/machine/peripheral/port7/port7" })],
            "vq_size" => vec![json!({ "return": 512 })],
            _ => error("GenericError", "no such property"),
        },
        "device_del" => vec![deleted("other"), json!({ "return": {} }), deleted("gpu")],
        _ => fine(),
    }
}

fn recover(daemon: &Daemon, more: &[&str]) -> Output {
    let mut command = landbridge();
    command.args([
        "recover",
        "--qmp",
        "qmp.sock",
        "--device",
        "gpu",
        "--chardev",
        "char",
    ]);
    command.args(["--gpu", "gpu0.sock"]).args(more);
    command.current_dir(daemon.dir().path()).output().unwrap()
}

#[test]
fn the_device_is_taken_out_and_put_back_where_it_was() {
    let daemon = Daemon::start(1);
    let qemu = qemu(&daemon.path("qmp.sock"), cooperative);
    let output = recover(&daemon, &[]);
    assert!(output.status.success(), "{output:?}");
    let knocks = daemon.status().devices[0].connections;
    assert_eq!(knocks, 0, "the backend is QEMU's to connect to");
    let mut asked = qemu.join().unwrap();
    asked.retain(|(command, _)| command != "qom-get");
    let commands: Vec<_> = asked.iter().map(|(command, _)| command.as_str()).collect();
    assert_eq!(
        commands,
        [
            "qmp_capabilities",
            "device_del",
            "chardev-remove",
            "chardev-add",
            "device_add"
        ]
    );
    let added = &asked[3].1["backend"]["data"];
    let path = daemon.path("gpu0.sock");
    assert_eq!(added["addr"]["data"]["path"].as_str(), path.to_str());
    assert_eq!(added["server"], false);
    assert_eq!(
        asked[4].1,
        json!({
            "driver": "vhost-user-test-device-pci", "id": "gpu", "chardev": "char",
            "bus": "port7", "virtio-id": 16, "num_vqs": 2, "vq_size": 512, "config_size": 24,
        })
    );
}

#[test]
fn a_recovery_goes_on_where_an_earlier_one_stopped() {
    let daemon = Daemon::start(1);
    let qemu = qemu(&daemon.path("qmp.sock"), |command, _| match command {
        "qom-get" | "device_del" => error("DeviceNotFound", "Device 'gpu' not found"),
        "chardev-remove" => error("GenericError", "Chardev 'char' not found"),
        _ => fine(),
    });
    let output = recover(&daemon, &["--bus", "port3"]);
    assert!(output.status.success(), "{output:?}");
    let asked = qemu.join().unwrap();
    assert_eq!(asked.last().unwrap().1["bus"], "port3");
}

#[test]
fn what_goes_wrong_is_said() {
    let said = |play: fn(&str, &Value) -> Vec<Value>| {
        let daemon = Daemon::start(1);
        let qemu = qemu(&daemon.path("qmp.sock"), play);
        let output = recover(&daemon, &["--patience", "1"]);
        assert_eq!(output.status.code(), Some(1));
        let asked = qemu.join().unwrap();
        let added = asked.iter().any(|(command, _)| command == "device_add");
        (String::from_utf8(output.stderr).unwrap(), added)
    };
    let (text, added) = said(|command, arguments| match command {
        "device_del" => error("GenericError", "Bus 'pcie.0' does not support hotplugging"),
        _ => cooperative(command, arguments),
    });
    assert!(
        text.contains("pcie.0") && text.contains("pcie-root-port") && !added,
        "{text}"
    );

    let (text, added) = said(|command, arguments| match command {
        "device_del" => fine(),
        _ => cooperative(command, arguments),
    });
    assert!(text.contains("did not let go") && !added, "{text}");

    let (text, added) = said(|command, arguments| match command {
        "device_del" => vec![
            json!({ "return": {} }),
            json!({ "event": "DEVICE_UNPLUG_GUEST_ERROR", "data": { "device": "gpu" } }),
        ],
        _ => cooperative(command, arguments),
    });
    assert!(text.contains("refuses to let go") && !added, "{text}");

    let (text, added) = said(|command, arguments| match command {
        "chardev-add" => error("GenericError", "Failed to connect"),
        _ => cooperative(command, arguments),
    });
    assert!(text.contains("Failed to connect") && !added, "{text}");
}

#[test]
fn nothing_is_taken_away_while_nobody_serves() {
    let daemon = Daemon::start(1);
    let mut command = landbridge();
    command.args([
        "recover",
        "--qmp",
        "qmp.sock",
        "--device",
        "gpu",
        "--chardev",
        "char",
    ]);
    command
        .args(["--gpu", "nobody.sock"])
        .current_dir(daemon.dir().path());
    let (code, said) = crate::daemon::refusal(command);
    assert_eq!(code, Some(1));
    assert!(said.contains("nobody serves on"), "{said}");
}
