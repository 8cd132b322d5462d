//! Contexts, command streams and capsets, of which the device has none.

use landbridge_protocol_gpu::ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, Unspecified,
};
use landbridge_protocol_gpu::{
    CapsetId, Command, ControlHeader, GetCapset, GetCapsetInfo, ResourceCreate3d, Submit3d,
};
use landbridge_transport::guest::PAGE;

use crate::commands::{
    attach_to_context, create_2d, create_context, detach_from_context, host_blob, map, show, unref,
};
use crate::row::{Expect, OK, Request, Row, Seen};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = capsets();
    rows.extend(streams());
    rows.extend(contexts());
    rows
}

fn capsets() -> Vec<Row> {
    let mut rows = Vec::new();
    for index in [0, 1, 2, 63, 1 << 31, u32::MAX] {
        rows.push(Row::command(
            format!("capset info {index}"),
            &[],
            Command::GetCapsetInfo(GetCapsetInfo { index }),
            InvalidParameter,
        ));
    }
    for id in [0, 1, 2, 3, 4, 5, 6, 64, u32::MAX] {
        for version in [0, 1, u32::MAX] {
            rows.push(Row::command(
                format!("capset {id} in version {version}"),
                &[],
                Command::GetCapset(GetCapset {
                    id: CapsetId(id),
                    version,
                }),
                InvalidParameter,
            ));
        }
    }
    rows
}

/// In a context that is there, if `context` is not 0.
fn in_context(name: &'static str, context: u32, send: Vec<u8>, expect: impl Into<Seen>) -> Row {
    let before = match context {
        0 => Vec::new(),
        _ => vec![create(context)],
    };
    let attack = Request {
        bytes: send,
        expect: Expect::Exactly(expect.into()),
        ..Request::ok(&Command::GetDisplayInfo)
    };
    Row::requests(name, before, attack)
}

/// Makes a context.
fn create(context: u32) -> Request {
    let header = ControlHeader::in_context(context);
    Request::with_header(header, &create_context(0), OK)
}

fn streams() -> Vec<Row> {
    // A stream of `len` bytes that says it has `size`.
    let submit = |context, len: usize, size: u32| {
        let command = Command::Submit3d(Submit3d {
            stream: vec![0xee; len].into(),
        });
        let mut bytes = command.encode(&ControlHeader::in_context(context));
        bytes[24..28].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    vec![
        in_context("submit nothing", 5, submit(5, 0, 0), OK),
        in_context(
            "submit nothing, and bytes after it",
            5,
            submit(5, 64, 0),
            OK,
        ),
        in_context(
            "submit one byte past the chain",
            5,
            submit(5, 4, 5),
            InvalidParameter,
        ),
        in_context(
            "submit past the chain",
            5,
            submit(5, 4, 4096),
            InvalidParameter,
        ),
        in_context("submit 4 GiB", 5, submit(5, 4, u32::MAX), InvalidParameter),
        in_context(
            "submit 2 GiB, and nothing there",
            5,
            submit(5, 0, 1 << 31),
            InvalidParameter,
        ),
        in_context("submit a stream", 5, submit(5, 64, 64), Unspecified),
        in_context(
            "submit a long stream",
            5,
            submit(5, 1 << 20, 1 << 20),
            Unspecified,
        ),
        in_context("submit in no context", 0, submit(5, 4, 4), InvalidContextId),
        in_context(
            "submit nothing in no context",
            0,
            submit(5, 0, 0),
            InvalidContextId,
        ),
        in_context("submit in context 0", 0, submit(0, 0, 0), InvalidContextId),
        Row::command(
            "3D resource without a renderer",
            &[],
            Command::ResourceCreate3d(ResourceCreate3d::default()),
            Unspecified,
        ),
    ]
}

fn contexts() -> Vec<Row> {
    let header = ControlHeader::in_context;
    let blob = || Request::ok(&host_blob(1, PAGE));
    let ask = |context, command: &Command<'_>, expect: Seen| {
        Request::with_header(header(context), command, expect)
    };
    vec![
        Row::command("create context 0", &[], create_context(0), InvalidContextId),
        Row::command(
            "destroy context 0",
            &[],
            Command::CtxDestroy,
            InvalidContextId,
        ),
        Row::with_header(
            "destroy no context",
            &[],
            header(9),
            Command::CtxDestroy,
            InvalidContextId,
        ),
        Row::with_header(
            "create a context for a capset that is not there",
            &[],
            header(5),
            create_context(4),
            InvalidParameter,
        ),
        Row::with_header(
            "attach to no context",
            &[create_2d(1, 4, 4)],
            header(5),
            attach_to_context(1),
            InvalidContextId,
        ),
        Row::requests(
            "create a context twice",
            vec![create(5)],
            ask(5, &create_context(0), InvalidContextId.into()),
        ),
        Row::requests(
            "attach nothing to a context",
            vec![create(5)],
            ask(5, &attach_to_context(1), InvalidResourceId.into()),
        ),
        Row::requests(
            "detach what is not attached",
            vec![create(5), Request::ok(&create_2d(1, 4, 4))],
            ask(5, &detach_from_context(1), InvalidParameter.into()),
        ),
        Row::requests(
            "destroy a context whose resource is mapped and shown",
            vec![
                create(5),
                blob(),
                ask(5, &attach_to_context(1), OK),
                Request::ok(&map(1, 0)),
                Request::ok(&show(0, 1, 4, 4)),
                ask(5, &Command::CtxDestroy, OK),
            ],
            Request::ok(&unref(1)),
        ),
        Row::requests(
            "attach and unref in a context many times",
            std::iter::once(create(5))
                .chain((0..40).flat_map(|_| {
                    let gone = Request::ok(&unref(1));
                    // A dead resource must not stay attached.
                    [blob(), ask(5, &attach_to_context(1), OK), gone]
                }))
                .collect(),
            blob(),
        ),
    ]
}
