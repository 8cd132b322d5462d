//! The program under test, in a directory of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use landbridge::control::Client;
use landbridge::control::status::Status;
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command as GpuCommand, ControlHeader, ResourceMapBlob,
};
use landbridge_transport::EmbeddedGuest;
use landbridge_transport::guest::Config;
use landbridge_transport::guest::gpu::{Blob, Gpu, InProgress, NewBlob, Resource};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Longer than anything here takes; only a failure waits for it.
const LONG: Duration = Duration::from_secs(60);

/// The program's own command.
pub(crate) fn landbridge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_landbridge"))
}

/// Waits until `done` gives something.
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A blob of host memory that can be mapped and has a UUID.
pub(crate) fn shared_blob(gpu: &Gpu, ctx_id: u32, size: u64) -> landbridge_transport::Result<Blob> {
    gpu.create_blob(&NewBlob {
        mem: BlobMem::Host3d,
        flags: BlobFlags::MAPPABLE | BlobFlags::SHAREABLE | BlobFlags::CROSS_DEVICE,
        blob_id: 0,
        size,
        ctx_id,
        backing: None,
    })
}

/// Asks for a blob to be mapped and does not wait for it.
pub(crate) fn begin_map<'a>(gpu: &'a Gpu, blob: &Blob) -> InProgress<'a> {
    let map = ResourceMapBlob {
        resource_id: blob.id(),
        offset: 1 << 20,
    };
    gpu.begin(
        ControlHeader::default(),
        &GpuCommand::ResourceMapBlob(map),
        64,
    )
    .unwrap()
}

/// A running `landbridge serve`. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    dir: Arc<tempfile::TempDir>,
    notices: UnixDatagram,
}

impl Daemon {
    /// With this many GPUs, gpu0.sock and so on, and control.sock.
    pub(crate) fn start(gpus: usize) -> Self {
        Self::start_in(&Arc::new(tempfile::tempdir().unwrap()), gpus, &[])
    }

    /// The same, in a directory that may have been used before.
    pub(crate) fn start_in(dir: &Arc<tempfile::TempDir>, gpus: usize, more: &[&str]) -> Self {
        let mut command = landbridge();
        command
            .arg("serve")
            .args(["--control", "control.sock"])
            .args(more);
        for gpu in 0..gpus {
            command.args(["--gpu", &format!("gpu{gpu}.sock")]);
        }
        Self::run(dir, command)
    }

    /// Any command that ends as `landbridge serve`; waits until it is ready.
    pub(crate) fn run(dir: &Arc<tempfile::TempDir>, command: Command) -> Self {
        let log = File::create(dir.path().join("log")).unwrap();
        Self::run_logging_to(dir, command, log)
    }

    /// The same, with another place for its log.
    pub(crate) fn run_logging_to(
        dir: &Arc<tempfile::TempDir>,
        mut command: Command,
        log: File,
    ) -> Self {
        let path = dir.path().join("notify.sock");
        let _ = std::fs::remove_file(&path);
        let notified = UnixDatagram::bind(&path).unwrap();
        notified.set_nonblocking(true).unwrap();
        let child = command
            .current_dir(dir.path())
            .env("NOTIFY_SOCKET", &path)
            .env_remove("LANDBRIDGE_LOG")
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            dir: Arc::clone(dir),
            notices: notified,
        };
        let mut notice = [0; 256];
        let len = eventually("ready", || {
            let ended = daemon.child.try_wait().unwrap();
            assert_eq!(ended, None, "it ended before it was ready");
            daemon.notices.recv(&mut notice).ok()
        });
        assert_eq!(&notice[..len], b"READY=1\n");
        daemon
    }

    pub(crate) fn dir(&self) -> &Arc<tempfile::TempDir> {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A connection to GPU number `gpu`.
    pub(crate) fn connect(&self, gpu: usize) -> UnixStream {
        UnixStream::connect(self.path(&format!("gpu{gpu}.sock"))).unwrap()
    }

    /// The same, unless too many others wait for it.
    pub(crate) fn try_connect(&self, gpu: usize) -> io::Result<UnixStream> {
        let kind = (
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
        );
        let socket = socket_with(kind.0, kind.1, kind.2, None)?;
        let address = SocketAddrUnix::new(self.path(&format!("gpu{gpu}.sock")))?;
        connect(&socket, &address)?;
        Ok(socket.into())
    }

    /// A guest with GPU number `gpu`.
    pub(crate) fn guest(&self, gpu: usize) -> Gpu {
        let guest = EmbeddedGuest::attach(self.connect(gpu), Config::default()).unwrap();
        Gpu::open(Arc::new(guest))
    }

    pub(crate) fn status(&self) -> Status {
        let mut client = Client::connect(&self.path("control.sock")).unwrap();
        client.status().unwrap()
    }

    /// `landbridge` with these arguments and --control, in our directory.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = landbridge();
        command.args(arguments).args(["--control", "control.sock"]);
        command.current_dir(self.dir.path()).output().unwrap()
    }

    /// The screenshot as RGBA, and its size.
    pub(crate) fn screenshot(&self, arguments: &[&str]) -> (u32, u32, Vec<u8>) {
        let output = self.ask(&[&["screenshot", "picture.png"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        read_png(&self.path("picture.png"))
    }

    /// What the process has open, counted by kind, once nobody it knows of is
    /// leaving.
    pub(crate) fn descriptors(&self) -> BTreeMap<String, usize> {
        let mut last = self.open_now();
        let mut same = 0;
        while same < 10 {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.open_now();
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }

    fn open_now(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        let fds = format!("/proc/{}/fd", self.child.id());
        for fd in std::fs::read_dir(fds).unwrap() {
            // It may be closed meanwhile.
            let Ok(link) = std::fs::read_link(fd.unwrap().path()) else {
                continue;
            };
            let link = link.to_string_lossy();
            let kind = link.split([':', '[', ' ']).next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        kinds
    }

    /// Waits until device number `gpu` has no VMM and holds nothing.
    pub(crate) fn wait_until_idle(&self, gpu: usize) {
        eventually("the device is idle", || {
            let status = self.status();
            let device = &status.devices[gpu];
            (!device.connected && device.resources.is_empty()).then_some(())
        });
    }

    /// Waits until the descriptors are those of `before`.
    pub(crate) fn wait_for_descriptors(&self, before: &BTreeMap<String, usize>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.open_now() != *before {
            assert!(
                Instant::now() < deadline,
                "descriptors leaked: {before:?} became {:?}",
                self.open_now()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the program ends", || self.child.try_wait().unwrap())
    }

    /// Lets it have this many descriptors.
    pub(crate) fn limit_descriptors(&self, limit: u64) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let limit = rustix::process::Rlimit {
            current: Some(limit),
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        };
        let resource = rustix::process::Resource::Nofile;
        rustix::process::prlimit(Some(pid), resource, limit).unwrap();
    }

    /// Ends it as an operator does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("log"));
            eprintln!("the program's log:\n{}", log.unwrap_or_default());
        }
    }
}

/// Runs `landbridge serve` with these arguments, which it must refuse.
pub(crate) fn refused(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = landbridge();
    command.arg("serve").args(arguments).current_dir(dir);
    refusal(command)
}

/// Runs a command that must fail, and returns its exit status and what it says.
pub(crate) fn refusal(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

fn read_png(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgba);
    (info.width, info.height, pixels)
}
