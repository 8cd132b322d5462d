//! One buffer, a window, and actors that check what they see.
#![expect(
    unsafe_code,
    reason = "proves to the ledger that a fake VMM holds nothing"
)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use landbridge_dmabuf::{Identity, LetGo};
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::importers::decoder::DecoderImport;
use landbridge_exchange::importers::window::fake::{Call, FakeMapper};
use landbridge_exchange::importers::window::{PAGE, Window, WindowError, WindowMapping};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Error, Exchange, Life, Limits, Revocation, Tenant};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use crate::watched::{Seen, Watched};

/// A while, which passes whenever the checker says so.
pub(crate) const WHILE: Duration = Duration::from_secs(3600);

/// What one actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Takes the memory away and looks whether anybody reaches it.
    Revoke,
    /// Takes it away and gives it back.
    RevokeAndRestore,
    /// The same, in one go and without a look.
    Blink,
    /// Takes it away and has all the time in the world.
    RevokeAtLeisure,
    /// Gives it back, if it is away.
    Restore,
    /// The exporter dies.
    Lose,
    /// Moves it.
    Move,
    /// Attaches a CPU, adds one to the counter twice, and closes it.
    Count,
    /// The same with a mapping that was there from the beginning.
    CountKept,
    /// Writes a frame.
    Decode,
    /// Maps it into the guest's window and out again.
    Window,
    /// Maps it into the guest's window, where it stays.
    WindowKept,
    /// The VMM dies: its window is gone.
    Reset,
    /// The driver ends, and the next one maps it into the window.
    Rebind,
}

/// One buffer and what is known of it.
pub(crate) struct World {
    exchange: Exchange,
    tenant: Tenant,
    pub(crate) buffer: Buffer,
    mapper: Arc<FakeMapper>,
    window: Arc<Window>,
    kept: Mutex<Option<CpuImport>>,
    model: MemoryModel,
    /// Odd while somebody knows that the memory is away.
    away: AtomicU64,
    /// How many restorations there were: taken while one is under way.
    restores: Mutex<u64>,
    /// Increments that ended well, and all that began.
    counted: AtomicU64,
    tried: AtomicU64,
    /// Accesses that were cut, and revocations that said so.
    victims: AtomicU64,
    reported: AtomicU64,
    /// How many frames are being written now. Looked at without a step.
    decoding: AtomicUsize,
    /// A window's mapping that is to be there in the end.
    stays: Mutex<Option<WindowMapping>>,
    seen: Arc<Seen>,
}

fn let_go() -> LetGo {
    // SAFETY: a `FakeMapper` makes no duplicate of a descriptor, no mapping and
    // nothing else of what it is lent, so there is nothing that could be left.
    unsafe { LetGo::assert() }
}

fn is_expected(error: &Error) -> bool {
    match error {
        Error::Revoked { .. }
        | Error::Timeout(_)
        | Error::Busy(_)
        | Error::Pinned { .. }
        | Error::Promised(_)
        | Error::Window(_)
        | Error::Export { .. } => true,
        Error::Memory(error) => matches!(
            error,
            landbridge_dmabuf::Error::Revoked | landbridge_dmabuf::Error::InUse { .. }
        ),
        _ => false,
    }
}

fn check<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(is_expected(&error), "{error:?}");
            None
        }
    }
}

impl World {
    pub(crate) fn new(model: MemoryModel) -> Arc<Self> {
        let exchange = Exchange::new();
        let tenant = Tenant::new("model", Limits::NONE);
        let seen = Arc::<Seen>::default();
        let watched = Watched::new(model, &seen);
        let buffer = exchange.publish(watched, &tenant).unwrap();
        let mapper = Arc::new(FakeMapper::new(let_go));
        let kept = CpuImport::attach(&buffer, "kept", Direction::ReadWrite, &tenant).unwrap();
        Arc::new(Self {
            exchange,
            tenant,
            window: Window::new(Arc::clone(&mapper) as Arc<_>, 16 * PAGE),
            mapper,
            kept: Mutex::new(Some(kept)),
            buffer,
            model,
            away: AtomicU64::new(0),
            restores: Mutex::new(0),
            counted: AtomicU64::new(0),
            tried: AtomicU64::new(0),
            victims: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            decoding: AtomicUsize::new(0),
            stays: Mutex::new(None),
            seen,
        })
    }

