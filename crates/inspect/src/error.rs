//! What can go wrong, and whose fault it is.

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;
use serde::Serialize;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's type information is damaged or of an unknown form (host).
    #[error("BTF: {what} at byte {offset}")]
    BtfMalformed {
        /// What is wrong.
        what: &'static str,
        /// Where, from the start of the data.
        offset: usize,
    },
    /// The running kernel has no such type, member or function (host).
    #[error("this kernel's BTF has no {what}")]
    BtfMissing {
        /// The name that was looked for.
        what: String,
    },
    /// The type exists but can't be used as the program needs it (host).
    #[error("BTF: {what} is not usable: {why}")]
    BtfUnusable {
        /// The member or type.
        what: String,
        /// Why it was refused.
        why: &'static str,
    },
    /// A program could not be assembled (a bug here, or offsets that no kernel has).
    #[error("assembling a BPF program: {what}")]
    Assembly {
        /// What could not be encoded.
        what: String,
    },
    /// This way of knowing is not available here; the reason says why.
    #[error("{strength} not available: {reason}")]
    Unavailable {
        /// Which way.
        strength: Strength,
        /// Why not.
        reason: Reason,
    },
    /// A system call failed (host).
    #[error("{call}: {errno}")]
    System {
        /// The call, and on what.
        call: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel answered in a form that this crate does not know (host).
    #[error("an answer that makes no sense: {what}")]
    Record {
        /// What was wrong with it.
        what: &'static str,
    },
    /// The descriptor is no dma-buf (caller).
    #[error("the descriptor is not a dma-buf")]
    NotDmaBuf,
    /// The exporter refused to map the buffer; its own error, unchanged.
    #[error("the exporter refuses mmap: {0}")]
    Mmap(Errno),
    /// The exporter failed to begin or end CPU access; its own error, unchanged.
    #[error("the exporter refuses CPU access: {0}")]
    CpuAccess(Errno),
    /// Touching the mapping killed the sacrificial child (exporter).
    #[error("touching the mapping raised signal {signal}")]
    Touch {
        /// The signal's number, SIGBUS as a rule.
        signal: i32,
    },
    /// The exporter, a process or the broker did not answer in time; a retry can help.
    #[error("no answer within {} ms", .limit.as_millis())]
    Timeout {
        /// The time that was allowed.
        limit: Duration,
    },
    /// The mapping's lock was contended all the time; a retry can help.
    #[error("the address space of process {pid} is busy")]
    Busy {
        /// The process (0: the caller).
        pid: u32,
    },
    /// No such process (caller).
    #[error("no process {pid}")]
    NoProcess {
        /// The process.
        pid: u32,
    },
    /// Nothing is mapped there (caller).
    #[error("process {pid} has no mapping at {address:#x}")]
    NoMapping {
        /// The process (0: the caller).
        pid: u32,
        /// The address asked for.
        address: u64,
    },
    /// Nobody could tell the caching; each way says why.
    #[error(
        "the caching of {} is unknown ({})",
        .exporter.as_deref().unwrap_or("this mapping"),
        Joined(.tried)
    )]
    Unknown {
        /// The exporter's name as the kernel gives it, if it gave one.
        exporter: Option<String>,
        /// What was tried, and why it did not answer.
        tried: Vec<(Strength, Reason)>,
    },
    /// The broker answered with an error of its own (peer).
    #[error("the broker refused: {0}")]
    Broker(crate::broker::Refusal),
    /// The broker broke the protocol (peer).
    #[error("the broker's answer is not understood: {what}")]
    BrokerProtocol {
        /// What was wrong.
        what: &'static str,
    },
}

impl Error {
    pub(crate) fn system(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::System { call, errno }
    }

    pub(crate) fn io(call: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System {
            call,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        }
    }

    /// Why a strength is missing, for an error met while preparing it.
    pub(crate) fn into_reason(self) -> Reason {
        match self {
            Self::Unavailable { reason, .. } => reason,
            Self::BtfMissing { what } => Reason::NotInKernel { what },
            other => Reason::Failed {
                what: other.to_string(),
            },
        }
    }
}

/// The error number that another process stated, whatever it stated.
pub(crate) fn errno_of(stated: i32) -> Errno {
    match stated {
        1..4096 => Errno::from_raw_os_error(stated),
        _ => Errno::IO,
    }
}

/// A way of knowing something, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// The ioctl proposed in 2022, on a kernel that has it.
    KernelIoctl,
    /// The page table of the mapping.
    Pte,
    /// The mapping's `vm_page_prot`.
    Vma,
    /// What is written down about the exporter.
    Rule,
    /// One mapping by one system call; without it, all of a process's are listed.
    Query,
    /// The kernel's list of all dma-bufs.
    BufferList,
    /// The devices attached to each dma-buf.
    Importers,
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KernelIoctl => "the dma-buf info ioctl",
            Self::Pte => "the page table",
            Self::Vma => "the mapping's protection",
            Self::Rule => "rules by exporter",
            Self::Query => "the query of one mapping",
            Self::BufferList => "the kernel's list of dma-bufs",
            Self::Importers => "the list of importers",
        })
    }
}

/// Why a way of knowing is not available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Reason {
    /// The process may not load BPF programs.
    #[error("needs {needs}")]
    NoCapability {
        /// The capabilities that are missing.
        needs: &'static str,
    },
    /// The kernel is locked down to confidentiality: BPF may not read kernel memory.
    #[error("kernel lockdown (confidentiality) forbids reading kernel memory")]
    Lockdown,
    /// `/sys/kernel/btf/vmlinux` can't be read.
    #[error("no BTF of the running kernel ({errno})")]
    NoBtf {
        /// Why it can't be read.
        errno: String,
    },
    /// The kernel is too old or built without it.
    #[error("this kernel has no {what}")]
    NotInKernel {
        /// The function, type or member that is missing.
        what: String,
    },
    /// BPF's just-in-time compiler is off, which kernel function calls need.
    #[error("BPF's JIT is off (net.core.bpf_jit_enable = 0)")]
    JitOff,
    /// The kernel was built without bpf(2), or a filter hides it.
    #[error("no bpf(2) system call")]
    NoBpf,
    /// Not written for this processor.
    #[error("not implemented for this processor")]
    Architecture,
    /// The page table could not be confirmed against memory of our own.
    #[error("the kernel's direct map could not be confirmed")]
    Unconfirmed,
    /// Turned off by the caller.
    #[error("not asked for")]
    NotConfigured,
    /// The page has no page-table entry, or one that is not in memory.
    #[error("no page is present there")]
    NotPresent,
    /// Nothing is written down about this exporter.
    #[error("no rule for this exporter")]
    NoRule,
    /// The mapping's protection is no answer: this exporter may set the caching page by
    /// page, and no page table could be read.
    #[error("this exporter may cache each page its own way")]
    PageByPage,
    /// The kernel does not offer it for this buffer.
    #[error("not supported: {errno}")]
    NotSupported {
        /// The kernel's answer.
        errno: String,
    },
    /// The kernel or the verifier refused, in its own words.
    #[error("{what}")]
    Failed {
        /// The end of what it said.
        what: String,
    },
}

struct Joined<'a>(&'a [(Strength, Reason)]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (strength, reason)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{strength}: {reason}")?;
        }
        Ok(())
    }
}
