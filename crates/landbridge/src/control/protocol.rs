//! What goes over the control socket. docs/control-protocol.md is the
//! reference; the names here are those on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::serve::settings::CachingName;

/// The protocol's version. Fields and commands may be added within a version;
/// whatever an older client relied on stays.
pub const VERSION: u32 = 1;

/// The longest request in bytes.
pub const LONGEST_REQUEST: usize = 4096;

/// The longest answer in bytes that our client takes.
pub const LONGEST_ANSWER: usize = 64 << 20;

/// The first line that a server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Who is there.
    pub landbridge: About,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The protocol's version.
    pub protocol: u32,
    /// The program's version.
    pub version: String,
}

impl About {
    /// This program.
    pub fn this() -> Self {
        Self {
            protocol: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Which command.
    pub command: String,
    /// What it needs: an object.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
}

/// The arguments of `screenshot`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenshotArguments {
    /// Which device, by its number in the status.
    #[serde(default)]
    pub device: usize,
    /// Which of its outputs.
    #[serde(default)]
    pub output: u32,
}

/// The result of `screenshot`. The picture is a file whose descriptor comes
/// with the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenshotResult {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The file's format: "png".
    pub format: String,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// The arguments of `share`. The memory's descriptor comes with the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareArguments {
    /// Which device, by its number in the status.
    #[serde(default)]
    pub device: usize,
    /// The number by which the guest asks for it: not 0. Where none is asked
    /// for, it gets the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_id: Option<u64>,
    /// Its UUID; where none is asked for, it gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How it is cached, in the word of whoever shares it: for memory of which
    /// nobody knows exactly. What contradicts better knowledge is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caching: Option<CachingName>,
    /// The driver behind an exporter that the kernel calls "drm".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// Which share `unshare` ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnshareArguments {
    /// The device.
    #[serde(default)]
    pub device: usize,
    /// The number there.
    pub blob_id: u64,
}

/// The result of `unshare`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnshareResult {
    /// Whether somebody still uses the buffer; the guest keeps what it has made
    /// of it.
    pub in_use: bool,
}

/// Which buffer `revoke` and `restore` are for: by one of its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferArguments {
    /// Its number in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<u64>,
    /// Its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How long it may take, in milliseconds.
    #[serde(default = "a_second")]
    pub deadline_ms: u64,
}

fn a_second() -> u64 {
    1000
}

/// The result of `revoke`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeResult {
    /// The buffer's number.
    pub buffer: u64,
    /// It was revoked before.
    pub already: bool,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Work that did not end in time: who did it was cut off.
    pub cut_off: Option<String>,
}

/// The result of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreResult {
    /// The buffer's number.
    pub buffer: u64,
    /// What its memory does now: "live".
    pub life: String,
}

/// The result of `events`. Lines with events follow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsResult {
    /// Always true.
    pub following: bool,
}

/// A line that follows the answer to `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventLine {
    /// Something happened.
    Event(EventStatus),
    /// So many events came faster than they were read.
    Missed(u64),
}

/// What happened to a buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Events are numbered in the order that they happened.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The buffer's number.
    pub buffer: u64,
    /// Its UUID, if it had one.
    pub uuid: Option<String>,
    /// What: "attached", "revoked", "cut-off".
    pub name: String,
    /// The importer that it is about, if it is about one.
    pub importer: Option<String>,
    /// The same in words.
    pub text: String,
}

/// One answer: a result or an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line is no request; the connection ends.
    BadRequest,
    /// There is no such command.
    UnknownCommand,
    /// The command does not take these arguments.
    BadArguments,
    /// There is no such device.
    NoSuchDevice,
    /// The device has no such output.
    NoSuchOutput,
    /// The output shows nothing.
    NothingShown,
    /// The memory can't be shared, or not in this way.
    NotShareable,
    /// Another buffer has the number or the UUID.
    Taken,
    /// Nothing is shared under this number.
    NoSuchShare,
    /// There is no such buffer.
    NoSuchBuffer,
    /// Its exporter has promised not to take the memory away.
    NotRevocable,
    /// The memory is gone for good.
    Gone,
    /// The program could not do it.
    Failed,
    /// Another user's process; the connection ends.
    Forbidden,
    /// As many clients as allowed are connected; the connection ends.
    TooManyClients,
    /// A code of a later version.
    #[serde(other)]
    Other,
}
