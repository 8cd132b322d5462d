//! Contexts: how many there can be, and how much in each.

use anyhow::ensure;
use landbridge_hostile::commands::{attach_to_context, create_context, host_blob};
use landbridge_protocol_gpu::ControlHeader;
use landbridge_protocol_gpu::ErrorCode::OutOfMemory;
use landbridge_transport::guest::PAGE;

use crate::row::{OK, Row};

pub(super) fn rows() -> Vec<Row> {
    let header = ControlHeader::in_context;
    vec![
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
                        seen == if id < 17 { OK } else { OutOfMemory.into() },
                        "{id}: {seen:?}"
                    );
                }
                machine.ask_with(header(5), &attach_to_context(17))
            },
        ),
    ]
}
