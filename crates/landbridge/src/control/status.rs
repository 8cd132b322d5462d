//! What `landbridge status` tells. The keys are stable: within a version of
//! the protocol some may come, none goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the program holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// For how many seconds it has been serving.
    pub uptime_seconds: u64,
    /// Bytes of pixels that were ever copied from one place to another.
    pub copied_bytes: u64,
    /// Its devices, by number.
    pub devices: Vec<DeviceStatus>,
    /// The guests that they belong to.
    pub guests: Vec<GuestStatus>,
    /// All living buffers, the oldest first.
    pub buffers: Vec<BufferStatus>,
    /// What was moved.
    #[serde(default)]
    pub moves: MovesStatus,
    /// What the kernel charges the program for device memory, where it does.
    #[serde(default)]
    pub device_memory: Vec<DeviceMemoryStatus>,
    /// Buffers that programs of this host share with guests.
    #[serde(default)]
    pub shares: Vec<ShareStatus>,
    /// Who is asked how buffers are cached: "kernel", "broker:SOCK", "rules".
    #[serde(default)]
    pub caching_from: String,
    /// What the operator takes unknown caching for; absent where such buffers
    /// are refused.
    #[serde(default)]
    pub unknown_caching: Option<String>,
}

/// A buffer that a program of this host shares with a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStatus {
    /// The device.
    pub device: usize,
    /// The number by which the guest asks for it.
    pub blob_id: u64,
    /// The buffer's UUID.
    pub uuid: String,
    /// The buffer.
    pub buffer: u64,
    /// Size in bytes.
    pub size: u64,
    /// What it is: "shared dma-buf", "shared memfd".
    pub exporter: String,
    /// The kernel's name for the dma-buf's exporter, or the memfd's name.
    pub origin: Option<String>,
    /// How the CPU caches it.
    pub caching: Option<String>,
    /// How we know.
    pub caching_source: Option<String>,
}

/// What was moved to other memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovesStatus {
    /// Moves.
    pub moves: u64,
    /// Bytes that they copied.
    pub bytes: u64,
    /// Moves that were given up.
    pub failed: u64,
    /// Moves that were refused because there were too many.
    pub refused: u64,
}

/// Memory of a device, as the kernel's dmem controller counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemoryStatus {
    /// The kernel's name for it.
    pub region: String,
    /// Bytes that the program's control group is charged for.
    pub used: u64,
    /// The most that it may be; absent without a limit.
    pub limit: Option<u64>,
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its number.
    pub device: usize,
    /// What it is: "gpu".
    pub kind: String,
    /// Whose limits it is under.
    pub guest: String,
    /// Where it listens.
    pub socket: Option<PathBuf>,
    /// "host-visible" or "guest-import".
    pub mode: String,
    /// The window's size in bytes.
    pub window_bytes: Option<u64>,
    /// Whether a VMM is connected.
    pub connected: bool,
    /// How many VMMs ever connected.
    pub connections: u64,
    /// How the last connection ended, if badly.
    pub last_error: Option<String>,
    /// What the guest made.
    pub resources: Vec<ResourceStatus>,
    /// Its outputs.
    pub scanouts: Vec<ScanoutStatus>,
    /// The guest's contexts.
    pub contexts: Vec<ContextStatus>,
    /// Blobs in the window.
    pub maps: usize,
    /// What stays in the window for the guest's next blobs.
    pub idle_maps: usize,
    /// Commands that wait for other users of a buffer.
    pub waiting: usize,
    /// Fenced commands that are not answered.
    pub fences_outstanding: usize,
    /// What it did.
    pub counters: Counters,
}

/// What a device did since the program started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Commands answered.
    pub commands: u64,
    /// Commands answered with an error.
    pub refused: u64,
    /// Pictures shown.
    pub flushes: u64,
    /// Bytes copied by transfer commands.
    pub transferred_bytes: u64,
    /// Commands that waited for other users of a buffer.
    pub deferred: u64,
    /// Commands that waited in vain.
    pub stuck: u64,
    /// Resets.
    pub resets: u64,
    /// Screenshots taken.
    pub screenshots: u64,
    /// Bytes of pixels read for them; not among the copied bytes.
    pub screenshot_bytes: u64,
}

