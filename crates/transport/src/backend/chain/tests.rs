use proptest::prelude::*;

use super::*;

const BASE: u64 = 0x1000;
const SIZE: usize = 0x4000;
const TABLE: Table = Table { addr: BASE, len: 8 };

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(BASE), SIZE)]).unwrap()
}

fn put(memory: &GuestMemoryMmap, table: u64, index: u64, descriptor: (u64, u32, u16, u16)) {
    let (addr, len, flags, next) = descriptor;
    let mut bytes = addr.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    memory
        .write_slice(&bytes, GuestAddress(table + 16 * index))
        .unwrap();
}

fn chain(descriptors: &[(u64, u32, u16, u16)]) -> Result<Chain, ChainError> {
    let memory = memory();
    memory
        .write_slice(b"some bytes", GuestAddress(0x2000))
        .unwrap();
    for (index, descriptor) in (0..).zip(descriptors) {
        put(&memory, BASE, index, *descriptor);
    }
    read(&memory, TABLE, 0)
}

#[test]
fn a_chain_is_read_in_order_and_its_room_is_written_in_order() {
    let memory = memory();
    memory
        .write_slice(b"helloworld", GuestAddress(0x2000))
        .unwrap();
    put(&memory, BASE, 3, (0x2005, 5, FLAG_NEXT, 1));
    put(&memory, BASE, 1, (0x2000, 5, FLAG_NEXT, 7));
    put(&memory, BASE, 7, (0x3000, 2, FLAG_NEXT | FLAG_WRITE, 0));
    put(&memory, BASE, 0, (0x3100, 3, FLAG_WRITE, 0));
    let chain = read(&memory, TABLE, 3).unwrap();
    assert_eq!(chain.request, b"worldhello");
    assert_eq!(chain.room.capacity(), 5);
    assert_eq!(chain.room.write(&memory, b"abcd"), 4);
    let mut bytes = [0; 2];
    memory.read_slice(&mut bytes, GuestAddress(0x3000)).unwrap();
    assert_eq!(&bytes, b"ab");
    memory.read_slice(&mut bytes, GuestAddress(0x3100)).unwrap();
    assert_eq!(&bytes, b"cd");
    assert_eq!(chain.room.write(&memory, b"too long"), 5);
    assert_eq!(chain.room.write(&memory, b""), 0);
}

#[test]
fn memory_that_went_away_takes_no_bytes() {
    let chain = chain(&[
        (0x3000, 4, FLAG_WRITE | FLAG_NEXT, 1),
        (0x4800, 4, FLAG_WRITE, 0),
    ])
    .unwrap();
    let smaller = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(BASE), 0x3000)]).unwrap();
    assert_eq!(chain.room.write(&smaller, b"12345678"), 4);
    assert_eq!(chain.room.write(&GuestMemoryMmap::new(), b"1"), 0);
}

#[test]
fn every_fault_is_named() {
    let data = 0x2000;
    let far = 0x10_0000;
    for (descriptors, error) in [
        (
            vec![(data, 1, FLAG_NEXT, 8)],
            ChainError::OutsideTable { index: 8, len: 8 },
        ),
        (vec![(data, 1, FLAG_NEXT, 0)], ChainError::Loop { len: 8 }),
        (
            vec![(far, 4, 0, 0)],
            ChainError::NotMemory { addr: far, len: 4 },
        ),
        (
            vec![(u64::MAX, 4, FLAG_WRITE, 0)],
            ChainError::NotMemory {
                addr: u64::MAX,
                len: 4,
            },
        ),
        (
            vec![(data, 1, FLAG_WRITE | FLAG_NEXT, 1), (data, 1, 0, 0)],
            ChainError::ReadableAfterWritable,
        ),
        (
            vec![
                (BASE + 16, 16, FLAG_INDIRECT, 0),
                (data, 16, FLAG_INDIRECT, 0),
            ],
            ChainError::NestedIndirect,
        ),
        (
            vec![(data, 16, FLAG_INDIRECT | FLAG_NEXT, 1)],
            ChainError::IndirectWithNext,
        ),
        (
            vec![(data, 17, FLAG_INDIRECT, 0)],
            ChainError::IndirectLength { len: 17 },
        ),
        (
            vec![(data, 0, FLAG_INDIRECT, 0)],
            ChainError::IndirectLength { len: 0 },
        ),
        (
            vec![(data, 0x20_0000, FLAG_INDIRECT, 0)],
            ChainError::IndirectLength { len: 0x20_0000 },
        ),
        (
            vec![(far, 32, FLAG_INDIRECT, 0)],
            ChainError::NotMemory { addr: far, len: 32 },
        ),
    ] {
        assert_eq!(chain(&descriptors), Err(error), "{descriptors:?}");
    }
    let outside = ChainError::OutsideTable { index: 9, len: 8 };
    assert_eq!(read(&memory(), TABLE, 9), Err(outside));
}

#[test]
fn lengths_are_limited() {
    let big = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(BASE), 1 << 24)]).unwrap();
    let table = Table {
        addr: BASE,
        len: 512,
    };
    let len = 1 << 23;
    let many = |flags, count: u16| {
        for index in 0..count {
            let next = if index + 1 < count { FLAG_NEXT } else { 0 };
            let descriptor = (BASE + 0x2000, len, flags | next, index + 1);
            put(&big, BASE, u64::from(index), descriptor);
        }
        read(&big, table, 0)
    };
    assert_eq!(many(0, 2).unwrap().request.len() as u64, MAX_REQUEST);
    let long = ChainError::RequestTooLong {
        len: MAX_REQUEST + u64::from(len),
    };
    assert_eq!(many(0, 3), Err(long));
    let most = many(FLAG_WRITE, 511).unwrap();
    assert_eq!(most.room.capacity(), 511 << 23);
    assert_eq!(
        many(FLAG_WRITE, 512),
        Err(ChainError::RoomTooLong { len: 1 << 32 })
    );
}

#[test]
fn a_table_at_the_end_of_the_address_space_does_not_wrap() {
    let table = Table {
        addr: u64::MAX - 15,
        len: 8,
    };
    assert!(matches!(
        read(&memory(), table, 3),
        Err(ChainError::NotMemory { .. })
    ));
}

proptest! {
    /// Whatever is in the rings, reading ends, and what is read was there.
    #[test]
    fn any_memory_is_read_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0x400),
        small in proptest::collection::vec((0u64..0x5000, 0u32..0x800, 0u16..8, 0u16..10), 8),
        head in 0u16..10,
        raw in any::<bool>(),
    ) {
        let memory = memory();
        memory.write_slice(&bytes, GuestAddress(BASE)).unwrap();
        if !raw {
            for (index, descriptor) in (0..).zip(&small) {
                put(&memory, BASE, index, *descriptor);
            }
        }
        if let Ok(chain) = read(&memory, TABLE, head) {
            prop_assert!(chain.request.len() as u64 <= MAX_REQUEST);
            let answer = vec![7; chain.room.capacity() + 1];
            let written = chain.room.write(&memory, &answer);
            prop_assert_eq!(written as usize, chain.room.capacity());
        }
    }
}
