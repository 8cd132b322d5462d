//! Metrics for Prometheus, over HTTP.
//!
//! One endpoint, `GET /metrics`, answered one client at a time and without
//! keeping connections: what a scraper needs and no more.

mod families;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::control::{Service, Stop, Woken};

/// How long a client may take for its request, and for reading the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest head of a request in bytes.
const LONGEST_HEAD: usize = 8192;

/// How long the server rests when the system is out of something.
const PAUSE: Duration = Duration::from_millis(500);

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An HTTP server with the metrics. Dropping it ends it.
#[derive(Debug)]
pub(super) struct MetricsServer {
    stop: Stop,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Answers on `address` until dropped.
    pub(super) fn start(address: SocketAddr, service: Arc<dyn Service>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Stop::new()?;
        let asked = stop.clone();
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve(&listener, &*service, &asked))?;
        Ok(Self {
            stop,
            address,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            // It never panics; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, service: &dyn Service, stop: &Stop) {
    loop {
        if let Ok(Woken::Stop) = stop.wait_for(listener, None) {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = answer(&stream, service, stop) {
                    tracing::debug!(%error, "a client of the metrics was lost");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "can't take a client of the metrics");
                stop.pause(PAUSE);
            }
        }
    }
}

fn answer(stream: &TcpStream, service: &dyn Service, stop: &Stop) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, kind, body) = match read_request(stream, stop)? {
        Asked::Metrics => match families::text(&service.holdings()) {
            Ok(text) => ("200 OK", OPEN_METRICS, text),
            Err(error) => ("500 Internal Server Error", "text/plain", error.to_string()),
        },
        Asked::Elsewhere => ("404 Not Found", "text/plain", "try /metrics\n".to_owned()),
        Asked::Otherwise => (
            "405 Method Not Allowed",
            "text/plain",
            "GET only\n".to_owned(),
        ),
        Asked::Nonsense => (
            "400 Bad Request",
            "text/plain",
            "that is no HTTP\n".to_owned(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    drain(stream, stop)
}

/// Reads what a client still says: to hang up with bytes unread would take the
/// answer away from it.
fn drain(mut stream: &TcpStream, stop: &Stop) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut chunk = [0; 1024];
    for _ in 0..LONGEST_HEAD / chunk.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if stop.wait_for(stream, Some(left))? != Woken::Ready || stream.read(&mut chunk)? == 0 {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Elsewhere,
    Otherwise,
    Nonsense,
}

fn read_request(mut stream: &TcpStream, stop: &Stop) -> io::Result<Asked> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match stop.wait_for(stream, Some(left))? {
            Woken::Ready => {}
            Woken::Timeout => return Err(io::ErrorKind::TimedOut.into()),
            Woken::Stop => return Err(io::ErrorKind::Interrupted.into()),
        }
        let mut chunk = [0; 1024];
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&chunk[..len]);
        if let Some(asked) = parse(&head) {
            return Ok(asked);
        }
        if head.len() > LONGEST_HEAD {
            return Ok(Asked::Nonsense);
        }
    }
}

/// What a whole head asks for; `None` for a part of one.
fn parse(head: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Err(_) => Some(Asked::Nonsense),
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let path = request.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            Some(match (request.method, path) {
                (Some("GET"), "/metrics") => Asked::Metrics,
                (Some("GET"), _) => Asked::Elsewhere,
                _ => Asked::Otherwise,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::control::Shot;
    use crate::control::protocol::{BufferArguments, RestoreResult, RevokeResult};
    use crate::control::protocol::{
        Code, Problem, ShareArguments, UnshareArguments, UnshareResult,
    };
    use crate::control::status::{DeviceStatus, ShareStatus, Status};

    struct Fake;

    impl Service for Fake {
        fn status(&self) -> Status {
            unreachable!("metrics look at no other process")
        }

        fn holdings(&self) -> Status {
            Status {
                copied_bytes: 12,
                devices: vec![DeviceStatus::default()],
                ..Status::default()
            }
        }

        fn screenshot(&self, _: usize, _: u32) -> Result<Shot, Problem> {
            Err(Problem::new(Code::Failed, "no pictures here"))
        }

        fn share(&self, _: &ShareArguments, _: OwnedFd) -> Result<ShareStatus, Problem> {
            Err(Problem::new(Code::Failed, "no shares here"))
        }

        fn unshare(&self, _: UnshareArguments) -> Result<UnshareResult, Problem> {
            Err(Problem::new(Code::Failed, "no shares here"))
        }

        fn revoke(&self, _: &BufferArguments) -> Result<RevokeResult, Problem> {
            Err(Problem::new(Code::Failed, "no buffers here"))
        }

        fn restore(&self, _: &BufferArguments) -> Result<RestoreResult, Problem> {
            Err(Problem::new(Code::Failed, "no buffers here"))
        }

        fn subscribe(&self) -> landbridge_exchange::Subscription {
            landbridge_exchange::Exchange::new().subscribe()
        }
    }

    fn ask(request: &[u8]) -> String {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = MetricsServer::start(any, Arc::new(Fake)).unwrap();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scraper_gets_the_metrics() {
        let answer = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\nlandbridge_copied_bytes_total 12\n"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[test]
    fn everything_else_is_refused() {
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"hello\x00\r\n\r\n", "400"),
        ] {
            let answer = ask(request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
    }

    #[test]
    fn a_head_without_end_is_nonsense() {
        let long = [
            b"GET /metrics HTTP/1.1\r\nx: ".as_slice(),
            &[b'x'; LONGEST_HEAD + 4000],
        ];
        assert!(ask(&long.concat()).starts_with("HTTP/1.1 400"));
    }
}
