//! A row of the table: what is sent, and what must come back.

use anyhow::{Context, Result};
use landbridge_hostile::Attack;
use landbridge_protocol_gpu::{CONTROL_QUEUE, Features};

pub(crate) use landbridge_hostile::{OK, Seen, Then, judge};

use crate::machine::Machine;

type Send = Box<dyn Fn(&mut Machine) -> Result<Seen>>;

/// One attack.
pub(crate) struct Row {
    pub(crate) name: String,
    /// What the guest negotiates.
    pub(crate) features: Features,
    pub(crate) then: Then,
    /// Only in the first pass: it takes seconds.
    pub(crate) once: bool,
    pub(crate) send: Send,
    pub(crate) expect: Seen,
}

impl Row {
    /// Anything; it returns what came back.
    pub(crate) fn script(
        name: impl Into<String>,
        expect: impl Into<Seen>,
        send: impl Fn(&mut Machine) -> Result<Seen> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            features: Features::all(),
            then: Then::GoOn,
            once: false,
            send: Box::new(send),
            expect: expect.into(),
        }
    }

    /// The same, after which the guest must be reset.
    pub(crate) fn then_reset(mut self) -> Self {
        self.then = Then::Reset;
        self
    }

    /// The same, in the first pass only.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

impl From<landbridge_hostile::Row> for Row {
    fn from(row: landbridge_hostile::Row) -> Self {
        let (before, attack) = (row.before, row.attack);
        let send = move |machine: &mut Machine| {
            for (number, request) in before.iter().enumerate() {
                let sent = machine.request(request);
                sent.with_context(|| format!("before, {number}"))?;
            }
            match &attack {
                Attack::Request(request) => machine.request(request).map(|()| OK),
                Attack::Chain {
                    memory,
                    chain,
                    answer,
                    expect,
                } => {
                    machine.put(memory)?;
                    let written = machine.push(CONTROL_QUEUE, chain)?;
                    let seen = judge(&machine.read(*answer, written as usize)?)?;
                    anyhow::ensure!(seen == *expect, "{seen:x?} came back, not {expect:x?}");
                    Ok(OK)
                }
            }
        };
        Self {
            features: row.features,
            then: row.then,
            ..Self::script(row.name, OK, send)
        }
    }
}
