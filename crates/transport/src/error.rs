//! What can go wrong between a device and a driver, and whose fault it is.

use std::io;

/// What can go wrong between a device and a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine refused something: a socket, a thread, memory.
    #[error("the host could not {call}")]
    Host {
        /// What was tried.
        call: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A VMM is connected already: a device serves one at a time.
    #[error("a VMM is connected already")]
    Busy,
    /// This machine refused memory or a mapping.
    #[error(transparent)]
    Memory(#[from] landbridge_dmabuf::Error),
    /// The VMM broke the vhost-user protocol; the connection is over.
    #[error("the VMM broke the protocol: {reason}")]
    Vmm {
        /// How.
        reason: String,
    },
    /// The device (or the backend in front of it) broke the protocol, as seen
    /// by the embedded guest.
    #[error("the device did not {call}: {reason}")]
    Device {
        /// What it was asked.
        call: &'static str,
        /// How it failed.
        reason: String,
    },
    /// The device said no to a command of the embedded guest.
    #[error("the device refused {command:?}")]
    Refused {
        /// The command.
        command: landbridge_protocol_gpu::CommandKind,
        /// Its answer.
        #[source]
        code: landbridge_protocol_gpu::ErrorCode,
    },
    /// The device did not answer in time; it may still.
    #[error("the device did not answer in time")]
    Timeout,
    /// The connection ended before the device answered.
    #[error("the device was reset or disconnected before it answered")]
    Ended,
    /// The embedded guest has no room left for what its program asks for.
    #[error("the guest has no {what} for {asked} more")]
    GuestFull {
        /// Of what: pages, descriptors, window.
        what: &'static str,
        /// How much was asked for, in the unit of `what`.
        asked: u64,
    },
    /// The embedded guest's program reached past the end of something. All in
    /// bytes.
    #[error("{len:#x} bytes at {offset:#x} are outside {what}")]
    OutOfBounds {
        /// What was to be reached.
        what: &'static str,
        /// Where.
        offset: u64,
        /// How much.
        len: u64,
    },
}

impl Error {
    pub(crate) fn host(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Host {
            call,
            source: source.into(),
        }
    }

    pub(crate) fn device(call: &'static str, reason: impl ToString) -> Self {
        Self::Device {
            call,
            reason: reason.to_string(),
        }
    }
}

/// The result of every fallible function in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
