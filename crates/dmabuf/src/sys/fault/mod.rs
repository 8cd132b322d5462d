//! Memory that goes away while it is mapped: SIGBUS, made an error.
//!
//! A driver whose device was unplugged may answer a page fault with SIGBUS, and
//! so does a file that was shortened. Neither is this process's fault, and
//! neither may end it. So a mapping can be watched: the first SIGBUS within it
//! replaces all of it by private zero pages, says so in the watch, and the
//! access goes on with zeros. A SIGBUS elsewhere goes to whoever had the signal
//! before.
//!
//! The handler is installed with the first watch and stays. A program that
//! installs its own afterwards takes this away from itself, unless it calls the
//! one that was there.
#![expect(unsafe_code, reason = "handles a signal and replaces mappings in it")]

mod slot;

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::sys::fault::slot::{Range, Slot};

/// Slots in a chunk; a chunk is never freed, but its slots are used again.
const SLOTS: usize = 64;

struct Chunk {
    slots: [Slot; SLOTS],
    next: *mut Chunk,
}

/// The newest chunk. The handler walks the list, so it is only ever added to.
static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(ptr::null_mut());
/// Held by who takes a slot; the handler takes none.
static TAKING: Mutex<()> = Mutex::new(());
/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A watched range of addresses, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    slot: &'static Slot,
}

impl Watch {
    /// Watches `len` bytes at `start`.
    ///
    /// # Safety
    /// The range is whole pages of a mapping of ours that stays mapped until
    /// the watch is dropped, and no Rust reference to its bytes ever exists:
    /// they may turn into zeros at any access.
    pub(crate) unsafe fn over(start: *mut u8, len: usize) -> Result<Self> {
        install()?;
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots().find(|slot| slot.is_free()).unwrap_or_else(grow);
        slot.take(Range {
            start: start.expose_provenance(),
            len,
        });
        Ok(Self { slot })
    }

    /// Whether the memory went away.
    pub(crate) fn lost(&self) -> bool {
        self.slot.lost()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.slot.free();
    }
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut next = CHUNKS.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or a chunk that was leaked before it was put in the
        // list, and of which only atomics change.
        let chunk: &'static Chunk = unsafe { next.as_ref() }?;
        next = chunk.next;
        Some(&chunk.slots)
    })
    .flatten()
}

/// Adds a chunk and gives its first slot. `TAKING` is held.
fn grow() -> &'static Slot {
    let chunk = Box::leak(Box::new(Chunk {
        slots: std::array::from_fn(|_| Slot::default()),
        next: CHUNKS.load(Ordering::Relaxed),
    }));
    CHUNKS.store(chunk, Ordering::Release);
    &chunk.slots[0]
}

/// Installs the handler, once.
fn install() -> Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    // SAFETY: an all-zero `sigaction` is a valid one.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = (on_sigbus as extern "C" fn(_, _, _)) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before = action;
    // SAFETY: both structs live until the call returns; the handler has the
    // signature that SA_SIGINFO asks for, and only does what a handler may.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) } != 0 {
        return Err(Error::sys("sigaction", std::io::Error::last_os_error()));
    }
    let _ = BEFORE.set(before);
    *installed = true;
    Ok(())
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library's errno of this thread always exists.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; an int of this thread alone.
    let kept = unsafe { *errno };
    // SAFETY: the kernel gives a `siginfo_t` that lives until the handler
    // returns and that nobody else has.
    let told = unsafe { &*info };
    // SAFETY: for SIGBUS it carries an address.
    let address = unsafe { told.si_addr() }.addr();
    if !blank_around(address) {
        hand_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
}

/// Replaces the watched range around `address`, if there is one.
fn blank_around(address: usize) -> bool {
    let found = slots().find_map(|slot| {
        // That of this address is in use, so it does not change meanwhile.
        let range = slot.range().filter(|range| range.contains(address))?;
        Some((slot, range))
    });
    let Some((slot, Range { start, len })) = found else {
        return false;
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let target = ptr::with_exposed_provenance_mut(start);
    // SAFETY: whoever watches the range owns it, keeps it mapped while somebody
    // accesses it, which is what just happened, and makes no references to it.
    let blank = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(target, len, protection, flags, -1, 0)
    };
    if blank == libc::MAP_FAILED {
        return false;
    }
    slot.lose();
    true
}

/// Does what would have been done without us.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = BEFORE.get();
    match before.map(|action| (action.sa_sigaction, action.sa_flags)) {
        None | Some((libc::SIG_DFL | libc::SIG_IGN, _)) => {
            // The access is made again when this returns, and then it kills, as
            // it does when ignored.
            // SAFETY: a valid signal, and a disposition that runs no code.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Some((handler, flags)) if flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void);
            // SAFETY: who installed it with SA_SIGINFO gave a function of this
            // signature.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        Some((handler, _)) => {
            // SAFETY: who installed it without SA_SIGINFO gave a function of
            // this signature.
            let handler =
                unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
            handler(signal);
        }
    }
}
