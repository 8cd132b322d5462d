//! The same questions, put to our own exchange where it means the same by them:
//! what an importer may expect there must be no less than what the kernel gives.

mod terms;

use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::vfio::BarRange;
use landbridge_exchange::exporters::DeviceOwner;
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::fence::Outcome;
use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::{Direction, MemoryModel};
use landbridge_exchange::{Buffer, Exchange, Fence, Limits, Tenant, Usage};

use super::SIZE;
use crate::checks::Checks;
use crate::exporters::RAM_BAR;

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is behind an exchange.
pub enum Source {
    /// Memory of this machine.
    Host(Kind, MemoryModel),
    /// A BAR.
    Bar(DeviceOwner),
}

/// An exchange with one kind of memory behind it.
struct Subject {
    exchange: Exchange,
    tenant: Tenant,
    source: Source,
}

/// Puts to an exchange over `source` the questions that it has an answer to, as
/// the column `name`.
///
/// # Errors
/// When there is no buffer at all.
pub fn run(checks: &mut Checks, name: &str, source: Source) -> Result<()> {
    // No CPU reaches a BAR through its dma-buf.
    let by_cpu = match source {
        Source::Host(..) => PROPERTIES,
        Source::Bar(_) => &[],
    };
    let subject = Subject {
        exchange: Exchange::new(),
        tenant: Tenant::new("conformance", Limits::default()),
        source,
    };
    for (property, ask) in by_cpu.iter().chain(terms::PROPERTIES) {
        let answer = ask(&subject).with_context(|| format!("{name}: {property}"))?;
        checks.cell(name, property, &answer);
    }
    Ok(())
}

type Ask = fn(&Subject) -> Result<String>;

const PROPERTIES: &[(&str, Ask)] = &[
    ("size: lseek to the end", size),
    ("identity: of a second buffer", second),
    ("identity: of a dup", clone),
    ("identity: of a second export", by_uuid),
    ("mmap: shared", mapped),
    ("mmap: one page at offset 8192 shows", page_two),
    ("mmap: at first holds", first_contents),
    ("mmap: a second one sees writes", coherent),
    ("sync: read, start and end", |subject| {
        bracket(subject, Direction::Read)
    }),
    ("sync: write, start and end", |subject| {
        bracket(subject, Direction::Write)
    }),
    ("sync: read and write, start and end", |subject| {
        bracket(subject, Direction::ReadWrite)
    }),
    ("poll: idle", |subject| Ok(polled(&subject.buffer()?))),
    ("poll: a writer's fence", |subject| {
        with_fence(subject, Direction::Write)
    }),
    ("poll: a reader's fence", |subject| {
        with_fence(subject, Direction::Read)
    }),
    ("poll: after the writer's fence", after_fence),
];

impl Subject {
    fn buffer(&self) -> Result<Buffer> {
        Ok(match &self.source {
            Source::Host(kind, model) => {
                let memory = HostMemory::allocate("conformance", SIZE, *kind)?;
                let memory = memory.of_model(*model);
                self.exchange.publish(memory, &self.tenant)?
            }
            Source::Bar(owner) => {
                let all = [BarRange {
                    offset: 0,
                    len: SIZE,
                }];
                owner.publish(&self.exchange, RAM_BAR, &all, &self.tenant)?
            }
        })
    }

    fn import(&self, buffer: &Buffer, direction: Direction) -> Result<CpuImport> {
        Ok(CpuImport::attach(
            buffer,
            "conformance",
            direction,
            &self.tenant,
        )?)
    }
}

fn size(subject: &Subject) -> Result<String> {
    let size = subject.buffer()?.size();
    Ok(if size == SIZE {
        "as promised".into()
    } else {
        size.to_string()
    })
}

fn second(subject: &Subject) -> Result<String> {
    Ok(compare(&subject.buffer()?, &subject.buffer()?))
}

fn clone(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    Ok(compare(&buffer, &buffer.clone()))
}

/// A UUID is how another party of the exchange gets at the same buffer.
fn by_uuid(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let uuid = buffer.assign_uuid()?;
    let found = subject
        .exchange
        .lookup(uuid)
        .context("no buffer has the UUID")?;
    Ok(compare(&buffer, &found))
}

fn compare(one: &Buffer, other: &Buffer) -> String {
    let same = one.id() == other.id() && one.identity() == other.identity();
    if same { "the same" } else { "another" }.to_owned()
}

fn mapped(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    subject.import(&buffer, Direction::ReadWrite)?;
    Ok("ok".to_owned())
}

fn page_two(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let import = subject.import(&buffer, Direction::ReadWrite)?;
    let access = import.access(Direction::ReadWrite, PATIENCE)?;
    for page in 0..4_u8 {
        access.view().fill(usize::from(page) * 4096, 4096, page)?;
    }
    let shown = access.view().sub(2 * 4096, 4096)?.read_at::<u8>(0)?;
    Ok(format!("page {shown}"))
}

fn first_contents(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let import = subject.import(&buffer, Direction::Read)?;
    let access = import.access(Direction::Read, PATIENCE)?;
    let mut bytes = vec![0xff; access.view().len()];
    access.view().copy_to(0, &mut bytes)?;
    let zeros = bytes.iter().all(|byte| *byte == 0);
    Ok(if zeros { "zeros" } else { "something" }.to_owned())
}

fn coherent(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let writer = subject.import(&buffer, Direction::Write)?;
    let access = writer.access(Direction::Write, PATIENCE)?;
    access.view().write_at(4096, 0x5a_u8)?;
    access.end()?;
    let reader = subject.import(&buffer, Direction::Read)?;
    let access = reader.access(Direction::Read, PATIENCE)?;
    let seen = access.view().read_at::<u8>(4096)? == 0x5a;
    Ok(if seen { "yes" } else { "no" }.to_owned())
}

fn bracket(subject: &Subject, direction: Direction) -> Result<String> {
    let buffer = subject.buffer()?;
    let import = subject.import(&buffer, direction)?;
    import.access(direction, PATIENCE)?.end()?;
    Ok("ok".to_owned())
}

/// What poll would say: "in" when a reader, "out" when a writer need not wait.
fn polled(buffer: &Buffer) -> String {
    let free = |direction| {
        let blocking = Usage::blocking(direction);
        buffer.reservation().pending(blocking).is_empty()
    };
    match (free(Direction::Read), free(Direction::Write)) {
        (true, true) => "in out",
        (true, false) => "in",
        (false, true) => "out",
        (false, false) => "nothing",
    }
    .to_owned()
}

fn with_fence(subject: &Subject, direction: Direction) -> Result<String> {
    let buffer = subject.buffer()?;
    let (fence, _signaller) = Fence::new("conformance");
    buffer.reservation().add(fence, direction);
    Ok(polled(&buffer))
}

fn after_fence(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let (fence, signaller) = Fence::new("conformance");
    buffer.reservation().add(fence, Direction::Write);
    signaller.signal(Outcome::Done);
    Ok(polled(&buffer))
}
