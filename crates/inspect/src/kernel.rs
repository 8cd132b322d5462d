//! The loaded programs: what this kernel lets this process know, and why not more.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::btf::Btf;
use crate::environment;
use crate::error::{Error, Reason, Result, Strength, errno_of};
use crate::loader;
use crate::page_table::{self, Entry, KernelMemory};
use crate::programs::mappings::{Samples, WalkParameters};
use crate::programs::query::{self, Depth, Subject, at, status};
use crate::programs::walk::TABLE_BYTES;
use crate::programs::{buffers, mappings, peek};
use crate::records::{self, KernelBuffer, Vma};
use crate::sys::bpf;

const ENOENT: i64 = libc::ENOENT as i64;
const EBUSY: i64 = libc::EBUSY as i64;
const ENOMEM: i64 = libc::ENOMEM as i64;
const BUSY_TRIES: u32 = 200;
/// Most writers are done at once; only then is it worth sleeping.
const BUSY_YIELDS: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_micros(200);

type Loaded<T> = std::result::Result<T, Reason>;

/// Query programs of one subject.
#[derive(Debug)]
struct Queries {
    entry: OwnedFd,
    /// Only where page tables can be walked.
    table: Option<OwnedFd>,
}

/// Everything that could be loaded.
#[derive(Debug)]
pub(crate) struct Kernel {
    own: Loaded<Queries>,
    process: Loaded<Queries>,
    mappings: Loaded<OwnedFd>,
    buffers: Loaded<OwnedFd>,
    importers: Loaded<()>,
    walk: Loaded<WalkParameters>,
}

/// A mapping, and the last-level table around the address if there is one.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) vma: Vma,
    pub(crate) entry: Entry,
    pub(crate) table: Option<Vec<u64>>,
}

impl Kernel {
    /// Loads what can be loaded; never fails, since every missing part has its reason.
    pub(crate) fn open() -> Self {
        match Btf::of_running_kernel() {
            Ok(btf) => Self::load(&btf),
            Err(error) => Self::nothing(error.into_reason()),
        }
    }

    /// A kernel that lets nothing be known.
    pub(crate) fn nothing(reason: Reason) -> Self {
        Self {
            own: Err(reason.clone()),
            process: Err(reason.clone()),
            mappings: Err(reason.clone()),
            buffers: Err(reason.clone()),
            importers: Err(reason.clone()),
            walk: Err(reason),
        }
    }

    fn load(btf: &Btf) -> Self {
        let (walk, importers) = match load_peek() {
            Ok(peek) => (find_walk(btf, &peek).map_err(Error::into_reason), Ok(())),
            Err(error) => {
                let reason = error.into_reason();
                (Err(reason.clone()), Err(reason))
            }
        };
        let samples = walk
            .as_ref()
            .map_or(Samples::None, |&walk| Samples::Ends(walk));
        let buffers = load_buffers(btf, importers.is_ok());
        Self {
            own: load_queries(btf, Subject::Current, walk.is_ok()),
            process: load_queries(btf, Subject::Process, walk.is_ok()),
            mappings: load_mappings(btf, samples).map_err(Error::into_reason),
            importers: buffers.as_ref().map_err(Clone::clone).and(importers),
            buffers,
            walk,
        }
    }

    pub(crate) fn walk(&self) -> Loaded<WalkParameters> {
        self.walk.clone()
    }

    /// Whether mappings can be read at all, one way or the other.
    pub(crate) fn vma(&self) -> Loaded<()> {
        match (&self.mappings, &self.own) {
            (Ok(_), _) | (_, Ok(_)) => Ok(()),
            (Err(reason), Err(_)) => Err(reason.clone()),
        }
    }

    /// Whether one mapping can be asked for, of the caller and of other processes.
    pub(crate) fn query(&self) -> Loaded<()> {
        let own = self.own.as_ref().map_err(Clone::clone);
        own.and(self.process.as_ref().map_err(Clone::clone))
            .map(|_| ())
    }

