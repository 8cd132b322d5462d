//! How buffers are cached, as far as this program can know it.
//!
//! What a guest is told of a buffer's caching (`map_info`) must be what the
//! host's mappings have. So it is looked up where it is known, strongest first:
//! the kernel or a broker (exact), the operator's word for one buffer, a rule
//! about the exporter, the operator's default. Where all are silent the buffer
//! is refused.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail, ensure};
use landbridge_dmabuf::heap::Heap;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{DmaBuf, Error as MemoryError, Memfd, Udmabuf};
use landbridge_exchange::exporters::ForeignMemory;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::{Caching, CachingSource, Evidence, KnownCaching};
use landbridge_inspect::{Config, DEFAULT_LIMIT, Error, Inspector, MapInfo, Source, broker, rules};

use super::settings::CachingFrom;

/// Bytes of the memory that stands for all of its kind.
const SAMPLE: u64 = 64 << 10;

/// Knows how buffers are cached, or whom to ask.
#[derive(Debug)]
pub(super) struct Lookup {
    from: CachingFrom,
    unknown: Option<Caching>,
    /// Made when it is first needed: it takes a while.
    inspector: OnceLock<Inspector>,
}

/// What whoever hands a buffer over says of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    /// How it is cached.
    pub(super) caching: Option<Caching>,
    /// The driver behind an exporter named "drm".
    pub(super) driver: Option<String>,
}

impl Lookup {
    /// Asks `from`, and takes `unknown` where nobody knows.
    pub(super) fn new(from: CachingFrom, unknown: Option<Caching>) -> Self {
        Self {
            from,
            unknown,
            inspector: OnceLock::new(),
        }
    }

    /// Who is asked.
    pub(super) fn from(&self) -> &CachingFrom {
        &self.from
    }

    /// What stands for unknown.
    pub(super) fn unknown(&self) -> Option<Caching> {
        self.unknown
    }

    /// How memory of this kind is cached: as one of its kind is.
    pub(super) fn of_kind(&self, kind: Kind) -> KnownCaching {
        // A memfd's pages are page cache; nobody has to be asked.
        let sample = match kind {
            Kind::Memfd | Kind::HugePages => return kind.caching(),
            Kind::Udmabuf => udmabuf(),
            Kind::SystemHeap => Heap::open("system").and_then(|heap| heap.allocate(SAMPLE)),
        };
        let known = sample
            .map_err(anyhow::Error::from)
            .and_then(|sample| self.exactly(&sample, &Hints::default()));
        match known {
            Ok(Answer::Exact(caching)) => caching,
            Ok(Answer::Estimate(..)) => kind.caching(),
            Err(error) => {
                tracing::warn!(%kind, "going by rule: {error:#}");
                kind.caching()
            }
        }
    }

    /// Takes a stranger's descriptor as memory whose caching is known.
    ///
    /// # Errors
    /// Where it is neither a dma-buf nor a memfd that can't shrink, where it
    /// can't be mapped, where nobody knows its caching, and where a guest can't
    /// be told.
    pub(super) fn foreign(&self, fd: OwnedFd, hints: &Hints) -> anyhow::Result<ForeignMemory> {
        match DmaBuf::try_from(fd.try_clone()?) {
            Ok(buffer) => {
                let answer = self.exactly(&buffer, hints)?;
                let caching = self.decide(answer, hints)?;
                Ok(ForeignMemory::dma_buf(buffer, Some(caching))?)
            }
            Err(MemoryError::NotADmaBuf) => self.memfd(fd, hints),
            Err(error) => Err(error.into()),
        }
    }

    fn memfd(&self, fd: OwnedFd, hints: &Hints) -> anyhow::Result<ForeignMemory> {
        let memfd = match Memfd::try_from(fd) {
            Err(MemoryError::NotAMemfd) => bail!("it is neither a dma-buf nor a memfd"),
            memfd => memfd?,
        };
        let by_rule = || Answer::Estimate(Ok(Kind::Memfd.caching()));
        let answer = match self.from {
            CachingFrom::Kernel => match self.inspector().map_info_of_memory(&memfd) {
                Ok(info) => answer(&info, Evidenced::Here, None)?,
                Err(Error::Unknown { .. }) => by_rule(),
                Err(error) => return Err(error.into()),
            },
            // Brokers answer for dma-bufs only.
            CachingFrom::Broker(_) | CachingFrom::Rules => by_rule(),
        };
        let caching = self.decide(answer, hints)?;
        Ok(ForeignMemory::memfd(memfd, Some(caching))?)
    }