/// One resource of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// The guest's id for it.
    pub id: u32,
    /// "2d", "guest blob", "host blob", "shadowed blob".
    pub kind: String,
    /// Size in bytes.
    pub size: u64,
    /// The buffer with its bytes, if it has one.
    pub buffer: Option<u64>,
    /// The buffer's UUID.
    pub uuid: Option<String>,
    /// Guest-physical ranges that back it.
    pub backing_ranges: Option<usize>,
    /// Where in the window it is mapped.
    pub mapped_at: Option<u64>,
}

/// One output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanoutStatus {
    /// Its number.
    pub output: u32,
    /// What it shows.
    pub shows: Option<ShownStatus>,
    /// Where its cursor is, if shown.
    pub cursor: Option<(i32, i32)>,
}

/// A picture on an output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStatus {
    /// The resource.
    pub resource: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from row to row.
    pub stride: u32,
    /// Where the first pixel is in the buffer.
    pub offset: u64,
    /// The pixels' format.
    pub format: String,
}

/// One context of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextStatus {
    /// The guest's id for it.
    pub id: u32,
    /// The guest's name for it.
    pub name: String,
    /// How many resources are attached.
    pub resources: usize,
}

/// Who pays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestStatus {
    /// Its name.
    pub guest: String,
    /// Its devices.
    pub devices: Vec<usize>,
    /// What it is charged for.
    pub charges: Vec<ChargeStatus>,
}

/// What a guest is charged for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeStatus {
    /// Of what: "pinned bytes", "buffers", "attachments", "window maps",
    /// "bytes", "mappings".
    pub of: String,
    /// How much it holds.
    pub used: u64,
    /// How much it may hold.
    pub limit: u64,
}

/// One buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferStatus {
    /// Its number: never used twice.
    pub buffer: u64,
    /// Size in bytes.
    pub size: u64,
    /// Who owns its memory.
    pub exporter: String,
    /// Whose memory it is, where the exporter does not tell.
    #[serde(default)]
    pub origin: Option<String>,
    /// Why its memory is not what it could be.
    #[serde(default)]
    pub note: Option<String>,
    /// Its UUID, once it has one.
    pub uuid: Option<String>,
    /// What may happen to its memory.
    pub model: String,
    /// What is happening to it: "live", "moving", "being revoked", "revoked",
    /// "revoked, restorable", "being restored".
    #[serde(default)]
    pub life: String,
    /// How the CPU caches it; absent where nobody knows.
    pub caching: Option<String>,
    /// How we know.
    pub caching_source: Option<String>,
    /// Mappings of it, by any process, that are cached otherwise; absent where
    /// nobody could look.
    #[serde(default)]
    pub differing_aliases: Option<Vec<AliasStatus>>,
    /// Who pays for it.
    pub guest: Option<String>,
    /// Bytes of it that were ever copied.
    pub copied_bytes: u64,
    /// Work on it that has not ended.
    pub fences_outstanding: usize,
    /// Who uses it.
    pub importers: Vec<ImporterStatus>,
}

/// A mapping of a buffer that is cached otherwise than the buffer is known to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasStatus {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// How its mapping is cached.
    pub caching: String,
    /// How we know.
    pub source: String,
}

/// One user of a buffer and its terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImporterStatus {
    /// Who it is.
    pub name: String,
    /// How it reaches the memory: "cpu", "exclusive", "descriptor", "ranges".
    pub method: String,
    /// "read", "write", "read-write".
    pub direction: String,
    /// What may happen to the memory meanwhile.
    pub model: String,
    /// How the memory is cached, where that was agreed.
    pub caching: Option<String>,
}