    pub(crate) fn buffer_list(&self) -> Loaded<()> {
        self.buffers.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    pub(crate) fn importers(&self) -> Loaded<()> {
        self.importers.clone()
    }

    /// The mapping at `address` of a process (`None`: the caller).
    pub(crate) fn find(&self, pid: Option<u32>, address: u64, table: bool) -> Result<Found> {
        let queries = if pid.is_some() {
            &self.process
        } else {
            &self.own
        };
        match queries {
            Ok(queries) => self.find_by_query(queries, pid, address, table),
            Err(reason) => self.find_by_iterator(reason, pid, address),
        }
    }

    fn find_by_query(
        &self,
        queries: &Queries,
        pid: Option<u32>,
        address: u64,
        table: bool,
    ) -> Result<Found> {
        let (program, depth) = match &queries.table {
            Some(program) if table => (program, Depth::Table),
            _ => (&queries.entry, Depth::Entry),
        };
        let mut context = vec![0; query::context_bytes(depth)];
        for attempt in 0..BUSY_TRIES {
            context.fill(0);
            self.ask(&mut context, pid, address);
            bpf::run(program.as_fd(), &mut context)
                .map_err(Error::system("running a BPF query"))?;
            let pid = pid.unwrap_or(0);
            match verdict(&context, pid, address)? {
                Verdict::Found => return answer(&context, depth, pid, address),
                Verdict::Again if attempt < BUSY_YIELDS => std::thread::yield_now(),
                Verdict::Again => std::thread::sleep(BUSY_PAUSE),
            }
        }
        let pid = pid.unwrap_or(0);
        Err(Error::Busy { pid })
    }

    fn ask(&self, context: &mut [u8], pid: Option<u32>, address: u64) {
        put(context, at::ADDRESS, address);
        put(context, at::PID, u64::from(pid.unwrap_or(0)));
        if let Ok(walk) = &self.walk {
            put(context, at::DIRECT_MAP, walk.direct_map);
            put(context, at::MASK, walk.mask);
            put(context, at::FIVE_LEVELS, u64::from(walk.five_levels));
        }
    }

    /// Kernels before 6.7: all mappings of the process, of which one is wanted.
    fn find_by_iterator(&self, reason: &Reason, pid: Option<u32>, address: u64) -> Result<Found> {
        let all = match &self.mappings {
            Ok(_) => self.mappings(Some(pid.unwrap_or_else(std::process::id)))?,
            Err(_) => {
                return Err(Error::Unavailable {
                    strength: Strength::Vma,
                    reason: reason.clone(),
                });
            }
        };
        let found = all
            .into_iter()
            .find(|vma| (vma.start..vma.end).contains(&address));
        let pid = pid.unwrap_or(0);
        let vma = found.ok_or(Error::NoMapping { pid, address })?;
        Ok(Found {
            entry: Entry::default(),
            table: None,
            vma,
        })
    }

    /// All mappings of one process, or of all.
    pub(crate) fn mappings(&self, pid: Option<u32>) -> Result<Vec<Vma>> {
        let program = available(&self.mappings, Strength::Vma)?;
        records::mappings(&loader::collect(program, pid)?)
    }

    /// All dma-bufs of the machine.
    pub(crate) fn buffers(&self) -> Result<Vec<KernelBuffer>> {
        let program = available(&self.buffers, Strength::BufferList)?;
        records::buffers(&loader::collect(program, None)?)
    }
}

fn available<T>(loaded: &Loaded<T>, strength: Strength) -> Result<&T> {
    loaded.as_ref().map_err(|reason| Error::Unavailable {
        strength,
        reason: reason.clone(),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Found,
    /// A passing condition: a writer has the address space, or the iterator's memory
    /// is being refilled.
    Again,
}

/// What a query's context says before its answer is read.
fn verdict(context: &[u8], pid: u32, address: u64) -> Result<Verdict> {
    match get(context, at::STATUS) {
        status::FOUND => return Ok(Verdict::Found),
        status::NO_TASK => return Err(Error::NoProcess { pid }),
        status::NO_VMA => {}
        _ => {
            return Err(Error::Record {
                what: "a query without status",
            });
        }
    }
    // The iterator returns an `int`: the upper half of the register means nothing.
    let returned = (get(context, at::ITER_ERROR) as u32).cast_signed();
    match -i64::from(returned) {
        // No error, or a kernel thread, which has no address space.
        0 | ENOENT => Err(Error::NoMapping { pid, address }),
        EBUSY | ENOMEM => Ok(Verdict::Again),
        _ => Err(Error::System {
            call: "looking at an address space",
            errno: errno_of(-returned.max(-i32::MAX)),
        }),
    }
}

fn answer(context: &[u8], depth: Depth, pid: u32, address: u64) -> Result<Found> {
    let (vma, entry) = records::query_answer(context)?;
    // The iterator starts at the first mapping that ends past the address.
    if !(vma.start..vma.end).contains(&address) {
        return Err(Error::NoMapping { pid, address });
    }
    let table = (depth == Depth::Table && entry.level == 1).then(|| {
        let (words, _) = context[at::TABLE as usize..].as_chunks();
        words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
    });
    debug_assert!(
        table
            .as_ref()
            .is_none_or(|table: &Vec<u64>| table.len() * 8 == TABLE_BYTES)
    );
    Ok(Found { vma, entry, table })
}

fn get(context: &[u8], at: i16) -> u64 {
    let word = context.get(at as usize..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u64::from_ne_bytes(*word))
}

fn put(context: &mut [u8], at: i16, value: u64) {
    context[at as usize..][..8].copy_from_slice(&value.to_ne_bytes());
}

struct Peek(OwnedFd);

fn load_peek() -> Result<Peek> {
    loader::load(&peek::build()?, Strength::Pte).map(Peek)
}

impl KernelMemory for Peek {
    fn read(&self, address: u64) -> Option<[u8; peek::BYTES]> {
        let mut context = [0; peek::CONTEXT_BYTES];
        put(&mut context, peek::at::ADDRESS, address);
        bpf::run(self.0.as_fd(), &mut context).ok()?;
        if get(&context, peek::at::STATUS) != 0 {
            return None;
        }
        context[peek::at::DATA as usize..].first_chunk().copied()
    }
}

/// Where page tables are and how they are read, confirmed on the caller's own.
fn find_walk(btf: &Btf, peek: &Peek) -> Result<WalkParameters> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Unavailable {
            strength: Strength::Pte,
            reason: Reason::Architecture,
        });
    }
    let program = load_mappings(btf, Samples::Top)?;
    let own = records::mappings(&loader::collect(&program, Some(std::process::id()))?)?;
    let pgd = own.iter().map(|vma| vma.pgd).find(|&pgd| pgd != 0);
    let pgd = pgd.ok_or(Error::Unavailable {
        strength: Strength::Pte,
        reason: Reason::Unconfirmed,
    })?;
    page_table::confirm(peek, pgd)
}

