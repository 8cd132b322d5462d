//! A row of the table: what is sent, and what must come back.

use anyhow::{Result, bail, ensure};
use landbridge_protocol_gpu::{
    CONTROL_QUEUE, Command, ControlHeader, ErrorCode, Features, HEADER_SIZE, MAX_SCANOUTS,
    MapCaching, Response, ResponseKind,
};
use landbridge_transport::guest::Descriptor;

use crate::machine::Machine;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An answer of this type.
    Answer(u32),
    /// The chain, with nothing written.
    Nothing,
    /// Nothing at all: the connection or the queue ended.
    Ended,
}

impl From<ErrorCode> for Seen {
    fn from(code: ErrorCode) -> Self {
        Self::Answer(code.code())
    }
}

impl From<ResponseKind> for Seen {
    fn from(kind: ResponseKind) -> Self {
        Self::Answer(kind.code())
    }
}

/// The answer to a successful command that has nothing to say.
pub(crate) const OK: Seen = Seen::Answer(ResponseKind::OkNoData as u32);

/// What must happen before the device can serve a healthy guest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: it goes on at once.
    GoOn,
    /// A reset: the guest broke its queue or used up its limits.
    Reset,
}

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

    /// A command in a context, after commands that must succeed.
    pub(crate) fn with_header(
        name: impl Into<String>,
        before: &[Command<'static>],
        header: ControlHeader,
        attack: Command<'static>,
        expect: impl Into<Seen>,
    ) -> Self {
        let before = before.to_vec();
        Self::script(name, expect, move |machine| {
            for command in &before {
                machine.ok(command)?;
            }
            machine.ask_with(header, &attack)
        })
    }

    /// A command, after commands that must succeed.
    pub(crate) fn command(
        name: impl Into<String>,
        before: &[Command<'static>],
        attack: Command<'static>,
        expect: impl Into<Seen>,
    ) -> Self {
        Self::with_header(name, before, ControlHeader::default(), attack, expect)
    }

    /// Bytes on a queue, after commands that must succeed.
    pub(crate) fn bytes(
        name: impl Into<String>,
        before: &[Command<'static>],
        queue: usize,
        bytes: Vec<u8>,
        expect: impl Into<Seen>,
    ) -> Self {
        let before = before.to_vec();
        Self::script(name, expect, move |machine| {
            for command in &before {
                machine.ok(command)?;
            }
            judge(&machine.talk(queue, &bytes, 2048)?)
        })
    }

    /// A chain that must come back with nothing written.
    pub(crate) fn bad_chain(name: impl Into<String>, chain: Vec<Descriptor>) -> Self {
        Self::script(name, Seen::Nothing, move |machine| {
            match machine.push(CONTROL_QUEUE, &chain)? {
                0 => Ok(Seen::Nothing),
                written => bail!("{written} bytes were written"),
            }
        })
    }

    /// The same, with a guest that negotiates less.
    pub(crate) fn without(mut self, features: Features) -> Self {
        self.features -= features;
        self
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

/// Checks that an answer is whole and that nothing in it is stray: reserved
/// fields are zero, refusals say nothing else, map info is there.
pub(crate) fn judge(bytes: &[u8]) -> Result<Seen> {
    if bytes.is_empty() {
        return Ok(Seen::Nothing);
    }
    ensure!(bytes.len() >= HEADER_SIZE, "{} bytes", bytes.len());
    let zero = |from: usize, to: usize| {
        let stray = bytes[from..to].iter().any(|byte| *byte != 0);
        ensure!(!stray, "stray bytes from {from} to {to}: {bytes:x?}");
        Ok(())
    };
    let (header, response) = Response::parse(bytes)?;
    zero(21, 24)?;
    if header.fence().is_none() {
        zero(4, 21)?;
    }
    let body = &bytes[HEADER_SIZE..];
    let expected = match &response {
        Response::OkNoData | Response::Error(_) => 0,
        Response::OkDisplayInfo(info) => {
            ensure!(info[0].enabled && info[1].enabled, "{info:?}");
            zero(HEADER_SIZE + 2 * 24, bytes.len())?;
            MAX_SCANOUTS * 24
        }
        Response::OkEdid(edid) => {
            zero(HEADER_SIZE + 4, HEADER_SIZE + 8)?;
            zero(HEADER_SIZE + 8 + edid.as_bytes().len(), bytes.len())?;
            8 + 1024
        }
        Response::OkResourceUuid(uuid) => {
            ensure!(!uuid.is_nil(), "the nil UUID");
            16
        }
        Response::OkMapInfo(caching) => {
            ensure!(*caching != MapCaching::None, "map_info left at 0");
            zero(HEADER_SIZE + 4, HEADER_SIZE + 8)?;
            8
        }
        other => bail!("the device has no capsets, but says {other:?}"),
    };
    ensure!(body.len() == expected, "{response:?} in {}", bytes.len());
    Ok(Seen::Answer(response.code()))
}
