//! A device with fakes all around it, and a driver's view of it.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use landbridge_device::{Device, Reply, Request};
use landbridge_device_gpu::display::Event;
use landbridge_device_gpu::{Bounds, FakeDisplay, Gpu, GpuConfig, Mode, Output};
use landbridge_dmabuf::LetGo;
use landbridge_exchange::exporters::fake::FakeGuestMemory;
use landbridge_exchange::exporters::guest_pages::{GuestMemory, GuestPiece};
use landbridge_exchange::importers::window::fake::FakeMapper;
use landbridge_exchange::ranges::Range;
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, CONTROL_QUEUE, CURSOR_QUEUE, Command, ControlHeader, ErrorCode, Features,
    Format, MemEntry, Rect, ResourceAttachBacking, ResourceCreate2d, ResourceCreateBlob,
    ResourceFlush, ResourceMapBlob, ResourceRef, Response, SetScanout, SetScanoutBlob,
    TransferToHost2d,
};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const WINDOW: u64 = 1 << 20;
/// The guest's memory: two files with a hole between.
pub(crate) const LOW: u64 = 0x10_0000;
pub(crate) const HIGH: u64 = 0x30_0000;
pub(crate) const RAM: u64 = 0x10_0000;

/// Whoever counts what the whole process has open must be alone: all rigs hold
/// this for reading.
static ALONE: RwLock<()> = RwLock::new(());

/// Waits until no other test has a rig, and keeps them away.
pub(crate) fn alone() -> std::sync::RwLockWriteGuard<'static, ()> {
    ALONE.write().unwrap_or_else(PoisonError::into_inner)
}

#[expect(unsafe_code, reason = "a LetGo is made by unsafe code only")]
fn proof() -> LetGo {
    // SAFETY: the fake mapper, which alone uses this, duplicates no descriptor
    // and maps nothing, so that nothing made from the loan is left.
    unsafe { LetGo::assert() }
}

pub(crate) struct Rig {
    pub(crate) gpu: Gpu,
    pub(crate) exchange: Exchange,
    pub(crate) tenant: Tenant,
    pub(crate) mapper: Arc<FakeMapper>,
    pub(crate) display: Arc<FakeDisplay>,
    pub(crate) memory: Arc<FakeGuestMemory>,
    _not_alone: Option<RwLockReadGuard<'static, ()>>,
}

impl Rig {
    /// A device with a window, all its features negotiated.
    pub(crate) fn new() -> Self {
        Self::with(Mode::HostVisible { window: WINDOW }, |config| config)
    }

