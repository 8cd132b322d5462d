//! Requests that are under way at once.

use anyhow::ensure;
use landbridge_protocol_gpu::{CONTROL_QUEUE, Command, ControlHeader, ResponseKind};

use crate::machine::PATIENCE;
use crate::row::{OK, Row, judge};

pub(super) fn rows() -> Vec<Row> {
    vec![Row::script(
        "fences on more rings than there are",
        OK,
        move |machine| {
            let mut pending = Vec::new();
            for turn in 0..100u32 {
                let header = ControlHeader::in_context(turn % 7)
                    .with_fence(1)
                    .with_ring(turn as u8 % 64);
                let bytes = Command::GetDisplayInfo.encode(&header);
                pending.push(machine.embedded().submit(CONTROL_QUEUE, &bytes, 2048)?);
            }
            for answer in pending {
                let seen = judge(&answer.wait(PATIENCE)?.bytes)?;
                ensure!(seen == ResponseKind::OkDisplayInfo.into(), "{seen:?}");
            }
            Ok(OK)
        },
    )]
}
