//! Between a device and the channel on which it asks its VMM for something: asks
//! for maps only while the VMM runs the device.
//!
//! QEMU 11.1 forgets whose backend it has when it stops a device
//! (`vhost_dev_stop` sets `vdev` of its `vhost_dev` to NULL), and follows that
//! pointer when it is asked to map or unmap
//! (`vhost_user_backend_handle_shmem_map`). So a request that was sent before a
//! stop and is read after it is QEMU's end, and what was sent can't be taken back.
//!
//! But it can be sent by halves. QEMU takes up requests and stops devices under
//! one lock, and waits for the rest of a request that it has begun to read while
//! it holds it. So the first byte is sent alone. Once it has been read, nothing is
//! stopped or started until the rest is there, and a stop that was before has been
//! announced to us. If there was one, the rest makes it a request that no VMM
//! knows: QEMU says so in its log, answers, and goes on.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::message::Message;
use crate::asserted;

/// `VHOST_USER_BACKEND_SHMEM_MAP`, `_SHMEM_UNMAP`.
const SHMEM_MAP: u32 = 9;
const SHMEM_UNMAP: u32 = 10;

/// How long to wait before looking again whether the VMM has read something: at
/// first, and at last, since one that is busy may not read for long.
const PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// How often the VMM has started and stopped the device: odd while it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs(Arc<AtomicU64>);

impl Runs {
    /// The VMM starts the device, or is doing so.
    pub(super) fn start(&self) {
        // Only the thread that passes the VMM's messages on changes it.
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    /// The VMM stops the device, or is doing so.
    pub(super) fn stop(&self) {
        if self.current().is_some() {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The run that is on.
    fn current(&self) -> Option<u64> {
        let now = self.0.load(Ordering::Acquire);
        (now % 2 == 1).then_some(now)
    }
}

/// Passes requests on to the VMM, one after another, and its answers back, until
/// either side hangs up.
pub(super) fn relay(device: &UnixStream, vmm: &UnixStream, runs: &Runs) -> io::Result<()> {
    let end = requests(device, vmm, runs);
    let _ = device.shutdown(Shutdown::Both);
    let _ = vmm.shutdown(Shutdown::Both);
    end
}

fn requests(device: &UnixStream, vmm: &UnixStream, runs: &Runs) -> io::Result<()> {
    loop {
        let request = Message::read(device)?;
        if !request.is_whole() {
            return Ok(());
        }
        let is_for_a_run = matches!(request.request(), Some(SHMEM_MAP | SHMEM_UNMAP));
        let sent = match (is_for_a_run, runs.current()) {
            (false, _) => request.send(vmm).map(|()| true)?,
            (true, Some(run)) => send_in(run, &request, vmm, runs)?,
            (true, None) => false,
        };
        let (waits, refusal) = (request.wants_answer(), request.answer(1));
        // With its descriptor: whoever has the answer may count on that nobody
        // here has one.
        drop(request);
        if sent && waits {
            let answer = Message::read(vmm)?;
            if !answer.is_whole() {
                return Ok(());
            }
            answer.send(device)?;
        } else if let (false, Some(refusal)) = (sent, refusal) {
            tracing::debug!("a request that came too late was kept from the VMM");
            (&*device).write_all(&refusal)?;
        }
    }
}

/// Sends a request if the VMM reads it in this run. Returns whether it did.
fn send_in(run: u64, request: &Message, vmm: &UnixStream, runs: &Runs) -> io::Result<bool> {
    let rest = request.begin(vmm)?;
    let mut pause = PAUSE;
    while asserted::unread(vmm)? > 0 {
        std::thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    let in_time = runs.current() == Some(run);
    if in_time {
        (&*vmm).write_all(rest)?;
    } else {
        (&*vmm).write_all(&request.nonsense())?;
        Message::read(vmm)?;
    }
    Ok(in_time)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread::JoinHandle;

    use super::*;

    const NEED_REPLY: u32 = 1 << 3;
    const REMOVE: u32 = 7;

    /// A relay between the two that are given back: the device, the VMM.
    fn relaying(runs: &Runs) -> (UnixStream, UnixStream, JoinHandle<()>) {
        let (device, near) = UnixStream::pair().unwrap();
        let (far, vmm) = UnixStream::pair().unwrap();
        let runs = runs.clone();
        let relay = std::thread::spawn(move || relay(&near, &far, &runs).unwrap());
        (device, vmm, relay)
    }

    fn ask(device: &UnixStream, request: u32) {
        let message = Message::new(request, NEED_REPLY, &[5; 40]);
        message.send(device).unwrap();
    }

    fn answer(message: &Message, code: u64, vmm: &UnixStream) {
        (&*vmm).write_all(&message.answer(code).unwrap()).unwrap();
    }

    fn code(device: &UnixStream) -> u64 {
        let answer = Message::read(device).unwrap();
        u64::from_ne_bytes(answer.payload().try_into().unwrap())
    }

    /// Waits until one byte has come, and reads nothing.
    fn one_byte_comes(vmm: &UnixStream) {
        let mut bytes = [0; 64];
        let peek = rustix::net::RecvFlags::PEEK;
        let (got, _) = rustix::net::recv(vmm, &mut bytes, peek).unwrap();
        assert_eq!(got, 1, "no more than a byte before that was read");
    }

    #[test]
    fn a_request_in_a_run_arrives_whole_and_is_answered() {
        let runs = Runs::default();
        runs.start();
        let (device, vmm, relay) = relaying(&runs);
        for request in [SHMEM_MAP, SHMEM_UNMAP, REMOVE] {
            ask(&device, request);
            let came = Message::read(&vmm).unwrap();
            assert_eq!(came.request(), Some(request));
            assert_eq!(came.payload(), [5; 40]);
            answer(&came, 7, &vmm);
            assert_eq!(code(&device), 7);
        }
        drop(device);
        relay.join().unwrap();
    }

    #[test]
    fn a_request_that_is_read_after_a_stop_asks_for_nothing() {
        for starts_again in [false, true] {
            let runs = Runs::default();
            runs.start();
            let (device, vmm, _relay) = relaying(&runs);
            ask(&device, SHMEM_MAP);
            one_byte_comes(&vmm);
            runs.stop();
            runs.stop();
            if starts_again {
                runs.start();
            }
            let came = Message::read(&vmm).unwrap();
            assert_eq!(came.request(), Some(SHMEM_MAP | 1 << 16));
            assert_eq!(came.payload(), []);
            answer(&came, 1, &vmm);
            assert_eq!(code(&device), 1, "the device is told no");
        }
    }

    #[test]
    fn a_vmm_that_goes_without_an_answer_is_gone() {
        let runs = Runs::default();
        runs.start();
        for request in [SHMEM_MAP, REMOVE] {
            let (device, vmm, relay) = relaying(&runs);
            ask(&device, request);
            Message::read(&vmm).unwrap();
            drop(vmm);
            assert!(!Message::read(&device).unwrap().is_whole());
            relay.join().unwrap();
        }
    }

    #[test]
    fn a_stopped_device_asks_for_no_map() {
        let runs = Runs::default();
        let (device, vmm, _relay) = relaying(&runs);
        ask(&device, SHMEM_UNMAP);
        assert_eq!(code(&device), 1);
        vmm.set_nonblocking(true).unwrap();
        let nothing = (&vmm).read(&mut [0; 1]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        vmm.set_nonblocking(false).unwrap();
        ask(&device, REMOVE);
        let came = Message::read(&vmm).unwrap();
        assert_eq!(came.request(), Some(REMOVE));
    }
}
