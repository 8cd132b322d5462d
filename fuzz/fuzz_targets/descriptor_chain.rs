//! What a driver can put into a virtqueue: reading a chain ends, allocates no
//! more than its limit, and an answer stays within the room that it was given.

#![no_main]

use std::sync::LazyLock;

use landbridge_transport::backend::chain::{self, MAX_REQUEST, Table};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const BASE: u64 = 0x1000;
const SIZE: usize = 0x4000;

/// Two regions with a hole between them, so that buffers straddle it.
static MEMORY: LazyLock<GuestMemoryMmap> = LazyLock::new(|| {
    let regions = [
        (GuestAddress(BASE), SIZE),
        (GuestAddress(BASE + 0x8000), SIZE),
    ];
    GuestMemoryMmap::from_ranges(&regions).expect("a little memory")
});

// The first bytes choose the table's size and the head; the rest is memory.
fuzz_target!(|bytes: &[u8]| {
    let Some((&[size, head], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let memory = &*MEMORY;
    let mut image = vec![0; SIZE];
    let len = rest.len().min(SIZE);
    image[..len].copy_from_slice(&rest[..len]);
    memory
        .write_slice(&image, GuestAddress(BASE))
        .expect("the region is that long");
    let table = Table {
        addr: BASE,
        len: 1 << (size % 8),
    };
    if let Ok(chain) = chain::read(memory, table, u16::from(head)) {
        assert!(chain.request.len() as u64 <= MAX_REQUEST);
        let capacity = chain.room.capacity();
        let answer = vec![0x5a; capacity.min(1 << 16) + 1];
        let written = chain.room.write(memory, &answer) as usize;
        assert_eq!(written, capacity.min(answer.len()));
    }
});