    /// What kernel or broker say, and failing them the rules.
    fn exactly(&self, buffer: &DmaBuf, hints: &Hints) -> anyhow::Result<Answer> {
        let driver = hints.driver.as_deref();
        if let CachingFrom::Broker(path) = &self.from {
            match broker::ask(path, buffer, DEFAULT_LIMIT) {
                Ok(info) => return answer(&info, Evidenced::ByBroker, None),
                // What the exporter says comes through as it is.
                Err(error @ (Error::Mmap(_) | Error::CpuAccess(_) | Error::Touch { .. })) => {
                    return Err(error.into());
                }
                Err(error) => tracing::warn!(%error, "the broker at {} can't tell", path.display()),
            }
        }
        match self.inspector().map_info_of_driver(buffer, driver) {
            Ok(info) => {
                let exporter = buffer.exporter_name().unwrap_or_default();
                answer(&info, Evidenced::Here, rules::find(&exporter, driver))
            }
            Err(error @ Error::Unknown { .. }) => Ok(Answer::Estimate(Err(error.into()))),
            Err(error) => Err(error.into()),
        }
    }

    /// The strongest of what is known and what was said.
    fn decide(&self, answer: Answer, hints: &Hints) -> anyhow::Result<KnownCaching> {
        let by_operator = |caching| KnownCaching {
            caching,
            source: CachingSource::Operator,
        };
        match (answer, hints.caching) {
            (Answer::Exact(known), Some(said)) => {
                ensure!(
                    known.caching == said,
                    "it is {known}, and can't be {said} for a guest"
                );
                Ok(known)
            }
            (Answer::Exact(known), None) | (Answer::Estimate(Ok(known)), None) => Ok(known),
            (Answer::Estimate(_), Some(said)) => Ok(by_operator(said)),
            (Answer::Estimate(Err(unknown)), None) => {
                let told = self.unknown.map(by_operator);
                told.ok_or(unknown)
                    .context("a guest can't be told how to map it; --unknown-caching would decide")
            }
        }
    }

    /// Looks into the kernel, where it may.
    pub(super) fn inspector(&self) -> &Inspector {
        self.inspector.get_or_init(|| {
            Inspector::open(Config {
                bpf: self.from == CachingFrom::Kernel,
                ..Config::default()
            })
        })
    }
}

/// What is known before the operator is heard.
#[derive(Debug)]
enum Answer {
    /// Somebody looked.
    Exact(KnownCaching),
    /// What a rule says, or why there is none.
    Estimate(anyhow::Result<KnownCaching>),
}

/// Who has seen the evidence.
#[derive(Debug, Clone, Copy)]
enum Evidenced {
    Here,
    ByBroker,
}

fn answer(
    info: &MapInfo,
    whose: Evidenced,
    rule: Option<&'static rules::Rule>,
) -> anyhow::Result<Answer> {
    let caching = info.caching.ok_or_else(|| anyhow!("it can't be mapped"))?;
    let caching = match caching {
        landbridge_inspect::Caching::WriteBack => Caching::WriteBack,
        landbridge_inspect::Caching::WriteCombining => Caching::WriteCombining,
        landbridge_inspect::Caching::Uncached => Caching::Uncached,
        other => bail!("it is {other}, which no guest can be told"),
    };
    let by = |evidence| match whose {
        Evidenced::Here => CachingSource::Kernel(evidence),
        Evidenced::ByBroker => CachingSource::Broker(evidence),
    };
    let source = match info.source {
        Source::KernelIoctl => by(Evidence::Ioctl),
        Source::Pte => by(Evidence::PageTable),
        Source::Vma => by(Evidence::Mapping),
        Source::Rule => {
            CachingSource::Rule(rule.map_or("the broker gave no reason", |rule| rule.reason))
        }
    };
    let known = KnownCaching { caching, source };
    Ok(match info.is_exact() {
        true => Answer::Exact(known),
        false => Answer::Estimate(Ok(known)),
    })
}

fn udmabuf() -> Result<DmaBuf, MemoryError> {
    Udmabuf::open()?.wrap(Memfd::create(
        "landbridge sample",
        SAMPLE,
        Options::default(),
    )?)
}