    pub(crate) fn guest_import() -> Self {
        Self::with(Mode::GuestImport, |config| config)
    }

    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        Self::with(Mode::HostVisible { window: WINDOW }, |config| {
            config.with_bounds(bounds)
        })
    }

    pub(crate) fn with(mode: Mode, change: impl FnOnce(GpuConfig) -> GpuConfig) -> Self {
        let guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let mut rig = Self::unguarded(mode, change);
        rig._not_alone = Some(guard);
        rig
    }

    /// A rig for a test that is alone.
    pub(crate) fn unguarded(mode: Mode, change: impl FnOnce(GpuConfig) -> GpuConfig) -> Self {
        let limits = Limits {
            pinned_bytes: 16 << 20,
            buffers: 256,
            attachments: 256,
            window_maps: 16,
            ..Limits::NONE
        };
        let tenant = Tenant::new("guest", limits);
        let outputs = vec![
            Output::new(640, 480).unwrap(),
            Output::new(1920, 1080).unwrap().connected(false),
        ];
        let config = change(GpuConfig::new(outputs, mode, tenant.clone()).unwrap());
        let mut memory = FakeGuestMemory::default();
        memory.add(LOW, RAM).unwrap();
        memory.add(HIGH, RAM).unwrap();
        let memory = Arc::new(memory);
        let mapper = Arc::new(FakeMapper::new(proof));
        let display = Arc::new(FakeDisplay::default());
        let exchange = Exchange::new();
        let gpu = Gpu::new(
            config,
            exchange.clone(),
            memory.clone(),
            mapper.clone(),
            display.clone(),
        );
        gpu.activate(gpu.features());
        Self {
            gpu,
            exchange,
            tenant,
            mapper,
            display,
            memory,
            _not_alone: None,
        }
    }

    /// Back to the state after negotiation.
    pub(crate) fn reset(&self) {
        self.gpu.reset();
        self.mapper.drop_all();
        self.gpu.activate(self.gpu.features());
    }

    /// Sends bytes and returns where the answer will be.
    pub(crate) fn send_bytes(
        &self,
        queue: usize,
        bytes: Vec<u8>,
        capacity: usize,
    ) -> Receiver<Vec<u8>> {
        let (reply, answer) = Reply::channel(capacity);
        self.gpu.handle(queue, Request { bytes, reply });
        answer
    }

    /// Sends a command and returns where the answer will be.
    pub(crate) fn send(&self, header: ControlHeader, command: &Command<'_>) -> Receiver<Vec<u8>> {
        let queue = if command.kind().is_cursor() {
            CURSOR_QUEUE
        } else {
            CONTROL_QUEUE
        };
        self.send_bytes(queue, command.encode(&header), 4096)
    }

    /// Sends a command in a context and waits for its answer.
    pub(crate) fn ask_in(&self, context: u32, command: &Command<'_>) -> Response {
        let answer = self.send(ControlHeader::in_context(context), command);
        response(&answer)
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn ask(&self, command: &Command<'_>) -> Response {
        self.ask_in(0, command)
    }

    /// Sends a command that must succeed without saying anything.
    #[track_caller]
    pub(crate) fn ok(&self, command: &Command<'_>) {
        assert_eq!(self.ask(command), Response::OkNoData, "{command:?}");
    }

    /// Sends a command that must be refused with `code`.
    #[track_caller]
    pub(crate) fn refused(&self, code: ErrorCode, command: &Command<'_>) {
        assert_eq!(self.ask(command), Response::Error(code), "{command:?}");
    }

    /// Writes guest memory.
    pub(crate) fn poke(&self, address: u64, bytes: &[u8]) {
        let piece = self.piece(address, bytes.len() as u64);
        rustix::io::pwrite(&piece.file, bytes, piece.offset).unwrap();
    }

    /// Reads guest memory.
    pub(crate) fn peek(&self, address: u64, len: usize) -> Vec<u8> {
        let piece = self.piece(address, len as u64);
        let mut bytes = vec![0; len];
        rustix::io::pread(&piece.file, &mut bytes[..], piece.offset).unwrap();
        bytes
    }

    fn piece(&self, address: u64, len: u64) -> GuestPiece {
        let range = Range::new(address, len).unwrap();
        self.memory.resolve(range).unwrap().remove(0)
    }

    /// The buffer behind a resource.
    pub(crate) fn buffer(&self, id: u32) -> landbridge_exchange::Buffer {
        let status = self.gpu.status();
        let resource = status.resources.iter().find(|resource| resource.id == id);
        let number = resource.and_then(|resource| resource.buffer).unwrap();
        let mut buffers = self.exchange.buffers().into_iter();
        buffers.find(|buffer| buffer.id() == number).unwrap()
    }

    /// Asserts that a device that was just reset holds nothing.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        for resource in [
            Resource::PinnedBytes,
            Resource::Buffers,
            Resource::Attachments,
            Resource::WindowMaps,
        ] {
            assert_eq!(self.tenant.used(resource), 0, "{resource} are charged");
        }
        assert!(self.exchange.buffers().is_empty());
        assert!(self.exchange.registry().is_empty());
        let status = self.gpu.status();
        assert!(status.resources.is_empty() && status.contexts.is_empty());
        assert_eq!((status.maps, status.waiting, status.fences), (0, 0, 0));
        assert!(self.gpu.scanout(0).is_none() && self.gpu.scanout(1).is_none());
    }

    /// Asserts that the device does its main job: a picture of the guest is
    /// shown. Leaves the device as it was.
    #[track_caller]
    pub(crate) fn assert_alive(&self) {
        let id = 0xa11e;
        self.ok(&create_2d(id, 4, 2));
        self.poke(LOW, &[7; 32]);
        self.ok(&attach(id, &[MemEntry::new(LOW, 32)]));
        self.ok(&transfer(id, Rect::of_size(4, 2), 0));
        self.ok(&set_scanout(1, id, Rect::of_size(4, 2)));
        self.display.take();
        self.ok(&flush(id, Rect::of_size(4, 2)));
        let events = self.display.take();
        let [
            Event::Flushed {
                scanout: 1,
                pixels: Some(pixels),
                ..
            },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(pixels[..], [7; 32]);
        self.ok(&unref(id));
        self.display.take();
    }
}

