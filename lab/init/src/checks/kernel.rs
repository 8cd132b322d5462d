//! What the machine's kernel finds wrong with itself while a body runs.
//!
//! The taint bits say that something happened, the log (`/dev/kmsg`,
//! Documentation/ABI/testing/dev-kmsg) says what and in which function. A body
//! can declare warnings that the stock kernel is known to give; everything else
//! fails its scenario.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

/// A warning that a stock kernel gives through no fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownWarning {
    /// The function that warns, as the kernel's log names it.
    pub function: &'static str,
    /// Why it does, and why we can't help it.
    pub reason: &'static str,
}

/// What a kernel warns of whose machine is emulated on a busy one.
pub(super) const SLOW: &[KnownWarning] = &[KnownWarning {
    function: "drm_atomic_helper_wait_for_vblanks",
    reason: "a display's timer came too late, since the emulator got no processor",
}];

/// A warning that the kernel gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    /// The function that warned; empty if the line names none.
    pub(super) function: String,
    /// The log from the warning to its end mark.
    pub(super) text: Vec<String>,
}

/// Bits of /proc/sys/kernel/tainted that say that the kernel found something
/// wrong with itself (Documentation/admin-guide/tainted-kernels.rst): an oops,
/// a soft lockup; and a warning.
const TROUBLE: u64 = 1 << 7 | 1 << 14;
const WARNED: u64 = 1 << 9;

/// A watch over the kernel, from its making on.
#[derive(Debug)]
pub(super) struct Watch {
    taint: u64,
    /// None where the body may not read it.
    log: Option<File>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            taint: taint(),
            log: open_at_end().ok(),
        }
    }

    /// The warnings since, each once, and what else is wrong, in words.
    pub(super) fn end(self) -> (Vec<Warning>, Option<String>) {
        let warnings = warnings(&self.log.map(lines).unwrap_or_default());
        let new = taint() & !self.taint;
        let unexplained = new & TROUBLE != 0 || new & WARNED != 0 && warnings.is_empty();
        (warnings, unexplained.then(|| format!("tainted {new:#x}")))
    }
}

fn taint() -> u64 {
    std::fs::read_to_string("/proc/sys/kernel/tainted")
        .ok()
        .and_then(|bits| bits.trim().parse::<u64>().ok())
        .unwrap_or(0)
}

fn open_at_end() -> std::io::Result<File> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// Every read gives one record: `priority,number,time,flags;message`, and lines
/// that begin with a space.
fn lines(mut log: File) -> Vec<String> {
    let mut lines = Vec::new();
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return lines,
            Ok(len) => {
                let text = String::from_utf8_lossy(&record[..len]);
                let message = text.split_once(';').map_or("", |(_, message)| message);
                lines.extend(message.lines().next().map(str::to_owned));
            }
            // Overwritten by newer ones: the next read goes on with those.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => return lines,
        }
    }
}

fn warnings(log: &[String]) -> Vec<Warning> {
    let mut found: Vec<Warning> = Vec::new();
    let mut lines = log.iter();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("WARNING: ") else {
            continue;
        };
        let warning = Warning {
            function: function(rest).to_owned(),
            text: std::iter::once(line)
                .chain(
                    lines
                        .by_ref()
                        .take_while(|line| !line.starts_with("---[ end trace")),
                )
                .cloned()
                .collect(),
        };
        if found.iter().all(|known| known.function != warning.function) {
            found.push(warning);
        }
    }
    found
}

/// `drivers/gpu/drm/virtio/virtgpu_vq.c:316 at do_it+0x1f/0x30 [virtio_gpu], CPU#1: sh/98`,
/// in older kernels `CPU: 1 PID: 98 at drivers/…/virtgpu_vq.c:316 do_it+0x1f/0x30`.
/// What a compiler split off has a suffix: `do_it.part.0`.
fn function(warning: &str) -> &str {
    warning
        .split_whitespace()
        .find_map(|word| word.split_once("+0x"))
        .map_or("", |(function, _)| {
            function.split('.').next().unwrap_or(function)
        })
}

#[cfg(test)]
mod tests {
    use super::{function, warnings};

    #[test]
    fn the_function_that_warns_is_found_in_old_and_new_logs() {
        for line in [
            "drivers/gpu/drm/virtio/vq.c:316 at do_it+0x1f/0x30 [virtio_gpu], CPU#1: sh/98",
            "CPU: 1 PID: 98 at drivers/gpu/drm/virtio/vq.c:316 do_it+0x1f/0x30 [virtio_gpu]",
            "drivers/gpu/drm/virtio/vq.c:316 at do_it.part.0+0x1f/0x30, CPU#1: sh/98",
        ] {
            assert_eq!(function(line), "do_it");
        }
        assert_eq!(function("something odd"), "");
    }

    #[test]
    fn each_warning_comes_once_with_its_text() {
        let log = [
            "usual",
            "WARNING: a.c:1 at one+0x1/0x2",
            "more of one",
            "---[ end trace 0 ]---",
            "usual",
            "WARNING: a.c:1 at one+0x1/0x2",
            "---[ end trace 0 ]---",
            "WARNING: b.c:1 at two+0x1/0x2",
        ]
        .map(str::to_owned);
        let found = warnings(&log);
        let functions: Vec<_> = found.iter().map(|it| it.function.as_str()).collect();
        assert_eq!(functions, ["one", "two"]);
        assert_eq!(found[0].text, log[1..3]);
    }
}
