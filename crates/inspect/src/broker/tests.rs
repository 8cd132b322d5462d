//! The broker in a thread of its own, confined as in production, with hostile clients.
//!
//! This machine may have no dma-buf at all, so some tests let the broker serve memfds.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with,
};

use super::*;
use crate::decode::Caching;
use crate::inspector::{Config, Inspector};
use crate::map_info::Source;
use crate::sys::child::Nature;

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    path: PathBuf,
    thread_status: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        fs::remove_file(&self.path).ok();
        let failed = ended.is_some_and(|ended| ended.is_err());
        assert!(!failed || std::thread::panicking(), "the broker failed");
    }
}

/// A confined broker, or `None` with the reason printed.
fn start(nature: Nature, limits: Limits) -> Option<Running> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("landbridge-broker-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let inspector = Inspector::open(Config::default());
    let mut broker = match Broker::new(listen(&path).unwrap(), inspector, limits) {
        Ok(broker) => broker,
        Err(error) => {
            println!("skipped: {error}");
            fs::remove_file(&path).ok();
            return None;
        }
    };
    broker.nature = nature;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let (send, receive) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let tid = rustix::thread::gettid();
        confine().unwrap();
        send.send(tid).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            broker.step(Duration::from_millis(5)).unwrap();
        }
    });
    let tid = receive.recv().unwrap().as_raw_nonzero();
    let thread_status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    Some(Running {
        path,
        thread_status,
        stop,
        thread: Some(thread),
    })
}

fn memory() -> OwnedFd {
    let memfd = memfd_create("asked", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memfd, 64 * 1024).unwrap();
    memfd
}

fn connected(running: &Running) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(&running.path).unwrap()).unwrap();
    socket
}

