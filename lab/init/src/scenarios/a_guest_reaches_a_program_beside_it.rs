//! The plumbing that our daemons need: a program runs beside a stock guest on
//! this machine's QEMU, and a device of the guest is its socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use anyhow::Context as _;

use crate::boot::open_port;
use crate::checks::Checks;
use crate::echo;
use crate::scenario::{Beside, Device, Expect, Needs, Scenario, Storey};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_guest_reaches_a_program_beside_it",
    claim: "a program started beside a guest answers it through a device, and ends with it",
    storey: Storey::Guest,
    needs: Needs {
        devices: &[PORT],
        beside: &[Beside {
            program: env!("CARGO_PKG_NAME"),
            args: &[echo::ARGUMENT, "{run}/echo"],
            ready: "{run}/echo",
        }],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

const NAME: &str = "landbridge.lab.echo";

const PORT: Device = Device::new(
    "echo",
    &[
        "-chardev",
        "socket,id=echo,path={run}/echo",
        "-device",
        "virtserialport,chardev=echo,name=landbridge.lab.echo",
    ],
);

fn body(checks: &mut Checks) -> anyhow::Result<()> {
    let mut port = open_port(NAME)?;
    port.write_all(b"is anybody there?\n")?;
    let mut answer = String::new();
    BufReader::new(port)
        .read_line(&mut answer)
        .context("waiting for an answer")?;
    checks.equal(
        "the program beside the guest answers",
        &answer.trim(),
        &echo::answer("is anybody there?").as_str(),
    );
    Ok(())
}
