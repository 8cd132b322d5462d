//! The guest's memory as the VMM told it, for those who want the files behind
//! it: importers of guest pages.
//!
//! A VMM announces its RAM when a driver starts, and afterwards what is mapped
//! in the windows of its devices (`SET_MEM_TABLE`), so that a guest's buffer may
//! lie in another device's window. What comes back from a device's own window is
//! left out: it is the guest's through the window only, and whoever unmaps it
//! there must find it nowhere else.
//!
//! Rings and chains are read from these files by mappings of this process. A
//! file that gets shorter under its mapping would kill the process and every
//! device in it with SIGBUS, so only those are taken that can't: memfds sealed
//! against shrinking, as QEMU's `memory-backend-memfd` is, and dma-bufs.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard, Weak};

use landbridge_dmabuf::{DmaBuf, Identity};
use landbridge_exchange::exporters::guest_pages::{GuestMemory, GuestPiece, NotGuestMemory};
use landbridge_exchange::ranges::{GuestPhysical, Range};
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

/// How many regions a VMM may announce. One message holds eight; a VMM that
/// takes a feature which it was not offered can send more.
const MAX_REGIONS: usize = 509;

/// Every table of this process: a VMM announces one device's window to all.
static TABLES: Mutex<Vec<Weak<MemoryTable>>> = Mutex::new(Vec::new());

/// Whether anybody in this process can reach a file through what a VMM
/// announced, to whichever device, now or earlier.
pub(super) fn anybody_reaches(identity: Identity) -> bool {
    let tables = TABLES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut tables = tables.iter().filter_map(Weak::upgrade);
    tables.any(|table| table.reaches(identity))
}

/// One announced region: never empty, its end does not wrap.
struct Region {
    start: u64,
    len: u64,
    identity: Identity,
    /// The file as the crate below holds it for as long as it is mapped; also
    /// tells whether a region is new.
    held: Arc<File>,
    file: Arc<OwnedFd>,
    offset: u64,
}

/// What is left of a region that the VMM withdrew: it may still be mapped by
/// somebody who is just reading a chain, and its file may have been handed out.
struct Ghost {
    identity: Identity,
    held: Weak<File>,
    file: Weak<OwnedFd>,
}

impl Ghost {
    fn of(region: &Region) -> Self {
        Self {
            identity: region.identity,
            held: Arc::downgrade(&region.held),
            file: Arc::downgrade(&region.file),
        }
    }

    fn is_alive(&self) -> bool {
        self.held.strong_count() > 0 || self.file.strong_count() > 0
    }

    /// Whether it tells more than those that `known` already answer for: a
    /// descriptor that is shared by all tables that had its file is alive with
    /// the last of them.
    fn tells(&self, known: &mut HashSet<*const OwnedFd>) -> bool {
        let handed_out = self.file.strong_count() > 0 && known.insert(self.file.as_ptr());
        handed_out || self.held.strong_count() > 0
    }
}

#[derive(Default)]
struct Regions {
    /// In the order of their addresses, disjoint.
    present: Vec<Region>,
    past: Vec<Ghost>,
    /// What was announced of the device's own window.
    own: Vec<Identity>,
}

/// The memory table.
pub(super) struct MemoryTable {
    regions: RwLock<Regions>,
}

