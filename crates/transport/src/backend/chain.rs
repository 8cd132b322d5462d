//! One descriptor chain, read once into our memory.
//!
//! Virtio 1.3, sections 2.7.5 ("The Virtqueue Descriptor Table") and 2.7.5.3
//! ("Indirect Descriptors"). The driver can change a chain while we read it, so
//! every descriptor and every byte is fetched exactly once, and what was
//! fetched is what is checked and used.
//!
//! The iterators of `virtio-queue` end silently where a chain is malformed,
//! and then a broken request looks like a short one. This reader says what is
//! wrong, and a chain is either whole or refused.

use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

/// The longest request that is read, in bytes. The largest that the Linux
/// driver sends is the backing list of a blob: 16 bytes a page, so that this
/// is enough for 4 GiB in single pages.
pub const MAX_REQUEST: u64 = 16 << 20;

/// The longest indirect table: the index of the next descriptor has 16 bits.
const MAX_INDIRECT: u32 = 1 << 16;

const DESCRIPTOR_SIZE: u32 = 16;
const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;

/// A table of descriptors in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its guest-physical address.
    pub addr: u64,
    /// How many descriptors it has.
    pub len: u32,
}

/// What a driver got wrong in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An index points past the end of its table.
    #[error("descriptor {index} is outside a table of {len}")]
    OutsideTable {
        /// The index.
        index: u32,
        /// How many descriptors the table has.
        len: u32,
    },
    /// The chain has more descriptors than its table: it loops.
    #[error("the chain loops in a table of {len} descriptors")]
    Loop {
        /// How many descriptors the table has.
        len: u32,
    },
    /// A descriptor table or a buffer is not in the guest's memory.
    #[error("{len:#x} bytes at {addr:#x} are not guest memory")]
    NotMemory {
        /// The guest-physical address.
        addr: u64,
        /// How many bytes.
        len: u32,
    },
    /// A device-readable buffer follows a device-writable one.
    #[error("a device-readable buffer follows a device-writable one")]
    ReadableAfterWritable,
    /// An indirect descriptor stands in an indirect table.
    #[error("an indirect table contains an indirect descriptor")]
    NestedIndirect,
    /// An indirect descriptor has a successor.
    #[error("an indirect descriptor has a successor")]
    IndirectWithNext,
    /// An indirect table is empty, too long, or not a whole number of descriptors.
    #[error("an indirect table can't be {len} bytes long")]
    IndirectLength {
        /// Its length in bytes.
        len: u32,
    },
    /// The request is longer than [`MAX_REQUEST`].
    #[error("the request has {len} bytes, more than {MAX_REQUEST}")]
    RequestTooLong {
        /// Its length in bytes, as far as it was added up.
        len: u64,
    },
    /// The room for the answer is 4 GiB or more.
    #[error("the room for the answer has {len} bytes")]
    RoomTooLong {
        /// Its length in bytes, as far as it was added up.
        len: u64,
    },
}

/// A whole and well-formed chain.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    /// The bytes of the device-readable buffers.
    pub request: Vec<u8>,
    /// The device-writable buffers.
    pub room: Room,
}

/// Where in the guest's memory an answer goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Room {
    buffers: Vec<Buffer>,
    capacity: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buffer {
    addr: u64,
    len: u32,
}

impl Room {
    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Writes `bytes` and returns how many of them reached the guest: fewer
    /// than given where they don't fit, or where memory went away meanwhile.
    pub fn write(&self, memory: &GuestMemoryMmap, bytes: &[u8]) -> u32 {
        let mut rest = bytes;
        for buffer in &self.buffers {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(buffer.len as usize));
            if memory.write_slice(now, GuestAddress(buffer.addr)).is_err() {
                break;
            }
            rest = later;
        }
        // At most `capacity` bytes, which has 32 bits.
        (bytes.len() - rest.len()) as u32
    }
}

/// Reads the chain that starts at descriptor `head` of `table`.
pub fn read(memory: &GuestMemoryMmap, table: Table, head: u16) -> Result<Chain, ChainError> {
    let mut shape = Shape::default();
    let mut walk = Walk::new(memory, table, u32::from(head));
    while let Some(descriptor) = walk.step()? {
        shape.add(memory, descriptor)?;
    }
    shape.fetch(memory)
}

/// The buffers of a chain, checked but not yet read.
#[derive(Default)]
struct Shape {
    readable: Vec<Buffer>,
    readable_len: u64,
    writable: Vec<Buffer>,
    writable_len: u64,
}

impl Shape {
    fn add(&mut self, memory: &GuestMemoryMmap, descriptor: Descriptor) -> Result<(), ChainError> {
        let buffer = descriptor.buffer;
        if buffer.len == 0 {
            return Ok(());
        }
        check(memory, buffer)?;
        let (list, sum) = if descriptor.has(FLAG_WRITE) {
            (&mut self.writable, &mut self.writable_len)
        } else if self.writable.is_empty() {
            (&mut self.readable, &mut self.readable_len)
        } else {
            return Err(ChainError::ReadableAfterWritable);
        };
        // At most 2^17 descriptors of less than 2^32 bytes: no overflow.
        *sum += u64::from(buffer.len);
        list.push(buffer);
        if self.readable_len > MAX_REQUEST {
            return Err(ChainError::RequestTooLong {
                len: self.readable_len,
            });
        }
        Ok(())
    }

