//! Fences, waiting for writers, and what happens when they never end.

use std::borrow::Cow;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use landbridge_device_gpu::Bounds;
use landbridge_device_gpu::display::Event;
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::{Fence, FenceSignaller, Usage};
use landbridge_protocol_gpu::{
    Command, ContextInit, ContextName, ControlHeader, CtxCreate, ErrorCode, Rect, ResourceRef,
    Response, Submit3d,
};

use crate::harness::*;

const WHOLE: Rect = Rect::of_size(4, 4);

/// A rig whose resource 1 is shown on scanout 0, and a writer of it that has
/// not ended.
fn busy(bounds: Bounds) -> (Rig, Fence, FenceSignaller) {
    let rig = Rig::with_bounds(bounds);
    rig.ok(&create_2d(1, 4, 4));
    rig.ok(&set_scanout(0, 1, WHOLE));
    let (fence, signaller) = Fence::new("decode frame 7");
    rig.buffer(1)
        .reservation()
        .add_as(fence.clone(), Usage::Write);
    (rig, fence, signaller)
}

fn send(rig: &Rig, command: &Command<'_>) -> Receiver<Vec<u8>> {
    rig.send(ControlHeader::default(), command)
}

fn fenced(rig: &Rig, fence: u64, command: &Command<'_>) -> Receiver<Vec<u8>> {
    rig.send(ControlHeader::default().with_fence(fence), command)
}

fn flushed_scanouts(rig: &Rig) -> Vec<u32> {
    let scanout = |event| match event {
        Event::Flushed { scanout, .. } => scanout,
        other => panic!("{other:?}"),
    };
    rig.display.take().into_iter().map(scanout).collect()
}

#[test]
fn a_flush_waits_for_the_writer_and_others_go_on() {
    let (rig, _, writer) = busy(Bounds::default());
    let flush = send(&rig, &flush(1, WHOLE));
    rig.ok(&create_2d(2, 4, 4));
    rig.ok(&set_scanout(1, 2, WHOLE));
    rig.assert_alive();
    assert!(flush.try_recv().is_err(), "the writer has not ended");
    assert_eq!(rig.gpu.status().waiting, 1);
    writer.signal(Outcome::Done);
    assert_eq!(response(&flush), Response::OkNoData);
    assert_eq!(flushed_scanouts(&rig), [0]);
}

