//! Looking at a whole machine, against what a program without this crate would do: read
//! bufinfo and the fdinfo of every descriptor of every process.
//!
//! Both look at 10, 1,000 and 10,000 buffers and 500 processes that hold nothing. Where the
//! machine has the system heap the buffers are dma-bufs of it; elsewhere memfds stand in
//! for them, which cost the walks the same and are in no list. Each figure is the median of
//! several looks.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use landbridge_dmabuf::Memfd;
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_inspect::{Config, Inspector, bufinfo, report};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PROCESSES: usize = 500;
const BUFFERS: [usize; 3] = [10, 1_000, 10_000];
const LOOKS: usize = 5;

fn main() {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).expect("the limit of descriptors");
    let _others: Vec<Sleeper> = (0..PROCESSES).map(|_| Sleeper::new()).collect();
    let inspector = Inspector::open(Config::default());
    let heap = Heap::open("system").ok();
    let kind = if heap.is_some() { "dma-bufs" } else { "memfds" };
    println!("| {kind} | inspect all | bufinfo and fdinfo of all | ratio |\n|---|---|---|---|");
    let mut held: Vec<OwnedFd> = Vec::new();
    for count in BUFFERS {
        held.resize_with(count, || buffer(heap.as_ref()));
        let ours = median(|| report::collect(&inspector, None).buffers.len());
        let walk = median(walk);
        let ratio = walk.as_secs_f64() / ours.as_secs_f64();
        println!("| {count} | {ours:.1?} | {walk:.1?} | {ratio:.1} |");
    }
}

fn buffer(heap: Option<&Heap>) -> OwnedFd {
    match heap {
        Some(heap) => heap.allocate(4096).expect("a buffer of the heap").into(),
        None => Memfd::create("bench", 4096, Options::default())
            .expect("a memfd")
            .into(),
    }
}

/// What a script does: the list, and every descriptor's description.
fn walk() -> usize {
    let listed = bufinfo::read().map_or(0, |all| all.len());
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let described = processes
        .filter_map(|entry| fs::read_dir(entry.path().join("fdinfo")).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok());
    listed
        + described
            .filter(|text| text.contains("\nexp_name:"))
            .count()
}

fn median(mut look: impl FnMut() -> usize) -> Duration {
    let mut times: Vec<Duration> = (0..LOOKS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(look());
            start.elapsed()
        })
        .collect();
    times.sort();
    times[LOOKS / 2]
}

/// A process that does nothing until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null());
        Self(command.spawn().expect("a process that sleeps"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