impl MemoryTable {
    pub(super) fn new() -> Arc<Self> {
        let table = Arc::new(Self {
            regions: RwLock::default(),
        });
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|other| other.strong_count() > 0);
        tables.push(Arc::downgrade(&table));
        table
    }

    /// Takes over what the VMM announced, without the files that the device has
    /// in its own window, which are `lent`. Files of regions that were there
    /// before keep their descriptors.
    ///
    /// Returns the memory without the window where any of it was announced: the
    /// rings are to have no more than that.
    pub(super) fn replace(
        &self,
        memory: &GuestMemoryMmap,
        lent: &[Identity],
    ) -> io::Result<Option<GuestMemoryMmap>> {
        let count = memory.num_regions();
        if count > MAX_REGIONS {
            return Err(refuse(format!(
                "{count} memory regions, and {MAX_REGIONS} are the most"
            )));
        }
        let mut regions = self.write();
        let mut new = Vec::with_capacity(count);
        let mut own = Vec::new();
        for region in memory.iter() {
            if let Some(place) = region.file_offset() {
                let start = region.start_addr().raw_value();
                let region = regions.region(start, region.len(), place)?;
                if lent.contains(&region.identity) {
                    own.push(region);
                } else {
                    new.push(region);
                }
            }
        }
        new.sort_unstable_by_key(|region| region.start);
        regions.become_past(new);
        // Whoever is just reading a chain may still have it mapped.
        regions.past.extend(own.iter().map(Ghost::of));
        regions.own = own.iter().map(|region| region.identity).collect();
        drop(regions);
        (!own.is_empty()).then(|| without(memory, &own)).transpose()
    }

    /// Forgets everything: the VMM is gone.
    pub(super) fn clear(&self) {
        let mut regions = self.write();
        regions.become_past(Vec::new());
        regions.own.clear();
    }

    /// Whether the last table of the VMM has a file of the device's own window.
    pub(super) fn announces(&self, identity: Identity) -> bool {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.own.contains(&identity)
    }

    /// Whether anybody in this process can reach a file through what the VMM
    /// announced, now or earlier.
    pub(super) fn reaches(&self, identity: Identity) -> bool {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let present = regions.present.iter().any(|it| it.identity == identity);
        let past = |it: &Ghost| it.identity == identity && it.is_alive();
        present || regions.past.iter().any(past)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Regions> {
        // Changed by whole assignments.
        self.regions.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Regions {
    fn region(&self, start: u64, len: u64, place: &FileOffset) -> io::Result<Region> {
        let known = self
            .present
            .iter()
            .find(|known| Arc::ptr_eq(&known.held, place.arc()));
        let (file, identity) = match known {
            Some(known) => (Arc::clone(&known.file), known.identity),
            None => {
                let file = Arc::new(OwnedFd::from(place.file().try_clone()?));
                check_firm(&file, place.start().saturating_add(len))?;
                let identity = Identity::of(&file).map_err(io::Error::other)?;
                // The VMM sends each file anew with each table. Whoever was
                // handed an old descriptor and the table share one.
                (self.descriptor(identity).unwrap_or(file), identity)
            }
        };
        Ok(Region {
            start,
            len,
            identity,
            held: Arc::clone(place.arc()),
            file,
            offset: place.start(),
        })
    }

    /// The descriptor that is there for a file already.
    fn descriptor(&self, identity: Identity) -> Option<Arc<OwnedFd>> {
        let same = |known: &&Region| known.identity == identity;
        let present = self.present.iter().find(same);
        let past = self.past.iter().filter(|it| it.identity == identity);
        present
            .map(|region| Arc::clone(&region.file))
            .or_else(|| past.filter_map(|ghost| ghost.file.upgrade()).next())
    }

    fn become_past(&mut self, present: Vec<Region>) {
        // Most stay: a VMM announces all of them each time that it maps one.
        let stay: HashSet<_> = present.iter().map(|it| Arc::as_ptr(&it.held)).collect();
        let gone = self.present.iter();
        let gone = gone.filter(|it| !stay.contains(&Arc::as_ptr(&it.held)));
        self.past.extend(gone.map(Ghost::of));
        self.present = present;
        // A file that stays is sent anew with each table; what was known of its
        // earlier copies must not be kept for as long as it stays.
        let mut known: HashSet<_> = self
            .present
            .iter()
            .map(|it| Arc::as_ptr(&it.file))
            .collect();
        self.past.retain(|ghost| ghost.tells(&mut known));
    }
}

/// The memory without some of its regions.
fn without(memory: &GuestMemoryMmap, regions: &[Region]) -> io::Result<GuestMemoryMmap> {
    let mut rest = memory.clone();
    for region in regions {
        (rest, _) = rest
            .remove_region(GuestAddress(region.start), region.len)
            .map_err(io::Error::other)?;
    }
    Ok(rest)
}

/// Refuses a file that can get shorter than `end` under its mapping.
fn check_firm(file: &OwnedFd, end: u64) -> io::Result<()> {
    let sealed = rustix::fs::fcntl_get_seals(file)
        .is_ok_and(|seals| seals.contains(rustix::fs::SealFlags::SHRINK));
    if sealed {
        // Asked after the seals: between being mapped and being sealed it may
        // have been made shorter.
        let size = rustix::fs::fstat(file)?.st_size;
        if u64::try_from(size).unwrap_or(0) >= end {
            return Ok(());
        }
        return Err(refuse(format!(
            "guest memory up to byte {end:#x} of a file of {size:#x}"
        )));
    }
    if DmaBuf::try_from(file.try_clone()?).is_ok() {
        return Ok(());
    }
    Err(refuse(
        "guest memory that can shrink: it must be a memfd sealed against that \
         (QEMU: -object memory-backend-memfd,share=on)",
    ))
}

fn refuse(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.into())
}

impl GuestMemory for MemoryTable {
    fn resolve(&self, range: Range<GuestPhysical>) -> Result<Vec<GuestPiece>, NotGuestMemory> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let regions = &regions.present;
        let mut pieces: Vec<GuestPiece> = Vec::new();
        let mut at = range.start();
        let mut next = regions.partition_point(|region| region.start + region.len <= at);
        while at < range.end() {
            let region = regions
                .get(next)
                .filter(|region| region.start <= at)
                .ok_or(NotGuestMemory(range))?;
            let end = range.end().min(region.start + region.len);
            pieces.push(GuestPiece {
                file: Arc::clone(&region.file),
                offset: region.offset + (at - region.start),
                len: end - at,
            });
            at = end;
            next += 1;
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use landbridge_dmabuf::{Memfd, memfd::Options};

    const PAGE: u64 = 4096;

    fn file(pages: u64) -> Arc<File> {
        let memfd = Memfd::create("ram", pages * PAGE, Options::default()).unwrap();
        Arc::new(OwnedFd::from(memfd).into())
    }

    fn memory(regions: &[(u64, u64, &Arc<File>, u64)]) -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges_with_files(regions.iter().map(|(start, len, file, offset)| {
            let place = FileOffset::from_arc(Arc::clone(file), *offset);
            (GuestAddress(*start), *len as usize, Some(place))
        }))
        .unwrap()
    }

    fn resolve(table: &MemoryTable, start: u64, len: u64) -> Option<Vec<(u64, u64, u64)>> {
        let pieces = table.resolve(Range::new(start, len).unwrap()).ok()?;
        let inode = |piece: &GuestPiece| Identity::of(piece.file.as_fd()).unwrap().inode;
        Some(
            pieces
                .iter()
                .map(|piece| (inode(piece), piece.offset, piece.len))
                .collect(),
        )
    }

    #[test]
    fn ranges_resolve_to_files_and_offsets() {
        let (low, high) = (file(4), file(4));
        let table = MemoryTable::new();
        table
            .replace(
                &memory(&[
                    (0x10000, 2 * PAGE, &low, PAGE),
                    (0x10000 + 2 * PAGE, PAGE, &high, 0),
                    (0x90000, PAGE, &high, 3 * PAGE),
                ]),
                &[],
            )
            .unwrap();
        let low = Identity::of(low.as_fd()).unwrap().inode;
        let high = Identity::of(high.as_fd()).unwrap().inode;
        let found = |start, len| resolve(&table, start, len);
        assert_eq!(found(0x10010, 16), Some(vec![(low, PAGE + 16, 16)]));
        assert_eq!(
            found(0x10000 + PAGE, 2 * PAGE),
            Some(vec![(low, 2 * PAGE, PAGE), (high, 0, PAGE)])
        );
        assert_eq!(found(0x90000, PAGE), Some(vec![(high, 3 * PAGE, PAGE)]));
        for (start, len) in [
            (0xf000, PAGE),
            (0xf000, 2 * PAGE),
            (0x10000, 4 * PAGE),
            (0x90000, PAGE + 1),
            (u64::MAX - 8, 8),
        ] {
            assert_eq!(found(start, len), None, "{start:#x}+{len:#x}");
        }
    }

    #[test]
    fn memory_that_can_shrink_is_refused_and_changes_nothing() {
        let table = MemoryTable::new();
        let good = file(1);
        table.replace(&memory(&[(0, PAGE, &good, 0)]), &[]).unwrap();
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let loose = rustix::fs::memfd_create("loose", flags).unwrap();
        rustix::fs::ftruncate(&loose, PAGE).unwrap();
        let loose = Arc::new(File::from(loose));
        let both = memory(&[(0, PAGE, &good, 0), (PAGE, PAGE, &loose, 0)]);
        assert!(table.replace(&both, &[]).is_err());
        assert!(resolve(&table, 0, PAGE).is_some());
        assert!(resolve(&table, PAGE, PAGE).is_none());
    }

    #[test]
    fn memory_that_was_made_shorter_before_it_was_sealed_is_refused() {
        let table = MemoryTable::new();
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let short = rustix::fs::memfd_create("short", flags).unwrap();
        rustix::fs::ftruncate(&short, 2 * PAGE).unwrap();
        let announced = Arc::new(File::from(short.try_clone().unwrap()));
        let announced = memory(&[(0, 2 * PAGE, &announced, 0)]);
        rustix::fs::ftruncate(&short, PAGE).unwrap();
        rustix::fs::fcntl_add_seals(&short, rustix::fs::SealFlags::SHRINK).unwrap();
        assert!(table.replace(&announced, &[]).is_err());
    }

    #[test]
    fn regions_are_as_many_as_the_vmm_was_told() {
        let table = MemoryTable::new();
        let ram = file(1);
        let of = |count: usize| {
            let starts = (0..count as u64).map(|number| (number * PAGE, PAGE, &ram, 0));
            memory(&starts.collect::<Vec<_>>())
        };
        assert!(table.replace(&of(MAX_REGIONS), &[]).is_ok());
        assert!(table.replace(&of(MAX_REGIONS + 1), &[]).is_err());
    }

    #[test]
    fn a_region_that_stays_keeps_its_descriptor() {
        let (ram, window) = (file(2), file(1));
        let table = MemoryTable::new();
        let piece = |table: &MemoryTable| {
            let range = Range::new(0, PAGE).unwrap();
            Arc::clone(&table.resolve(range).unwrap()[0].file)
        };
        table
            .replace(&memory(&[(0, 2 * PAGE, &ram, 0)]), &[])
            .unwrap();
        let before = piece(&table);
        table
            .replace(
                &memory(&[(0, 2 * PAGE, &ram, 0), (1 << 32, PAGE, &window, 0)]),
                &[],
            )
            .unwrap();
        assert!(Arc::ptr_eq(&before, &piece(&table)));
        assert!(resolve(&table, 1 << 32, PAGE).is_some());
        table.clear();
        assert_eq!(resolve(&table, 0, PAGE), None);
    }

    #[test]
    fn a_region_that_stays_is_not_remembered_as_gone() {
        let table = MemoryTable::new();
        let (ram, window) = (file(2), file(1));
        let alone = memory(&[(0, 2 * PAGE, &ram, 0)]);
        let both = memory(&[(0, 2 * PAGE, &ram, 0), (1 << 32, PAGE, &window, 0)]);
        for _ in 0..10 {
            table.replace(&both, &[]).unwrap();
            table.replace(&both, &[]).unwrap();
        }
        assert!(table.write().past.is_empty());
        table.replace(&alone, &[]).unwrap();
        assert_eq!(
            table.write().past.len(),
            1,
            "the window, which a test holds"
        );
    }

    #[test]
    fn a_file_that_is_sent_anew_is_remembered_once() {
        let ram = file(1);
        let table = MemoryTable::new();
        for _ in 0..100 {
            let again = Arc::new(ram.try_clone().unwrap());
            let announced = memory(&[(0, PAGE, &again, 0)]);
            table.replace(&announced, &[]).unwrap();
        }
        let past = table.write().past.len();
        assert!(past == 0, "{past} memories of what is still there");
    }

    #[test]
    fn a_region_is_within_reach_until_its_last_user_is_gone() {
        let window = file(1);
        let identity = Identity::of(window.as_fd()).unwrap();
        let table = MemoryTable::new();
        assert!(!table.reaches(identity));
        let announced = memory(&[(0, PAGE, &Arc::new(window.try_clone().unwrap()), 0)]);
        table.replace(&announced, &[]).unwrap();
        assert!(table.reaches(identity));
        let pieces = table.resolve(Range::new(0, PAGE).unwrap()).unwrap();
        table.clear();
        assert!(table.reaches(identity), "mapped, and handed out");
        drop(announced);
        assert!(table.reaches(identity), "handed out");
        drop(pieces);
        assert!(!table.reaches(identity));
    }

    #[test]
    fn a_file_that_is_sent_anew_keeps_its_descriptor() {
        let ram = file(1);
        let table = MemoryTable::new();
        let piece = || {
            let again = Arc::new(ram.try_clone().unwrap());
            table
                .replace(&memory(&[(0, PAGE, &again, 0)]), &[])
                .unwrap();
            let range = Range::new(0, PAGE).unwrap();
            Arc::clone(&table.resolve(range).unwrap()[0].file)
        };
        let first = piece();
        assert!(Arc::ptr_eq(&first, &piece()));
        table.clear();
        assert!(Arc::ptr_eq(&first, &piece()), "somebody has it");
    }

    #[test]
    fn what_is_in_the_own_window_is_announced_but_reached_by_nobody() {
        let (ram, window) = (file(2), file(1));
        let identity = Identity::of(window.as_fd()).unwrap();
        let announced = memory(&[
            (0, 2 * PAGE, &ram, 0),
            (1 << 32, PAGE, &Arc::new(window.try_clone().unwrap()), 0),
        ]);
        let table = MemoryTable::new();
        let rest = table.replace(&announced, &[identity]).unwrap().unwrap();
        assert_eq!(rest.num_regions(), 1);
        assert!(table.announces(identity));
        assert_eq!(resolve(&table, 1 << 32, PAGE), None);
        assert!(anybody_reaches(identity), "somebody still reads a chain");
        drop(announced);
        assert!(!anybody_reaches(identity));
        assert!(table.announces(identity), "the VMM has not withdrawn it");
        table.replace(&rest, &[identity]).unwrap();
        assert!(!table.announces(identity));
    }

    #[test]
    fn what_another_device_was_told_counts() {
        let window = file(1);
        let identity = Identity::of(window.as_fd()).unwrap();
        let (own, other) = (MemoryTable::new(), MemoryTable::new());
        other
            .replace(&memory(&[(0, PAGE, &window, 0)]), &[])
            .unwrap();
        assert!(!own.reaches(identity));
        assert!(anybody_reaches(identity));
    }
}
