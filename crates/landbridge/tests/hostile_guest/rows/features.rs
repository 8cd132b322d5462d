//! Commands before the negotiation of what they need.

use anyhow::{Context, ensure};
use landbridge_device::{Device, Reply, Request};
use landbridge_protocol_gpu::ErrorCode::Unspecified;
use landbridge_protocol_gpu::{Command, ControlHeader, Features};

use crate::machine::PATIENCE;
use crate::row::{OK, Row, judge};

pub(super) fn rows() -> Vec<Row> {
    let commands = landbridge_hostile::optional_commands();
    let early = commands
        .into_iter()
        .enumerate()
        .map(|(number, (_, command))| {
            let name = format!("{:?} ({number})", command.kind());
            before_negotiation(name, command)
        });
    early.chain(written()).collect()
}

/// A VMM can't start a queue before the features are set, so this is said to
/// the device itself.
fn before_negotiation(name: String, command: Command<'static>) -> Row {
    let name = format!("{name} before negotiation");
    Row::script(name, Unspecified, move |machine| {
        machine.leave()?;
        let (reply, answer) = Reply::channel(2048);
        let bytes = command.encode(&ControlHeader::in_context(1));
        machine.device.handle(0, Request { bytes, reply });
        let answer = answer.recv_timeout(PATIENCE).context("no answer")?;
        machine.connect(Features::all(), true)?;
        judge(&answer)
    })
}

fn written() -> Vec<Row> {
    vec![Row::script(
        "the configuration space written all over",
        OK,
        |machine| {
            let before = machine.embedded().config(0, 24)?;
            for offset in 0..24 {
                machine.embedded().write_config(offset, &[0xff; 4])?;
            }
            let after = machine.embedded().config(0, 24)?;
            ensure!(before == after, "{before:?} became {after:?}");
            Ok(OK)
        },
    )]
}
