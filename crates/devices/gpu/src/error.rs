//! Why a command was refused, whose fault that is, and what the guest is told.
//!
//! The guest gets one of six codes (`enum virtio_gpu_ctrl_type`, `RESP_ERR_*`);
//! the log gets the sentence.

use std::time::Duration;

use landbridge_exchange as exchange;
use landbridge_exchange::error::Fault;
use landbridge_exchange::importers::window::WindowError;
use landbridge_protocol_gpu::{CommandKind, ErrorCode, Features, ParseError};

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no command.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The command belongs on the other queue.
    #[error("{command:?} does not belong on queue {queue}")]
    WrongQueue {
        /// The command.
        command: CommandKind,
        /// The queue that it came on.
        queue: usize,
    },
    /// The command needs features that the driver did not accept.
    #[error("{command:?} needs {features:?}, which was not negotiated")]
    NotNegotiated {
        /// The command.
        command: CommandKind,
        /// What it needs.
        features: Features,
    },
    /// There is no such scanout.
    #[error("there is no scanout {id}: the device has {count}")]
    NoScanout {
        /// The scanout.
        id: u32,
        /// How many there are.
        count: usize,
    },
    /// There is no such resource.
    #[error("there is no resource {0}")]
    NoResource(u32),
    /// The id can't name a new resource: it is 0 or taken.
    #[error("resource id {0} is reserved or taken")]
    ResourceTaken(u32),
    /// There is no such context.
    #[error("there is no context {0}")]
    NoContext(u32),
    /// The id can't name a new context: it is 0 or taken.
    #[error("context id {0} is reserved or taken")]
    ContextTaken(u32),
    /// A field has a value that can't be.
    #[error("{what} can't be {value:#x}")]
    Field {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Something reaches past the end of something else.
    #[error("{what} does not lie within {within:#x} bytes")]
    Outside {
        /// What reaches too far.
        what: &'static str,
        /// How much there is.
        within: u64,
    },
    /// A rectangle is empty, wraps, or does not lie within its picture.
    #[error("the rectangle does not lie within {width}x{height} pixels")]
    Rectangle {
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The command does not fit this kind of resource, or the use that the
    /// driver declared when it made it.
    #[error("resource {resource}: {reason}")]
    Unfit {
        /// The resource.
        resource: u32,
        /// Why not.
        reason: &'static str,
    },
    /// The resource has guest memory already.
    #[error("resource {0} has backing")]
    Backed(u32),
    /// The resource has no guest memory.
    #[error("resource {0} has no backing")]
    NotBacked(u32),
    /// The guest reached a bound of the device.
    #[error("{what}: at most {limit}")]
    Bound {
        /// What there would be too many of.
        what: &'static str,
        /// How many may be.
        limit: usize,
    },
    /// Other users of the buffer did not end in time.
    #[error("waited {limit:?} for {waiting_for}")]
    Stuck {
        /// How long the command waited.
        limit: Duration,
        /// What it waited for.
        waiting_for: String,
    },
    /// The device renders nothing.
    #[error("{0:?} needs a renderer, and this device has none")]
    NoRenderer(CommandKind),
    /// The device was reset while the command ran.
    #[error("the device was reset meanwhile")]
    Reset,
    /// The exchange refused.
    #[error(transparent)]
    Exchange(#[from] exchange::Error),
}

impl Error {
    /// What the guest is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Parse(error) => error.code(),
            Self::NoScanout { .. } => ErrorCode::InvalidScanoutId,
            Self::NoResource(_) | Self::ResourceTaken(_) => ErrorCode::InvalidResourceId,
            Self::NoContext(_) | Self::ContextTaken(_) => ErrorCode::InvalidContextId,
            Self::Field { .. }
            | Self::Outside { .. }
            | Self::Rectangle { .. }
            | Self::Unfit { .. } => ErrorCode::InvalidParameter,
            Self::Bound { .. } => ErrorCode::OutOfMemory,
            Self::Exchange(error) => exchange_code(error),
            Self::WrongQueue { .. }
            | Self::NotNegotiated { .. }
            | Self::Backed(_)
            | Self::NotBacked(_)
            | Self::Stuck { .. }
            | Self::NoRenderer(_)
            | Self::Reset => ErrorCode::Unspecified,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Exchange(error) => error.fault(),
            Self::Stuck { .. } => Fault::Peer,
            Self::NoRenderer(_) | Self::Reset => Fault::Host,
            _ => Fault::Asker,
        }
    }
}

fn exchange_code(error: &exchange::Error) -> ErrorCode {
    use exchange::Error as Exchange;
    match error {
        Exchange::Refused(_) | Exchange::Export { .. } => ErrorCode::InvalidParameter,
        Exchange::OverLimit(_) => ErrorCode::OutOfMemory,
        Exchange::Window(WindowError::Mapper(_) | WindowError::Reset { .. }) => {
            ErrorCode::Unspecified
        }
        Exchange::Window(WindowError::TooMany) => ErrorCode::OutOfMemory,
        Exchange::Window(_) => ErrorCode::InvalidParameter,
        // No memory, no descriptors, no address space: the host has no room.
        Exchange::Memory(_) if error.fault() == Fault::Host => ErrorCode::OutOfMemory,
        _ => ErrorCode::Unspecified,
    }
}