fn load_mappings(btf: &Btf, samples: Samples) -> Result<OwnedFd> {
    loader::load(&mappings::build(btf, samples)?, Strength::Vma)
}

fn load_buffers(btf: &Btf, importers: bool) -> Loaded<OwnedFd> {
    let program = buffers::build(btf, importers);
    program
        .and_then(|program| loader::load(&program, Strength::BufferList))
        .map_err(Error::into_reason)
}

fn load_queries(btf: &Btf, subject: Subject, walk: bool) -> Loaded<Queries> {
    let by_own_ids = btf.function("bpf_task_from_vpid").is_ok();
    if subject == Subject::Process && !by_own_ids && !environment::in_initial_pid_namespace() {
        return Err(Reason::NotInKernel {
            what: "lookup of process ids of this namespace".to_owned(),
        });
    }
    let load = |depth| {
        query::build(btf, subject, depth)
            .and_then(|program| loader::load(&program, Strength::Query))
    };
    let queries = if walk {
        load(Depth::Entry).and_then(|entry| {
            let table = load(Depth::Table).map(Some)?;
            Ok(Queries { entry, table })
        })
    } else {
        load(Depth::Vma).map(|entry| Queries { entry, table: None })
    };
    queries.map_err(Error::into_reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched() -> (Vec<u8>, u64) {
        let memory = vec![7; 64 * 1024];
        let address = std::hint::black_box(&memory).as_ptr() as u64 + 4096;
        (memory, address)
    }

    /// Kernels before 6.7 have no open-coded iterator: the list answers instead.
    #[test]
    fn without_the_query_the_list_answers() {
        let mut kernel = Kernel::open();
        if let Err(reason) = kernel.vma() {
            return println!("skipped: {reason}");
        }
        let (_memory, address) = touched();
        let exact = kernel.find(None, address, false).unwrap();
        let missing = Reason::NotInKernel {
            what: "function bpf_iter_task_vma_new".to_owned(),
        };
        kernel.own = Err(missing.clone());
        kernel.process = Err(missing);
        for pid in [None, Some(std::process::id())] {
            let listed = kernel.find(pid, address, true).unwrap();
            assert_eq!(listed.vma.start, exact.vma.start);
            assert_eq!(listed.vma.page_prot, exact.vma.page_prot);
            assert_eq!(listed.vma.flags, exact.vma.flags);
            assert_eq!(listed.vma.samples.is_empty(), kernel.walk.is_err());
        }
        let nowhere = kernel.find(None, 0x1000, false);
        assert!(matches!(nowhere, Err(Error::NoMapping { .. })));
    }

    fn context(status: u64, returned: i32, upper_half: u64) -> Vec<u8> {
        let mut context = vec![0; query::context_bytes(Depth::Entry)];
        put(&mut context, at::STATUS, status);
        let low = u64::from(returned.cast_unsigned());
        put(&mut context, at::ITER_ERROR, upper_half << 32 | low);
        context
    }

    /// Busy is not "nothing there", whatever the upper half of the register holds.
    #[test]
    fn passing_conditions_are_asked_again() {
        for upper_half in [0, 0xffff_ffff, 7] {
            for errno in [libc::EBUSY, libc::ENOMEM] {
                let busy = verdict(&context(status::NO_VMA, -errno, upper_half), 1, 2);
                assert_eq!(busy.unwrap(), Verdict::Again, "{errno} {upper_half:#x}");
            }
            let nothing = verdict(&context(status::NO_VMA, 0, upper_half), 1, 2);
            assert!(matches!(nothing, Err(Error::NoMapping { .. })));
        }
        let of_a_kernel_thread = verdict(&context(status::NO_VMA, -libc::ENOENT, 0), 1, 2);
        assert!(matches!(of_a_kernel_thread, Err(Error::NoMapping { .. })));
        let other = verdict(&context(status::NO_VMA, -libc::EINVAL, 0), 1, 2);
        assert!(matches!(other, Err(Error::System { .. })));
        for senseless in [i32::MIN, i32::MAX] {
            assert!(verdict(&context(status::NO_VMA, senseless, 0), 1, 2).is_err());
        }
        let nobody = verdict(&context(status::NO_TASK, 0, 0), 1, 2);
        assert!(matches!(nobody, Err(Error::NoProcess { .. })));
        assert!(verdict(&context(9, 0, 0), 1, 2).is_err());
    }

    #[test]
    fn walks_in_the_kernel_and_in_rust_agree() {
        let kernel = Kernel::open();
        let (Ok(walk), Ok(peek)) = (kernel.walk(), load_peek()) else {
            return println!("skipped: no page tables here");
        };
        let (_memory, address) = touched();
        let found = kernel.find(None, address, true).unwrap();
        let again = page_table::walk(&peek, found.vma.pgd, address, walk);
        assert_eq!(again.level, found.entry.level);
        // Accessed and dirty may be set in between.
        assert_eq!(again.entry & !0x60, found.entry.entry & !0x60);
        if let Some(table) = found.table {
            let slot = (address >> 12 & 511) as usize;
            assert_eq!(table[slot] & !0x60, found.entry.entry & !0x60);
        }
    }
}