    fn fetch(self, memory: &GuestMemoryMmap) -> Result<Chain, ChainError> {
        let capacity = u32::try_from(self.writable_len).map_err(|_| ChainError::RoomTooLong {
            len: self.writable_len,
        })?;
        let mut request = vec![0; self.readable_len as usize];
        let mut rest = &mut request[..];
        for buffer in &self.readable {
            let (now, later) = rest.split_at_mut(buffer.len as usize);
            memory
                .read_slice(now, GuestAddress(buffer.addr))
                .map_err(|_| buffer.not_memory())?;
            rest = later;
        }
        Ok(Chain {
            request,
            room: Room {
                buffers: self.writable,
                capacity,
            },
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Descriptor {
    buffer: Buffer,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn parse(bytes: [u8; DESCRIPTOR_SIZE as usize]) -> Self {
        let (addr, rest) = bytes.split_first_chunk().expect("16 bytes");
        let (len, rest) = rest.split_first_chunk().expect("8 bytes");
        let (flags, rest) = rest.split_first_chunk().expect("4 bytes");
        let (next, _) = rest.split_first_chunk().expect("2 bytes");
        Self {
            buffer: Buffer {
                addr: u64::from_le_bytes(*addr),
                len: u32::from_le_bytes(*len),
            },
            flags: u16::from_le_bytes(*flags),
            next: u16::from_le_bytes(*next),
        }
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl Buffer {
    fn not_memory(self) -> ChainError {
        ChainError::NotMemory {
            addr: self.addr,
            len: self.len,
        }
    }
}

/// The way along a chain, through at most one indirect table.
struct Walk<'a> {
    memory: &'a GuestMemoryMmap,
    table: Table,
    next: Option<u32>,
    steps: u32,
    indirect: bool,
}

impl<'a> Walk<'a> {
    fn new(memory: &'a GuestMemoryMmap, table: Table, head: u32) -> Self {
        Self {
            memory,
            table,
            next: Some(head),
            steps: 0,
            indirect: false,
        }
    }

    fn step(&mut self) -> Result<Option<Descriptor>, ChainError> {
        let Some(index) = self.next else {
            return Ok(None);
        };
        let mut descriptor = self.fetch(index)?;
        while descriptor.has(FLAG_INDIRECT) {
            self.enter(descriptor)?;
            descriptor = self.fetch(0)?;
        }
        self.next = descriptor
            .has(FLAG_NEXT)
            .then_some(u32::from(descriptor.next));
        Ok(Some(descriptor))
    }

    /// Goes on in the indirect table that `descriptor` names. Whether that is
    /// marked device-writable has no meaning.
    fn enter(&mut self, descriptor: Descriptor) -> Result<(), ChainError> {
        if self.indirect {
            return Err(ChainError::NestedIndirect);
        }
        if descriptor.has(FLAG_NEXT) {
            return Err(ChainError::IndirectWithNext);
        }
        let Buffer { addr, len } = descriptor.buffer;
        let count = len / DESCRIPTOR_SIZE;
        if len == 0 || !len.is_multiple_of(DESCRIPTOR_SIZE) || count > MAX_INDIRECT {
            return Err(ChainError::IndirectLength { len });
        }
        check(self.memory, descriptor.buffer)?;
        self.table = Table { addr, len: count };
        self.steps = 0;
        self.indirect = true;
        Ok(())
    }

    fn fetch(&mut self, index: u32) -> Result<Descriptor, ChainError> {
        let len = self.table.len;
        if index >= len {
            return Err(ChainError::OutsideTable { index, len });
        }
        if self.steps >= len {
            return Err(ChainError::Loop { len });
        }
        self.steps += 1;
        let place = Buffer {
            addr: self
                .table
                .addr
                .wrapping_add(u64::from(index) * u64::from(DESCRIPTOR_SIZE)),
            len: DESCRIPTOR_SIZE,
        };
        check(self.memory, place)?;
        let mut bytes = [0; DESCRIPTOR_SIZE as usize];
        self.memory
            .read_slice(&mut bytes, GuestAddress(place.addr))
            .map_err(|_| place.not_memory())?;
        Ok(Descriptor::parse(bytes))
    }
}

fn check(memory: &GuestMemoryMmap, buffer: Buffer) -> Result<(), ChainError> {
    let wraps = buffer.addr.checked_add(u64::from(buffer.len)).is_none();
    let len = buffer.len as usize;
    if wraps || !memory.check_range(GuestAddress(buffer.addr), len, Permissions::ReadWrite) {
        return Err(buffer.not_memory());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