/// The answer, which must come.
#[track_caller]
pub(crate) fn response(answer: &Receiver<Vec<u8>>) -> Response {
    let bytes = answer.recv_timeout(Duration::from_secs(60)).unwrap();
    Response::parse(&bytes).unwrap().1
}

pub(crate) fn create_2d(id: u32, width: u32, height: u32) -> Command<'static> {
    Command::ResourceCreate2d(ResourceCreate2d {
        resource_id: id,
        format: Format::R8G8B8A8,
        width,
        height,
    })
}

pub(crate) fn attach(id: u32, entries: &[MemEntry]) -> Command<'_> {
    Command::ResourceAttachBacking(ResourceAttachBacking {
        resource_id: id,
        entries: entries.into(),
    })
}

pub(crate) fn detach(id: u32) -> Command<'static> {
    Command::ResourceDetachBacking(ResourceRef { resource_id: id })
}

pub(crate) fn unref(id: u32) -> Command<'static> {
    Command::ResourceUnref(ResourceRef { resource_id: id })
}

pub(crate) fn transfer(id: u32, rect: Rect, offset: u64) -> Command<'static> {
    Command::TransferToHost2d(TransferToHost2d {
        rect,
        offset,
        resource_id: id,
    })
}

pub(crate) fn set_scanout(scanout: u32, id: u32, rect: Rect) -> Command<'static> {
    Command::SetScanout(SetScanout {
        rect,
        scanout_id: scanout,
        resource_id: id,
    })
}

pub(crate) fn flush(id: u32, rect: Rect) -> Command<'static> {
    Command::ResourceFlush(ResourceFlush {
        rect,
        resource_id: id,
    })
}

pub(crate) fn blob(mem: BlobMem, id: u32, size: u64, entries: &[MemEntry]) -> Command<'_> {
    Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: id,
        mem,
        flags: BlobFlags::all(),
        blob_id: 0,
        size,
        entries: entries.into(),
    })
}

pub(crate) fn host_blob(id: u32, size: u64) -> Command<'static> {
    blob(BlobMem::Host3d, id, size, &[])
}

pub(crate) fn map(id: u32, offset: u64) -> Command<'static> {
    Command::ResourceMapBlob(ResourceMapBlob {
        resource_id: id,
        offset,
    })
}

pub(crate) fn unmap(id: u32) -> Command<'static> {
    Command::ResourceUnmapBlob(ResourceRef { resource_id: id })
}

pub(crate) fn assign_uuid(id: u32) -> Command<'static> {
    Command::ResourceAssignUuid(ResourceRef { resource_id: id })
}

/// A picture with packed rows at the blob's beginning.
pub(crate) fn picture(scanout: u32, id: u32, width: u32, height: u32) -> SetScanoutBlob {
    SetScanoutBlob {
        rect: Rect::of_size(width, height),
        scanout_id: scanout,
        resource_id: id,
        width,
        height,
        format_code: Format::R8G8B8A8.code(),
        strides: [width.wrapping_mul(4), 0, 0, 0],
        offsets: [0; 4],
    }
}

/// All features but these.
pub(crate) fn without(gpu: &Gpu, features: Features) -> u64 {
    gpu.features() & !features.bits()
}
