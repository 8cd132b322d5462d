//! Contexts, command streams and capsets, of which the device has none.

use anyhow::ensure;
use landbridge_protocol_gpu::ErrorCode::{
    InvalidContextId, InvalidParameter, InvalidResourceId, OutOfMemory, Unspecified,
};
use landbridge_protocol_gpu::{
    CapsetId, Command, ControlHeader, ErrorCode, GetCapset, GetCapsetInfo, ResourceCreate3d,
    Submit3d,
};
use landbridge_transport::guest::PAGE;

use crate::commands::{
    attach_to_context, create_2d, create_context, detach_from_context, host_blob, map, unref,
};
use crate::row::{OK, Row, Seen};

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
    Row::script(name, expect, move |machine| {
        if context != 0 {
            let header = ControlHeader::in_context(context);
            let seen = machine.ask_with(header, &create_context(0))?;
            ensure!(seen == OK, "no context: {seen:?}");
        }
        crate::row::judge(&machine.talk(0, &send, 2048)?)
    })
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
    let code = |code: ErrorCode| Seen::from(code);
    let header = ControlHeader::in_context;
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
        Row::script("create a context twice", InvalidContextId, move |machine| {
            machine.ask_with(header(5), &create_context(0))?;
            machine.ask_with(header(5), &create_context(0))
        }),
        Row::script(
            "attach nothing to a context",
            InvalidResourceId,
            move |machine| {
                machine.ask_with(header(5), &create_context(0))?;
                machine.ask_with(header(5), &attach_to_context(1))
            },
        ),
        Row::script(
            "detach what is not attached",
            InvalidParameter,
            move |machine| {
                machine.ask_with(header(5), &create_context(0))?;
                machine.ok(&create_2d(1, 4, 4))?;
                machine.ask_with(header(5), &detach_from_context(1))
            },
        ),
        Row::script(
            "contexts until the limit, and one more",
            OutOfMemory,
            move |machine| {
                for id in 1..=8 {
                    let seen = machine.ask_with(header(id), &create_context(0))?;
                    ensure!(seen == OK, "context {id}: {seen:?}");
                }
                machine.ask_with(header(9), &create_context(0))
            },
        ),
        Row::script(
            "attachments until the limit, and one more",
            OutOfMemory,
            move |machine| {
                machine.ask_with(header(5), &create_context(0))?;
                for id in 1..=17 {
                    machine.ok(&host_blob(id, PAGE))?;
                    let seen = machine.ask_with(header(5), &attach_to_context(id))?;
                    ensure!(
                        seen == if id < 17 { OK } else { code(OutOfMemory) },
                        "{id}: {seen:?}"
                    );
                }
                machine.ask_with(header(5), &attach_to_context(17))
            },
        ),
        Row::script(
            "destroy a context whose resource is mapped and shown",
            OK,
            move |machine| {
                machine.ask_with(header(5), &create_context(0))?;
                machine.ok(&host_blob(1, PAGE))?;
                machine.ask_with(header(5), &attach_to_context(1))?;
                machine.ok(&map(1, 0))?;
                machine.ok(&crate::commands::show(0, 1, 4, 4))?;
                let seen = machine.ask_with(header(5), &Command::CtxDestroy)?;
                machine.ok(&unref(1))?;
                machine.display.take();
                Ok(seen)
            },
        ),
        Row::script(
            "attach and unref in a context many times",
            OK,
            move |machine| {
                machine.ask_with(header(5), &create_context(0))?;
                for _ in 0..40 {
                    machine.ok(&host_blob(1, PAGE))?;
                    let seen = machine.ask_with(header(5), &attach_to_context(1))?;
                    ensure!(seen == OK, "a dead resource stays attached: {seen:?}");
                    machine.ok(&unref(1))?;
                }
                Ok(OK)
            },
        ),
    ]
}