#[test]
fn commands_of_one_scanout_keep_their_order_while_they_wait() {
    let (rig, _, writer) = busy(Bounds::default());
    rig.ok(&create_2d(2, 4, 4));
    let answers = [
        flush(1, WHOLE),
        // An idle resource on the same scanout, then nothing at all.
        set_scanout(0, 2, WHOLE),
        flush(2, WHOLE),
        set_scanout(0, 0, WHOLE),
    ]
    .map(|command| send(&rig, &command));
    assert_eq!(rig.gpu.status().waiting, 4);
    writer.signal(Outcome::Done);
    for answer in &answers {
        assert_eq!(response(answer), Response::OkNoData);
    }
    let events = rig.display.take();
    assert!(
        matches!(
            events[..],
            [
                Event::Flushed { scanout: 0, .. },
                Event::Flushed { scanout: 0, .. },
                Event::Disabled(0)
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn a_scanout_is_set_when_the_writer_ends() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    let (fence, writer) = Fence::new("decode");
    rig.buffer(1).reservation().add_as(fence, Usage::Write);
    let set = send(&rig, &Command::SetScanoutBlob(picture(0, 1, 4, 4)));
    let flush = send(&rig, &flush(1, WHOLE));
    assert!(rig.gpu.scanout(0).is_none());
    // Failed work is waited for like any other.
    writer.signal(Outcome::Failed);
    assert_eq!(response(&set), Response::OkNoData);
    assert_eq!(response(&flush), Response::OkNoData);
    assert_eq!(flushed_scanouts(&rig), [0]);
}

/// The flush is not on scanout 0's lane by itself, as nothing shows resource 1
/// yet; it must still come before the next picture.
#[test]
fn a_flush_behind_a_waiting_scanout_is_not_overtaken() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    rig.ok(&create_2d(2, 8, 8));
    let (fence, writer) = Fence::new("decode");
    rig.buffer(1).reservation().add_as(fence, Usage::Write);
    let set = send(&rig, &Command::SetScanoutBlob(picture(0, 1, 4, 4)));
    // Another writer, who ends after the scanout could be set to resource 2.
    let (fence, second_writer) = Fence::new("decode again");
    rig.buffer(1).reservation().add_as(fence, Usage::Write);
    let answers = [flush(1, WHOLE), set_scanout(0, 2, WHOLE), flush(2, WHOLE)]
        .map(|command| send(&rig, &command));
    writer.signal(Outcome::Done);
    assert_eq!(response(&set), Response::OkNoData);
    let image = rig.gpu.scanout(0).unwrap();
    assert_eq!(image.layout().stride(), 16, "not resource 2 yet");
    second_writer.signal(Outcome::Done);
    for answer in &answers {
        assert_eq!(response(answer), Response::OkNoData);
    }
    assert_eq!(flushed_scanouts(&rig), [0, 0]);
}

#[test]
fn fenced_answers_come_in_order_and_echo_their_fence() {
    let (rig, _, writer) = busy(Bounds::default());
    let first = fenced(&rig, 100, &flush(1, WHOLE));
    let second = fenced(&rig, 101, &Command::GetDisplayInfo);
    let refused = fenced(&rig, 102, &unref(77));
    let unfenced = send(&rig, &Command::GetDisplayInfo);
    assert!(matches!(response(&unfenced), Response::OkDisplayInfo(_)));
    assert!(second.try_recv().is_err() && refused.try_recv().is_err());
    assert_eq!(rig.gpu.status().fences, 3);
    writer.signal(Outcome::Done);
    for (fence, answer) in (100..).zip([first, second, refused]) {
        let bytes = answer.recv_timeout(Duration::from_secs(60)).unwrap();
        let (header, _) = Response::parse(&bytes).unwrap();
        assert_eq!(header.fence(), Some(fence));
    }
    assert_eq!(rig.gpu.status().fences, 0);
}

#[test]
fn rings_of_contexts_are_timelines_of_their_own() {
    let (rig, _, writer) = busy(Bounds::default());
    let create = Command::CtxCreate(CtxCreate {
        init: ContextInit(0),
        name: ContextName::default(),
    });
    rig.ask_in(1, &create);
    let waiting = fenced(&rig, 1, &flush(1, WHOLE));
    let header = ControlHeader::in_context(1).with_fence(2).with_ring(63);
    let ring = rig.send(header, &Command::GetDisplayInfo);
    assert!(matches!(response(&ring), Response::OkDisplayInfo(_)));
    let header = header.with_ring(64);
    let no_ring = rig.send(header, &Command::GetDisplayInfo);
    assert_eq!(
        response(&no_ring),
        Response::Error(ErrorCode::InvalidParameter)
    );
    drop(writer);
    assert_eq!(response(&waiting), Response::OkNoData);
}

/// What the Linux driver sends for a fence alone.
const NOTHING: Command<'static> = Command::Submit3d(Submit3d {
    stream: Cow::Borrowed(&[]),
});

#[test]
fn an_empty_stream_is_complete_when_the_work_on_its_contexts_resources_is() {
    let (rig, _, writer) = busy(Bounds::default());
    let create = Command::CtxCreate(CtxCreate {
        init: ContextInit(0),
        name: ContextName::default(),
    });
    for context in [1, 2] {
        rig.ask_in(context, &create);
    }
    rig.ok(&create_2d(2, 4, 4));
    rig.ask_in(
        1,
        &Command::CtxAttachResource(ResourceRef { resource_id: 1 }),
    );
    rig.ask_in(
        2,
        &Command::CtxAttachResource(ResourceRef { resource_id: 2 }),
    );
    let submit = |context, ring, fence| {
        let header = ControlHeader::in_context(context).with_fence(fence);
        rig.send(header.with_ring(ring), &NOTHING)
    };
    let first = submit(1, 0, 10);
    let behind = rig.send(
        ControlHeader::in_context(1).with_fence(11).with_ring(0),
        &Command::GetDisplayInfo,
    );
    let elsewhere = submit(2, 0, 10);
    assert_eq!(response(&elsewhere), Response::OkNoData, "an idle resource");
    let (second, third) = (submit(1, 1, 12), submit(1, 1, 13));
    // What begins after a submission does not hold it up.
    let (fence, later) = Fence::new("decode frame 8");
    rig.buffer(1).reservation().add_as(fence, Usage::Write);
    for waiting in [&first, &behind, &second, &third] {
        assert!(waiting.try_recv().is_err(), "the writer has not ended");
    }
    writer.signal(Outcome::Done);
    assert_eq!(response(&first), Response::OkNoData);
    assert!(matches!(response(&behind), Response::OkDisplayInfo(_)));
    for (fence, answer) in [(12, second), (13, third)] {
        let bytes = answer.recv_timeout(Duration::from_secs(60)).unwrap();
        let (header, _) = Response::parse(&bytes).unwrap();
        assert_eq!(header.fence(), Some(fence));
    }
    drop(later);
}

