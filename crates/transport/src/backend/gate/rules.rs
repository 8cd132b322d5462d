//! Which messages are held back.

use std::collections::BTreeSet;

use super::message::Message;

/// `VHOST_USER_SET_MEM_TABLE`, `_SET_VRING_ADDR`, `_SET_VRING_KICK`.
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_KICK: u32 = 12;

/// How a descriptor table, an available and a used ring are aligned (virtio 1.3,
/// section 2.7).
const ALIGNMENT: [u64; 3] = [16, 2, 4];

/// How many bytes of each the crate looks at by itself.
const LOOKED_AT: u64 = 4;

/// Whether a message is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    On,
    Not,
}

/// Memory that the VMM announced.
#[derive(Debug, Clone, Copy)]
struct Region {
    guest: u64,
    size: u64,
    /// Where the VMM has it, by which it names rings.
    user: u64,
}

impl Region {
    /// The guest-physical address of what the VMM has at `user`.
    fn find(self, user: u64) -> Option<u64> {
        let offset = user.checked_sub(self.user)?;
        let fits = offset.checked_add(LOOKED_AT)? <= self.size;
        fits.then(|| self.guest.checked_add(offset)).flatten()
    }
}

/// What was announced, and which rings have no place in it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    regions: Vec<Region>,
    nowhere: BTreeSet<u32>,
}

impl Rules {
    pub(super) fn judge(&mut self, message: &Message) -> Pass {
        let payload = message.payload();
        match message.request() {
            Some(SET_MEM_TABLE) => self.announce(payload),
            Some(SET_VRING_ADDR) if !self.place(payload) => return Pass::Not,
            Some(SET_VRING_KICK) if self.is_nowhere(payload) => return Pass::Not,
            _ => {}
        }
        Pass::On
    }

    /// A count, 4 bytes of padding, and four numbers for each region.
    fn announce(&mut self, payload: &[u8]) {
        let regions = payload.get(8..).unwrap_or_default().as_chunks::<32>().0;
        self.regions = regions
            .iter()
            .filter_map(|bytes| {
                Some(Region {
                    guest: long(bytes, 0)?,
                    size: long(bytes, 8)?,
                    user: long(bytes, 16)?,
                })
            })
            .collect();
    }

    /// Index and flags, 32 bits each; descriptor table, used ring, available
    /// ring. Whether the ring is where it can be; a message that is none, or that
    /// comes before there is memory, is for others to judge.
    fn place(&mut self, payload: &[u8]) -> bool {
        let parts = [8, 24, 16].map(|at| long(payload, at));
        let ([Some(table), Some(available), Some(used)], Some(index)) = (parts, ring(payload))
        else {
            return true;
        };
        let addresses = [table, available, used].into_iter().zip(ALIGNMENT);
        if self.regions.is_empty() {
            return true;
        }
        let mut well = addresses.map(|(address, alignment)| {
            let mut found = self
                .regions
                .iter()
                .filter_map(|region| region.find(address));
            found.next().is_some_and(|at| at.is_multiple_of(alignment))
        });
        if well.all(|well| well) {
            self.nowhere.remove(&index);
            return true;
        }
        // Numbers that no ring has end the connection, and are not remembered.
        if index < 256 {
            self.nowhere.insert(index);
            return false;
        }
        true
    }

    /// The index is the lowest byte.
    fn is_nowhere(&self, payload: &[u8]) -> bool {
        ring(payload).is_some_and(|index| self.nowhere.contains(&(index & 0xff)))
    }
}

fn ring(payload: &[u8]) -> Option<u32> {
    let bytes = payload.get(..4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u64 = 0x7000_0000_0000;

    fn table() -> Message {
        let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 0];
        for word in [1 << 32, 1 << 20, USER, 0] {
            payload.extend(u64::to_ne_bytes(word));
        }
        Message::new(SET_MEM_TABLE, 0, &payload)
    }

    fn address(index: u32, [table, available, used]: [u64; 3]) -> Message {
        let mut payload = [index, 0].map(u32::to_ne_bytes).concat();
        for word in [table, used, available, 0] {
            payload.extend(word.to_ne_bytes());
        }
        Message::new(SET_VRING_ADDR, 0, &payload)
    }

    fn kick(index: u64) -> Message {
        Message::new(SET_VRING_KICK, 0, &index.to_ne_bytes())
    }

    const GOOD: [u64; 3] = [USER, USER + 0x1000, USER + 0x2000];

    #[test]
    fn a_ring_in_memory_is_placed_and_kicked() {
        let mut rules = Rules::default();
        for message in [table(), address(0, GOOD), kick(0), kick(1)] {
            assert_eq!(rules.judge(&message), Pass::On);
        }
    }

    #[test]
    fn a_ring_elsewhere_rests_until_it_is_placed_well() {
        let mut rules = Rules::default();
        rules.judge(&table());
        for part in 0..3 {
            for elsewhere in [0, USER - 16, USER + (1 << 20), u64::MAX - 15, USER + 1] {
                let mut parts = GOOD;
                parts[part] = elsewhere;
                assert_eq!(rules.judge(&address(1, parts)), Pass::Not, "{elsewhere:#x}");
                assert_eq!(rules.judge(&kick(1)), Pass::Not);
                assert_eq!(rules.judge(&kick(0)), Pass::On);
            }
        }
        assert_eq!(rules.judge(&address(1, GOOD)), Pass::On);
        assert_eq!(rules.judge(&kick(1)), Pass::On);
    }

    #[test]
    fn what_is_no_message_is_for_others_to_judge() {
        let mut rules = Rules::default();
        rules.judge(&table());
        for request in 0..64 {
            for len in [0, 1, 7, 8, 23] {
                let message = Message::new(request, 0, &vec![0xff; len]);
                assert_eq!(rules.judge(&message), Pass::On, "{request}, {len}");
            }
        }
        assert_eq!(rules.judge(&address(256, [0; 3])), Pass::On);
        assert_eq!(rules.judge(&Message::default()), Pass::On);
    }

    #[test]
    fn who_wants_an_answer_gets_one() {
        let quiet = address(0, [0; 3]);
        assert_eq!(quiet.consent(), None);
        let wanted = Message::new(SET_VRING_KICK, 1 << 3, &[0; 8]);
        let answer = wanted.consent().unwrap();
        let words: Vec<_> = answer
            .as_chunks::<4>()
            .0
            .iter()
            .map(|it| u32::from_ne_bytes(*it))
            .collect();
        assert_eq!(words, [SET_VRING_KICK, 0b101, 8, 0, 0]);
    }
}
