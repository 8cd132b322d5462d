//! Locks: callbacks may call the device, and queues and resets may meet.

use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use landbridge_device::{Device, Reply, Request};
use landbridge_device_gpu::{Cursor, Display, Gpu, GpuConfig, Image, Mode, Output};
use landbridge_exchange::exporters::fake::FakeGuestMemory;
use landbridge_exchange::exporters::guest_pages::{GuestMemory, GuestPiece, NotGuestMemory};
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::window::{MapperError, Unmapped, WindowMap, WindowMapper};
use landbridge_exchange::ranges::{GuestPhysical, Range};
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::{Exchange, Fence, Limits, Tenant, Usage};
use landbridge_protocol_gpu::{
    Command, ControlHeader, Cursor as CursorCommand, CursorPosition, MemEntry, Rect, Response,
};

use crate::harness::*;

/// A display and a VMM that use the device while it waits for them.
#[derive(Default)]
struct Curious {
    gpu: OnceLock<Weak<Gpu>>,
}

impl Curious {
    fn look(&self) {
        let gpu = self.gpu.get().and_then(Weak::upgrade).unwrap();
        gpu.status();
        gpu.scanout(0);
        let (reply, answer) = Reply::channel(4096);
        let bytes = create_2d(99, 4, 4).encode(&ControlHeader::default());
        gpu.handle(0, Request { bytes, reply });
        answer.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

impl Display for Curious {
    fn flushed(&self, _: u32, _: &Image, _: Rect) {
        self.look();
    }

    fn disabled(&self, _: u32) {
        self.look();
    }

    fn cursor(&self, _: u32, _: &Cursor) {
        self.look();
    }
}

impl WindowMapper for Curious {
    fn map(&self, _: &WindowMap<'_>) -> Result<(), MapperError> {
        self.look();
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> Result<Unmapped, MapperError> {
        self.look();
        Err(MapperError::Refused("unmap"))
    }
}

#[test]
fn display_and_vmm_may_call_the_device() {
    let curious = Arc::new(Curious::default());
    let output = Output::new(640, 480).unwrap();
    let mode = Mode::HostVisible { window: WINDOW };
    let tenant = Tenant::new("guest", Limits::default());
    let gpu = Arc::new(Gpu::new(
        GpuConfig::new(vec![output], mode, tenant).unwrap(),
        Exchange::new(),
        Arc::new(FakeGuestMemory::default()),
        curious.clone(),
        curious.clone(),
    ));
    curious.gpu.set(Arc::downgrade(&gpu)).unwrap();
    gpu.activate(gpu.features());
    let cursor = Command::UpdateCursor(CursorCommand {
        position: CursorPosition::default(),
        resource_id: 1,
        hot_x: 0,
        hot_y: 0,
    });
    let whole = Rect::of_size(64, 64);
    for command in [
        create_2d(1, 64, 64),
        set_scanout(0, 1, whole),
        flush(1, whole),
        cursor,
        host_blob(2, PAGE),
        map(2, 0),
        unmap(2),
        map(2, 4096),
        unref(2),
        unref(1),
    ] {
        let (reply, answer) = Reply::channel(4096);
        let queue = usize::from(command.kind().is_cursor());
        let bytes = command.encode(&ControlHeader::default());
        gpu.handle(queue, Request { bytes, reply });
        let answer = answer.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(Response::parse(&answer).is_ok(), "{command:?}");
    }
    gpu.reset();
}

/// A guest memory during whose look-ups the device is reset, and has a resource
/// of the same id when they end.
struct Resetting {
    memory: FakeGuestMemory,
    gpu: OnceLock<Weak<Gpu>>,
}

impl GuestMemory for Resetting {
    fn resolve(&self, range: Range<GuestPhysical>) -> Result<Vec<GuestPiece>, NotGuestMemory> {
        let gpu = self.gpu.get().and_then(Weak::upgrade).unwrap();
        gpu.reset();
        gpu.activate(gpu.features());
        let (reply, _) = Reply::channel(24);
        let bytes = create_2d(1, 4, 4).encode(&ControlHeader::default());
        gpu.handle(0, Request { bytes, reply });
        self.memory.resolve(range)
    }
}

#[test]
fn a_command_of_an_earlier_life_changes_nothing() {
    let mut memory = FakeGuestMemory::default();
    memory.add(LOW, RAM).unwrap();
    let memory = Arc::new(Resetting {
        memory,
        gpu: OnceLock::new(),
    });
    let output = Output::new(640, 480).unwrap();
    let tenant = Tenant::new("guest", Limits::default());
    let curious = Arc::new(Curious::default());
    let gpu = Arc::new(Gpu::new(
        GpuConfig::new(vec![output], Mode::GuestImport, tenant.clone()).unwrap(),
        Exchange::new(),
        memory.clone(),
        curious.clone(),
        curious,
    ));
    memory.gpu.set(Arc::downgrade(&gpu)).unwrap();
    let entries = [MemEntry::new(LOW, 4096)];
    for (command, answered) in [(create_2d(1, 4, 4), true), (attach(1, &entries), false)] {
        let (reply, answer) = Reply::channel(24);
        let bytes = command.encode(&ControlHeader::default());
        gpu.handle(0, Request { bytes, reply });
        assert_eq!(answer.recv().unwrap().is_empty(), !answered);
    }
    let status = gpu.status();
    assert_eq!(status.resources[0].backing_ranges, None);
    assert_eq!(tenant.used(Resource::PinnedBytes), PAGE);
}

/// Both queues, writers of the shown pictures, screenshots and resets at the
/// same time: everything is answered and nothing is left.
#[test]
fn queues_writers_and_resets_may_meet() {
    let rig = Rig::new();
    let whole = Rect::of_size(64, 64);
    let cursor = |resource_id| {
        Command::UpdateCursor(CursorCommand {
            position: CursorPosition::default(),
            resource_id,
            hot_x: 0,
            hot_y: 0,
        })
    };
    let rounds = 150;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                let commands = [
                    create_2d(1, 64, 64),
                    set_scanout(round % 2, 1, whole),
                    flush(1, whole),
                    host_blob(2, PAGE),
                    map(2, 0),
                    Command::SetScanoutBlob(picture(0, 2, 4, 4)),
                    assign_uuid(2),
                    flush(2, whole),
                    unref(2),
                    unref(1),
                ];
                let headers = (0..).map(|fence| ControlHeader::default().with_fence(fence));
                let answers: Vec<_> = commands
                    .iter()
                    .zip(headers)
                    .map(|(command, header)| rig.send(header, command))
                    .collect();
                for answer in answers {
                    answer.recv_timeout(Duration::from_secs(60)).unwrap();
                }
            }
        });
        scope.spawn(|| {
            for round in 0..rounds {
                let answer = rig.send(ControlHeader::default(), &cursor(round % 3));
                answer.recv_timeout(Duration::from_secs(60)).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..rounds {
                for buffer in rig.exchange.buffers() {
                    let (fence, writer) = Fence::new("write");
                    buffer.reservation().add_as(fence, Usage::Write);
                    thread::yield_now();
                    writer.signal(Outcome::Done);
                }
                drop(rig.gpu.scanout(0));
                rig.gpu.status();
            }
        });
        scope.spawn(|| {
            for _ in 0..rounds / 10 {
                thread::yield_now();
                rig.reset();
            }
        });
    });
    rig.reset();
    rig.display.take();
    rig.assert_empty();
    rig.assert_alive();
}
