//! The guest and the device that the table is written for.

use landbridge_transport::guest::{PAGE, RAM_BASE};

/// The guest's memory from [`RAM_BASE`] on, in bytes. A guest may have more
/// elsewhere, but not next to it and not at [`HOLE`].
pub const RAM: u64 = 32 << 20;

/// Where that memory ends.
pub const RAM_END: u64 = RAM_BASE + RAM;

/// An address where no guest has memory: below 4 GiB, where a PC has devices.
pub const HOLE: u64 = 0xc000_0000;

/// Where the pages are that the table uses as it likes: behind the queues.
pub const DATA: u64 = RAM_BASE + 4 * PAGE;

/// How many those are: a few, and those of the longest indirect table.
pub const DATA_PAGES: u64 = 272;

/// Where in those pages requests are, where answers go, and where indirect
/// tables are.
pub const REQUEST: u64 = DATA;
/// See [`REQUEST`].
pub const ANSWER: u64 = DATA + PAGE;
/// See [`REQUEST`].
pub const TABLE: u64 = DATA + 2 * PAGE;

/// The device's host-visible window in bytes.
pub const WINDOW: u64 = 1 << 20;

/// The displays of the device.
pub const OUTPUTS: [(u32, u32); 2] = [(640, 480), (1920, 1080)];

/// How many bytes the guest may hold, and how many it may pin.
pub const BYTES: u64 = 64 << 20;

/// How many buffers the guest may have.
pub const BUFFERS: u64 = 64;

/// How often buffers may be attached to.
pub const ATTACHMENTS: u64 = 128;

/// How many mappings the guest may have.
pub const MAPPINGS: u64 = 1024;

/// How many blobs may be in the window at once.
pub const WINDOW_MAPS: u64 = 8;

/// How many descriptors the queues have.
pub const QUEUE: u16 = 256;