fn send(socket: &OwnedFd, text: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(40))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(
        socket,
        &[IoSlice::new(text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}

/// Waits for the answer, which always comes.
fn answer(socket: &OwnedFd) -> Answer {
    let mut text = [0; MAX_ANSWER_BYTES];
    let (_, count) = recv(socket, &mut text[..], RecvFlags::empty()).unwrap();
    serde_json::from_slice(&text[..count]).unwrap()
}

fn field<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_once(':').unwrap().1.trim()
}

#[test]
fn it_keeps_two_capabilities_and_a_filter() {
    let Some(running) = start(Nature::DmaBuf, Limits::default()) else {
        return;
    };
    let status = &running.thread_status;
    // CAP_PERFMON is bit 38, CAP_BPF bit 39.
    assert_eq!(field(status, "CapEff"), "000000c000000000");
    assert_eq!(field(status, "CapPrm"), "000000c000000000");
    assert_eq!(field(status, "CapInh"), "0000000000000000");
    assert_eq!(field(status, "NoNewPrivs"), "1");
    assert_eq!(field(status, "Seccomp"), "2");
}

#[test]
fn a_client_gets_the_exact_answer() {
    let Some(running) = start(Nature::Memory, Limits::default()) else {
        return;
    };
    for _ in 0..20 {
        let info = ask(&running.path, memory(), PATIENCE).unwrap();
        assert_eq!(info.caching, Some(Caching::WriteBack));
        assert!(info.source <= Source::Vma);
        assert!(info.gup);
    }
}

#[test]
fn other_descriptors_are_refused() {
    let Some(running) = start(Nature::DmaBuf, Limits::default()) else {
        return;
    };
    let refused = ask(&running.path, memory(), PATIENCE);
    assert!(matches!(refused, Err(Error::NotDmaBuf)), "{refused:?}");
    let refused = ask(&running.path, std::io::stdin(), PATIENCE);
    assert!(matches!(refused, Err(Error::NotDmaBuf)), "{refused:?}");
}

#[test]
fn malformed_questions_are_refused() {
    let Some(running) = start(Nature::Memory, Limits::default()) else {
        return;
    };
    let memory = memory();
    let fd = memory.as_fd();
    let half = &REQUEST[..REQUEST.len() / 2];
    let long = [REQUEST, REQUEST].concat();
    let many = vec![fd; 40];
    let questions: [(&[u8], &[BorrowedFd<'_>]); 5] = [
        (half, &[fd]),
        (&long, &[fd]),
        (REQUEST, &[]),
        (REQUEST, &[fd, fd]),
        (REQUEST, &many),
    ];
    for (text, descriptors) in questions {
        let socket = connected(&running);
        send(&socket, text, descriptors);
        assert_eq!(answer(&socket), Answer::Refused(Refusal::BadRequest));
    }
    drop(connected(&running));
    ask(&running.path, fd, PATIENCE).unwrap();
}

#[test]
fn a_silent_client_is_dropped_and_hurts_nobody() {
    let limits = Limits {
        deadline: Duration::from_millis(300),
        ..Limits::default()
    };
    let Some(running) = start(Nature::Memory, limits) else {
        return;
    };
    let silent = connected(&running);
    ask(&running.path, memory(), PATIENCE).unwrap();
    assert_eq!(answer(&silent), Answer::Refused(Refusal::TooSlow));
}

#[test]
fn an_exporter_that_blocks_in_mmap_hurts_only_who_asked() {
    let limits = Limits {
        per_user: 3,
        deadline: Duration::from_millis(400),
        ..Limits::default()
    };
    let Some(running) = start(Nature::Stuck, limits) else {
        return;
    };
    // All of one user's places are taken by buffers whose exporter never comes back.
    let stuck: Vec<OwnedFd> = (0..3).map(|_| connected(&running)).collect();
    let memory = memory();
    for socket in &stuck {
        send(socket, REQUEST, &[memory.as_fd()]);
    }
    let started = Instant::now();
    let fourth = connected(&running);
    assert_eq!(answer(&fourth), Answer::Refused(Refusal::TooMany));
    assert!(
        started.elapsed() < limits.deadline,
        "the loop itself waits for nobody"
    );
    for socket in &stuck {
        assert_eq!(answer(socket), Answer::Refused(Refusal::TooSlow));
    }
    // Then they are killed, and there is room again.
    let end = Instant::now() + PATIENCE;
    loop {
        let again = connected(&running);
        send(&again, REQUEST, &[memory.as_fd()]);
        match answer(&again) {
            Answer::Refused(Refusal::TooSlow) => break,
            Answer::Refused(Refusal::TooMany) => {}
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < end, "their places are never free");
    }
}

#[test]
fn the_callers_own_child_is_killed_when_it_never_comes_back() {
    use crate::sys::child::Child;
    let memory = memory();
    let mut child = Child::touching(memory.as_fd(), Nature::Stuck.whole()).unwrap();
    let pid = child.pid();
    let started = Instant::now();
    let error = child.wait(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    drop(child);
    assert!(started.elapsed() < PATIENCE);
    let gone = !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(gone, "process {pid} is left");
}

#[test]
fn a_flood_is_bounded_and_ends() {
    let limits = Limits {
        clients: 6,
        per_user: 3,
        deadline: Duration::from_millis(500),
    };
    let Some(running) = start(Nature::Memory, limits) else {
        return;
    };
    let flood: Vec<OwnedFd> = (0..20).map(|_| connected(&running)).collect();
    let answers: Vec<Answer> = flood.iter().map(answer).collect();
    let count = |refusal| {
        let wanted = Answer::Refused(refusal);
        answers.iter().filter(|&answer| *answer == wanted).count()
    };
    assert_eq!(count(Refusal::TooMany) + count(Refusal::TooSlow), 20);
    assert!(count(Refusal::TooMany) > 0 && count(Refusal::TooSlow) >= 3);
    // Afterwards there is room again.
    let end = Instant::now() + PATIENCE;
    while let Err(error) = ask(&running.path, memory(), PATIENCE) {
        assert!(matches!(error, Error::Broker(Refusal::TooMany)), "{error}");
        assert!(Instant::now() < end, "the flood never ended");
    }
}

#[test]
fn a_refusal_that_comes_before_the_question_is_heard() {
    let name = format!("landbridge-hasty-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = listen(&path).unwrap();
    rustix::io::ioctl_fionbio(&listener, false).unwrap();
    let hasty = std::thread::spawn(move || {
        for _ in 0..100 {
            let client = rustix::net::accept(&listener).unwrap();
            let refusal = serde_json::to_vec(&Answer::Refused(Refusal::TooMany)).unwrap();
            rustix::net::send(&client, &refusal, SendFlags::NOSIGNAL).unwrap();
        }
    });
    for _ in 0..100 {
        let error = ask(&path, memory(), PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Broker(Refusal::TooMany)), "{error}");
    }
    hasty.join().unwrap();
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_broker_that_is_not_there_is_an_error_in_time() {
    let nowhere = std::env::temp_dir().join("landbridge-no-broker");
    let error = ask(&nowhere, memory(), PATIENCE).unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error}");
}

#[test]
fn a_broker_that_never_answers_costs_the_time_limit() {
    let name = format!("landbridge-mute-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _mute = listen(&path).unwrap();
    let error = ask(&path, memory(), Duration::from_millis(50)).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[test]
fn a_dead_socket_is_replaced_a_live_one_is_not() {
    let name = format!("landbridge-socket-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let first = listen(&path).unwrap();
    assert!(listen(&path).is_err(), "somebody listens");
    drop(first);
    let second = listen(&path);
    fs::remove_file(&path).unwrap();
    assert!(second.is_ok(), "nobody listens any more");
}
