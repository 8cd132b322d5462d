//! A row of the table: what is sent, and what must come back.

use anyhow::{Result, bail, ensure};
use landbridge_protocol_gpu::{
    CONTROL_QUEUE, CURSOR_QUEUE, Command, ControlHeader, ErrorCode, Features, HEADER_SIZE,
    MAX_SCANOUTS, MapCaching, Response, ResponseKind,
};
use landbridge_transport::guest::Descriptor;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
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
pub const OK: Seen = Seen::Answer(ResponseKind::OkNoData as u32);

/// What must happen before the device can serve a healthy guest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing: it goes on at once.
    GoOn,
    /// A reset: the guest broke its queue or used up its limits.
    Reset,
}

/// What is checked about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It is this one, whole.
    Exactly(Seen),
    /// It is no refusal.
    Success,
    /// It has this many bytes: there was no room for more.
    Length(usize),
}

/// Bytes for a queue, one descriptor to read and one to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which queue.
    pub queue: usize,
    /// What the device reads.
    pub bytes: Vec<u8>,
    /// How many bytes it may write; without any there is no descriptor for it.
    pub room: usize,
    /// What must come back.
    pub expect: Expect,
}

/// Room for every answer.
const ROOM: usize = 2048;

impl Request {
    /// A command in a context, with an exact answer.
    pub fn with_header(
        header: ControlHeader,
        command: &Command<'_>,
        expect: impl Into<Seen>,
    ) -> Self {
        let queue = match command.kind().is_cursor() {
            true => CURSOR_QUEUE,
            false => CONTROL_QUEUE,
        };
        Self {
            queue,
            bytes: command.encode(&header),
            room: ROOM,
            expect: Expect::Exactly(expect.into()),
        }
    }

    /// A command without fence or context, with an exact answer.
    pub fn ask(command: &Command<'_>, expect: impl Into<Seen>) -> Self {
        Self::with_header(ControlHeader::default(), command, expect)
    }

    /// A command that must be carried out.
    pub fn ok(command: &Command<'_>) -> Self {
        Self {
            expect: Expect::Success,
            ..Self::ask(command, OK)
        }
    }

    /// Judges what came back.
    ///
    /// # Errors
    /// Where it is not what must come back.
    pub fn check(&self, answer: &[u8]) -> Result<()> {
        match self.expect {
            Expect::Exactly(wanted) => {
                let seen = judge(answer)?;
                ensure!(seen == wanted, "{seen:x?} came back, not {wanted:x?}");
            }
            Expect::Success => {
                judge(answer)?;
                if let Response::Error(code) = Response::parse(answer)?.1 {
                    bail!("refused: {code}");
                }
            }
            Expect::Length(wanted) => {
                let len = answer.len();
                ensure!(len == wanted, "{len} bytes came back, not {wanted}");
            }
        }
        Ok(())
    }
}

/// What makes a row an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attack {
    /// One more request.
    Request(Request),
    /// A chain on the control queue as it is, in the table's first descriptors.
    Chain {
        /// What lies where before: guest-physical address and bytes.
        memory: Vec<(u64, Vec<u8>)>,
        /// The descriptors; the first is the head.
        chain: Vec<Descriptor>,
        /// Where the answer is to be found.
        answer: u64,
        /// What it must be.
        expect: Seen,
    },
}

/// One attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name, which no other row has.
    pub name: String,
    /// What the guest negotiates.
    pub features: Features,
    /// What must happen afterwards.
    pub then: Then,
    /// What comes first.
    pub before: Vec<Request>,
    /// What it is about.
    pub attack: Attack,
}

impl Row {
    fn of(name: impl Into<String>, before: Vec<Request>, attack: Attack) -> Self {
        Self {
            name: name.into(),
            features: Features::all(),
            then: Then::GoOn,
            before,
            attack,
        }
    }

    /// Requests, the last of which is the attack.
    pub(crate) fn requests(name: impl Into<String>, before: Vec<Request>, attack: Request) -> Self {
        Self::of(name, before, Attack::Request(attack))
    }

    /// A command in a context, after commands that must succeed.
    pub(crate) fn with_header(
        name: impl Into<String>,
        before: &[Command<'_>],
        header: ControlHeader,
        attack: Command<'_>,
        expect: impl Into<Seen>,
    ) -> Self {
        let before = before.iter().map(Request::ok).collect();
        Self::requests(name, before, Request::with_header(header, &attack, expect))
    }

    /// A command, after commands that must succeed.
    pub(crate) fn command(
        name: impl Into<String>,
        before: &[Command<'_>],
        attack: Command<'_>,
        expect: impl Into<Seen>,
    ) -> Self {
        Self::with_header(name, before, ControlHeader::default(), attack, expect)
    }

    /// Bytes on a queue, after commands that must succeed.
    pub(crate) fn bytes(
        name: impl Into<String>,
        before: &[Command<'_>],
        queue: usize,
        bytes: Vec<u8>,
        expect: impl Into<Seen>,
    ) -> Self {
        let before = before.iter().map(Request::ok).collect();
        let attack = Request {
            queue,
            bytes,
            room: ROOM,
            expect: Expect::Exactly(expect.into()),
        };
        Self::requests(name, before, attack)
    }

    /// A chain with what lies in memory before, and its answer at `answer`.
    pub(crate) fn chain(
        name: impl Into<String>,
        memory: Vec<(u64, Vec<u8>)>,
        chain: Vec<Descriptor>,
        answer: u64,
        expect: impl Into<Seen>,
    ) -> Self {
        let expect = expect.into();
        let attack = Attack::Chain {
            memory,
            chain,
            answer,
            expect,
        };
        Self::of(name, Vec::new(), attack)
    }

    /// A chain that must come back with nothing written.
    pub(crate) fn bad_chain(name: impl Into<String>, chain: Vec<Descriptor>) -> Self {
        let answer = crate::layout::ANSWER;
        Self::chain(name, Vec::new(), chain, answer, Seen::Nothing)
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
}

/// Checks that an answer is whole and that nothing in it is stray: reserved
/// fields are zero, refusals say nothing else, map info is there.
///
/// # Errors
/// Where something is.
pub fn judge(bytes: &[u8]) -> Result<Seen> {
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