#[test]
fn a_writer_that_never_ends_costs_the_guest_an_error() {
    let bounds = Bounds {
        patience: Duration::from_millis(20),
        ..Bounds::default()
    };
    let (rig, fence, _writer) = busy(bounds);
    let set = Command::SetScanout(landbridge_protocol_gpu::SetScanout {
        rect: WHOLE,
        scanout_id: 1,
        resource_id: 1,
    });
    let answers = [fenced(&rig, 1, &flush(1, WHOLE)), fenced(&rig, 2, &set)];
    let off = fenced(&rig, 3, &set_scanout(1, 0, WHOLE));
    for answer in answers {
        assert_eq!(response(&answer), Response::Error(ErrorCode::Unspecified));
    }
    assert_eq!(response(&off), Response::OkNoData, "it waits for nobody");
    assert_eq!(fence.outcome(), None);
    assert_eq!(rig.gpu.status().metrics.stuck, 2);
    assert!(rig.gpu.scanout(0).is_some(), "as it was");
    assert!(rig.gpu.scanout(1).is_none());
    rig.assert_alive();
}

#[test]
fn no_more_commands_wait_than_the_bound() {
    let bounds = Bounds {
        waiting: 3,
        ..Bounds::default()
    };
    let (rig, _, writer) = busy(bounds);
    let answers = [(); 3].map(|()| send(&rig, &flush(1, WHOLE)));
    rig.refused(ErrorCode::OutOfMemory, &flush(1, WHOLE));
    writer.signal(Outcome::Done);
    for answer in answers {
        assert_eq!(response(&answer), Response::OkNoData);
    }
    rig.ok(&flush(1, WHOLE));
}

#[test]
fn unref_cancels_what_waits_for_the_resource() {
    let (rig, _, _writer) = busy(Bounds::default());
    let flush = send(&rig, &flush(1, WHOLE));
    rig.ok(&unref(1));
    assert_eq!(
        response(&flush),
        Response::Error(ErrorCode::InvalidResourceId)
    );
    rig.assert_alive();
}

#[test]
fn a_reset_drops_what_waits_unanswered() {
    let (rig, _, writer) = busy(Bounds::default());
    let flush = fenced(&rig, 1, &flush(1, WHOLE));
    let later = fenced(&rig, 2, &Command::GetDisplayInfo);
    rig.reset();
    assert_eq!(flush.recv().unwrap(), b"");
    assert_eq!(later.recv().unwrap(), b"");
    rig.assert_empty();
    writer.signal(Outcome::Done);
    rig.display.take();
    rig.assert_alive();
}

#[test]
fn a_transfer_waits_for_a_reader_of_the_picture() {
    let rig = Rig::new();
    rig.ok(&create_2d(1, 4, 4));
    let entries = [landbridge_protocol_gpu::MemEntry::new(LOW, 4096)];
    rig.ok(&attach(1, &entries));
    rig.ok(&set_scanout(0, 1, WHOLE));
    let image = rig.gpu.scanout(0).unwrap();
    let screenshot = image.read(Duration::ZERO).unwrap();
    let transfer = send(&rig, &transfer(1, WHOLE, 0));
    let flush = send(&rig, &flush(1, WHOLE));
    assert!(transfer.try_recv().is_err());
    screenshot.end().unwrap();
    assert_eq!(response(&transfer), Response::OkNoData);
    assert_eq!(response(&flush), Response::OkNoData);
}