    /// All actors at once; then what must hold in the end.
    pub(crate) fn run(model: MemoryModel, acts: &[Act]) {
        let world = Self::new(model);
        let threads: Vec<_> = acts
            .iter()
            .map(|act| {
                let (world, act) = (Arc::clone(&world), *act);
                thread::spawn(move || world.act(act))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        world.end();
    }

    fn act(&self, act: Act) {
        match act {
            Act::Revoke => self.revoke(|buffer| buffer.revoke(WHILE)),
            Act::RevokeAndRestore => {
                self.revoke(|buffer| buffer.revoke(WHILE));
                self.restore();
            }
            Act::Blink => self.blink(),
            Act::RevokeAtLeisure => self.revoke_at_leisure(),
            Act::Restore => self.restore(),
            Act::Lose => self.revoke(|buffer| buffer.lose(WHILE)),
            Act::Move => drop(check(self.buffer.relocate(Kind::Memfd, WHILE))),
            Act::Count => self.count(),
            Act::CountKept => {
                let kept = self.kept.lock().unwrap().take();
                if let Some(cpu) = kept {
                    self.add_one(&cpu);
                    self.add_one(&cpu);
                }
            }
            Act::Decode => self.decode(),
            Act::Window => self.map(),
            Act::WindowKept => {
                let mapping = check(self.window.map(&self.buffer, 0, &self.tenant));
                *self.stays.lock().unwrap() = mapping;
            }
            Act::Rebind => self.rebind(),
            Act::Reset => {
                self.mapper.die();
                self.window.reset();
            }
        }
    }

    /// Whether the memory was away all the time that `work` took, as somebody
    /// else knows.
    fn while_away<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        let before = self.away.load(Ordering::SeqCst);
        let result = work();
        let after = self.away.load(Ordering::SeqCst);
        (result, before == after && before % 2 == 1)
    }

    /// Takes the memory away, and looks whether it is away until somebody
    /// restores it.
    fn revoke(&self, take: impl FnOnce(&Buffer) -> Result<Revocation, Error>) {
        // With a restoration under way nobody knows which comes first.
        let before = self.restores.try_lock().ok().map(|restores| *restores);
        let Some(report) = check(take(&self.buffer)) else {
            return;
        };
        if report.cut_off.is_some() {
            self.reported.fetch_add(1, Ordering::SeqCst);
        }
        let restores = self.restores.lock().unwrap();
        if before != Some(*restores) {
            return;
        }
        self.away.fetch_add(1, Ordering::SeqCst);
        for _ in 0..8 {
            assert!(!self.guest_reaches(), "a guest reaches memory that is away");
            thread::yield_now();
        }
        self.away.fetch_add(1, Ordering::SeqCst);
    }

    fn blink(&self) {
        let mut restores = self.restores.lock().unwrap();
        *restores += 1;
        if let Some(Revocation {
            cut_off: Some(_), ..
        }) = check(self.buffer.revoke(WHILE))
        {
            self.reported.fetch_add(1, Ordering::SeqCst);
        }
        check(self.buffer.restore(WHILE));
    }

    /// Everybody lets go in time, so nobody keeps anything.
    fn revoke_at_leisure(&self) {
        self.revoke(|buffer| buffer.revoke(Duration::MAX));
        assert!(!self.seen.was_left(), "somebody was not waited for");
    }

    fn restore(&self) {
        let mut restores = self.restores.lock().unwrap();
        *restores += 1;
        check(self.buffer.restore(WHILE));
    }

    /// Whether the VMM maps the memory that there is now.
    fn guest_reaches(&self) -> bool {
        let now = self.buffer.identity();
        !self.mapper.mapped().is_empty() && self.last_mapped() == now
    }

    fn last_mapped(&self) -> Option<Identity> {
        let calls = self.mapper.calls();
        calls.iter().rev().find_map(|call| match call {
            Call::Map { file, .. } => *file,
            Call::Unmap { .. } => None,
        })
    }

    fn count(&self) {
        let cpu = CpuImport::attach(&self.buffer, "cpu", Direction::ReadWrite, &self.tenant);
        if let Some(cpu) = check(cpu) {
            self.add_one(&cpu);
            self.add_one(&cpu);
        }
    }

    /// Adds one to a counter at both ends of the page.
    fn add_one(&self, cpu: &CpuImport) {
        self.tried.fetch_add(1, Ordering::SeqCst);
        let Some(access) = check(cpu.access(Direction::ReadWrite, WHILE)) else {
            return;
        };
        let view = access.view();
        let added = (|| {
            let first = self.reached(|| view.read_at::<u64>(0))?;
            let last = view.read_at::<u64>(4088)?;
            // A writer that was cut off got half of it done.
            if matches!(self.model, MemoryModel::Movable { .. }) {
                assert_eq!(first, last, "torn");
            }
            self.reached(|| view.write_at(0, first + 1))?;
            self.reached(|| view.write_at(4088, first + 1))
        })();
        let added = added.map_err(Error::from);
        match check(added.and_then(|()| access.end())) {
            Some(()) => self.counted.fetch_add(1, Ordering::SeqCst),
            None => self.victims.fetch_add(1, Ordering::SeqCst),
        };
    }

    /// An access to the memory, which must fail while it is away.
    fn reached<T>(
        &self,
        access: impl FnOnce() -> landbridge_dmabuf::Result<T>,
    ) -> landbridge_dmabuf::Result<T> {
        let (result, away) = self.while_away(|| {
            thread::yield_now();
            access()
        });
        assert!(
            !(away && result.is_ok()),
            "memory is reached while it is away"
        );
        result
    }

    /// A frame says the same at both ends of the page, and goes on counting.
    fn decode(&self) {
        let (decoder, away) =
            self.while_away(|| DecoderImport::attach(&self.buffer, "decoder", &self.tenant));
        assert!(
            !(away && decoder.is_ok()),
            "an importer comes in while the memory is away"
        );
        let Some(decoder) = check(decoder) else {
            return;
        };
        // A kept mapping would keep the decoder out.
        drop(self.kept.lock().unwrap().take());
        let frame = Arc::new(decoder).queue("frame");
        let fence = frame.fence().clone();
        let written = frame.write(WHILE, |bytes| {
            self.decoding.fetch_add(1, Ordering::SeqCst);
            let ((), away) = self.while_away(thread::yield_now);
            // No step is between the look and here, so that all is as it was then.
            let decoding = self.decoding.load(Ordering::SeqCst);
            assert!(
                !away || decoding <= self.seen.left_behind(),
                "memory is decoded into while it is away"
            );
            self.decoding.fetch_sub(1, Ordering::SeqCst);
            let count = u64::from_ne_bytes(bytes[..8].try_into().unwrap()) + 1;
            bytes[..8].copy_from_slice(&count.to_ne_bytes());
            bytes[4088..].copy_from_slice(&count.to_ne_bytes());
            self.tried.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(())
        });
        if check(written).is_some() {
            assert_eq!(fence.outcome(), Some(Outcome::Done));
            self.counted.fetch_add(1, Ordering::SeqCst);
        } else {
            assert_eq!(fence.outcome(), Some(Outcome::Failed));
        }
    }

    fn map(&self) {
        let mapping = check(self.window.map(&self.buffer, 0, &self.tenant));
        let Some(mapping) = mapping else {
            return;
        };
        for _ in 0..2 {
            thread::yield_now();
            // Pinned memory stays where it is.
            let moved = self.last_mapped() != self.buffer.identity();
            let movable = matches!(self.model, MemoryModel::Movable { .. });
            let here = self.buffer.life() == Life::Live;
            assert!(!(movable && moved && here), "pinned memory was moved");
        }
        // A VMM that died answers no more.
        let _ = mapping.unmap();
    }

    /// The VMM drops all maps and tells us later.
    fn rebind(&self) {
        self.mapper.drop_all();
        thread::yield_now();
        self.window.reset();
        let mapping = self.window.map(&self.buffer, 0, &self.tenant);
        if let Err(Error::Window(WindowError::Mapper(error))) = &mapping {
            panic!("the next driver has no window: {error}");
        }
        drop(check(mapping));
    }

    fn end(self: Arc<Self>) {
        if let Life::Revoked { .. } = self.buffer.life() {
            let holders = self.seen.storage().holders();
            assert!(holders.is_none(), "revoked, and there are {holders}");
        }
        assert!(
            self.victims.load(Ordering::SeqCst) == 0 || self.reported.load(Ordering::SeqCst) > 0,
            "an access was cut that nobody says was late"
        );
        drop(self.kept.lock().unwrap().take());
        if self.model == (MemoryModel::Revocable { restorable: true }) {
            check(self.buffer.restore(WHILE));
        }
        self.look();
        self.look_at_the_window();
        let world = Arc::into_inner(self).expect("all actors are gone");
        assert!(world.buffer.importers().is_empty(), "an importer is left");
        let Self {
            exchange,
            tenant,
            window,
            buffer,
            ..
        } = world;
        drop(buffer);
        // Somebody who was left behind may still be asking the VMM, and may be the
        // last who has the buffer and in the middle of dropping it.
        let all = || Resource::ALL.iter();
        for _ in 0..1000 {
            window.reset();
            if exchange.buffers().is_empty() && all().all(|it| tenant.used(*it) == 0) {
                break;
            }
            thread::yield_now();
        }
        assert!(exchange.buffers().is_empty(), "the buffer is left");
        for resource in Resource::ALL {
            assert_eq!(tenant.used(resource), 0, "{resource} are still charged");
        }
    }

    /// What the memory holds in the end.
    fn look(&self) {
        let cpu = CpuImport::attach(&self.buffer, "last", Direction::Read, &self.tenant);
        let Some(cpu) = check(cpu) else { return };
        let access = cpu.access(Direction::Read, Duration::MAX);
        let Some(access) = check(access) else { return };
        let value = access.view().read_at::<u64>(0).unwrap();
        let (counted, tried) = (
            self.counted.load(Ordering::SeqCst),
            self.tried.load(Ordering::SeqCst),
        );
        let lost = self.seen.bytes_were_left();
        assert!(
            lost || value >= counted,
            "{counted} counted, {value} there: a write is lost"
        );
        assert!(value <= tried, "{tried} tried, {value} there");
        access.end().unwrap();
    }
}

impl World {
    /// What is to be in the window is there, as soon as those have answered who
    /// did not do so in time.
    fn look_at_the_window(&self) {
        let Some(mapping) = self.stays.lock().unwrap().take() else {
            return;
        };
        for _ in 0..1000 {
            if mapping.is_mapped() {
                break;
            }
            thread::yield_now();
        }
        assert!(
            mapping.is_mapped() || self.buffer.life() != Life::Live,
            "the memory is back, but not in the window"
        );
        mapping.unmap().unwrap();
    }
}

/// Somebody whose access never ends is cut off, and nobody waits for him later.
pub(crate) fn stuck_access() {
    let world = World::new(MemoryModel::Revocable { restorable: true });
    let kept = world.kept.lock().unwrap().take().unwrap();
    let stuck = kept.access(Direction::Write, WHILE).unwrap();
    world.buffer.revoke(WHILE).unwrap();
    world.buffer.restore(Duration::MAX).unwrap();
    let buffer = world.buffer.clone();
    let other = CpuImport::attach(&buffer, "other", Direction::Read, &world.tenant).unwrap();
    let access = other.access(Direction::Read, Duration::MAX).unwrap();
    access.end().unwrap();
    drop(stuck);
}
