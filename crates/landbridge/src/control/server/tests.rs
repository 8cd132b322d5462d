use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use serde_json::json;

use super::super::Client;
use super::*;

/// One device with one output of one red pixel.
struct Fake;

impl Service for Fake {
    fn status(&self) -> Status {
        Status::default()
    }

    fn holdings(&self) -> Status {
        Status::default()
    }

    fn screenshot(&self, device: usize, output: u32) -> Result<Shot, Problem> {
        match (device, output) {
            (0, 0) => Ok(Shot {
                width: 1,
                height: 1,
                rgba: vec![255, 0, 0, 255],
            }),
            (0, _) => Err(Problem::new(Code::NoSuchOutput, "one only")),
            _ => Err(Problem::new(Code::NoSuchDevice, "one only")),
        }
    }

    fn share(&self, asked: &ShareArguments, memory: OwnedFd) -> Result<ShareStatus, Problem> {
        let file = std::fs::File::from(memory);
        Ok(ShareStatus {
            blob_id: asked.blob_id.unwrap_or(1),
            size: file.metadata().unwrap().len(),
            ..ShareStatus::default()
        })
    }

    fn unshare(&self, asked: UnshareArguments) -> Result<UnshareResult, Problem> {
        Err(Problem::new(Code::NoSuchShare, asked.blob_id))
    }

    fn revoke(&self, asked: &BufferArguments) -> Result<RevokeResult, Problem> {
        match asked.buffer {
            Some(7) => Ok(RevokeResult {
                buffer: 7,
                ..RevokeResult::default()
            }),
            _ => Err(Problem::new(Code::NoSuchBuffer, "7 only")),
        }
    }

    fn restore(&self, _: &BufferArguments) -> Result<RestoreResult, Problem> {
        Err(Problem::new(Code::Gone, "gone"))
    }

    fn subscribe(&self) -> landbridge_exchange::Subscription {
        landbridge_exchange::Exchange::new().subscribe()
    }
}

struct Place {
    path: PathBuf,
    _dir: tempfile::TempDir,
    _server: Server,
}

fn serve() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control");
    let listener = UnixListener::bind(&path).unwrap();
    Place {
        path,
        _dir: dir,
        _server: Server::start(&listener, Arc::new(Fake)).unwrap(),
    }
}

/// Sends bytes as they are and returns all answers, greeting excluded.
fn exchange(place: &Place, bytes: &[u8]) -> Vec<Value> {
    let mut stream = UnixStream::connect(&place.path).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let lines = BufReader::new(stream).lines();
    let lines = lines.map_while(Result::ok);
    let answers: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(answers[0]["landbridge"]["protocol"], 1);
    answers[1..].to_vec()
}

#[test]
fn a_client_gets_status_and_picture() {
    let place = serve();
    let mut client = Client::connect(&place.path).unwrap();
    assert_eq!(client.status().unwrap(), Status::default());
    let (result, file) = client.screenshot(ScreenshotArguments::default()).unwrap();
    let mut png = Vec::new();
    std::fs::File::from(file).read_to_end(&mut png).unwrap();
    assert_eq!(png.len() as u64, result.bytes);
    let mut reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    let mut pixel = [0; 4];
    reader.next_frame(&mut pixel).unwrap();
    assert_eq!(pixel, [255, 0, 0, 255]);
    let elsewhere = ScreenshotArguments {
        device: 0,
        output: 1,
    };
    assert!(client.screenshot(elsewhere).is_err());
    assert!(client.status().is_ok(), "an error ends nothing");
}

#[test]
fn answers_carry_the_ids_of_their_requests() {
    let answers = exchange(
        &serve(),
        b"{\"id\":7,\"command\":\"version\"}\n{\"command\":\"fly\"}\n{\"id\":8,\"command\":\"version\",\"arguments\":{}}\n",
    );
    assert_eq!(answers[0]["id"], 7);
    assert_eq!(answers[0]["result"]["protocol"], 1);
    assert_eq!(answers[1]["error"]["code"], "unknown-command");
    assert_eq!(answers[2]["id"], 8);
}

#[test]
fn wrong_arguments_are_refused_and_the_connection_goes_on() {
    for (command, arguments) in [
        ("status", json!({ "x": 1 })),
        ("status", json!([])),
        ("screenshot", json!({ "x": 1 })),
        ("screenshot", json!({ "device": -1 })),
        ("screenshot", json!("all")),
    ] {
        let request = json!({ "command": command, "arguments": arguments });
        let answers = exchange(&serve(), format!("{request}\n{request}\n").as_bytes());
        assert_eq!(answers.len(), 2, "{request}");
        assert_eq!(answers[1]["error"]["code"], "bad-arguments", "{request}");
    }
}

#[test]
fn what_is_no_request_ends_the_connection_with_a_reason() {
    let long = [vec![b'x'; LONGEST_REQUEST + 1], b"\n".to_vec()].concat();
    for bytes in [
        b"hello\n{}\n".as_slice(),
        b"{}\n",
        b"[]\n",
        b"\n",
        b"\xff\xfe\n",
        b"{\"command\":\"version\",\"extra\":1}\n",
        &long,
    ] {
        let answers = exchange(&serve(), bytes);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["error"]["code"], "bad-request");
    }
}

#[test]
fn clients_are_counted_and_places_come_back() {
    let place = serve();
    let mut clients: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| Client::connect(&place.path).unwrap())
        .collect();
    let error = Client::connect(&place.path).unwrap_err();
    assert!(
        format!("{error:#}").contains("clients are connected"),
        "{error:#}"
    );
    assert!(clients[0].status().is_ok());
    clients.clear();
    // Their threads end when they see it.
    while Client::connect(&place.path).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn a_server_ends_with_clients_connected() {
    let place = serve();
    let mut client = Client::connect(&place.path).unwrap();
    drop(place);
    assert!(client.status().is_err());
}

#[test]
fn memory_comes_with_its_request() {
    let place = serve();
    let file = passing::sealed_file("shared", |file| Ok(file.write_all(b"12345")?)).unwrap();
    let mut client = Client::connect(&place.path).unwrap();
    let asked = ShareArguments {
        blob_id: Some(9),
        ..ShareArguments::default()
    };
    for _ in 0..2 {
        let shared = client.share(&asked, &file).unwrap();
        assert_eq!((shared.blob_id, shared.size), (9, 5));
    }
    let without = exchange(&place, b"{\"command\":\"share\"}\n");
    assert_eq!(without[0]["error"]["code"], "bad-arguments");
}

#[test]
fn descriptors_that_nobody_asked_for_end_the_connection() {
    let place = serve();
    let mut stream = UnixStream::connect(&place.path).unwrap();
    let file = passing::sealed_file("stray", |_| Ok(())).unwrap();
    // Half a request, twice with a descriptor.
    for half in [&b"{\"command\":"[..], b"\"status\"}\n"] {
        passing::send(&stream, half, Some(file.as_fd())).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("more than one descriptor"), "{text}");
}
