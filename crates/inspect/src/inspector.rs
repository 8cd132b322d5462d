//! One object that answers: by the strongest way this machine offers.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use serde::Serialize;

use crate::coverage::{self, Coverage};
use crate::decode::{Caching, Decoder};
use crate::error::{Error, Reason, Result, Strength};
use crate::kernel::Kernel;
use crate::kernel_ioctl;
use crate::map_info::{MapInfo, Source};
use crate::procfs;
use crate::records::{self, KernelBuffer, Vma};
use crate::rules;
use crate::sys::child::{Child, Nature, Report, Wanted};

/// How long an exporter may take to map a buffer and have it touched.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(2);

/// What the caller chooses.
#[derive(Clone, Debug)]
pub struct Config {
    /// Request number of the info ioctl; `None`: it is not tried.
    pub info_request: Option<u32>,
    /// How long an exporter may take.
    pub limit: Duration,
    /// Whether BPF may be used.
    pub bpf: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            info_request: None,
            limit: DEFAULT_LIMIT,
            bpf: true,
        }
    }
}

/// One way of knowing, and why it is missing if it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// Which way.
    pub strength: Strength,
    /// Why it is not available; `None` if it is.
    pub missing: Option<Reason>,
}

/// A mapping and how it behaves.
#[derive(Clone, Debug)]
pub struct MappingInfo {
    /// The mapping as the kernel keeps it.
    pub vma: Vma,
    /// How it behaves.
    pub info: MapInfo,
    /// What its page table showed, where that could be read.
    pub coverage: Option<Coverage>,
}

/// Answers questions about mappings and buffers of this machine.
#[derive(Debug)]
pub struct Inspector {
    config: Config,
    decoder: Option<Decoder>,
    kernel: Kernel,
}

impl Inspector {
    /// Prepares whatever this machine and process allow. Never fails: what is missing
    /// is told by [`Inspector::availability`].
    #[must_use]
    pub fn open(config: Config) -> Self {
        let kernel = if config.bpf {
            Kernel::open()
        } else {
            Kernel::nothing(Reason::NotConfigured)
        };
        Self {
            config,
            decoder: Decoder::of_this_machine(),
            kernel,
        }
    }

    /// Every way of knowing, strongest first.
    #[must_use]
    pub fn availability(&self) -> Vec<Availability> {
        let ioctl = self
            .config
            .info_request
            .map(|_| ())
            .ok_or(Reason::NotConfigured);
        let ways = [
            (Strength::KernelIoctl, ioctl),
            (Strength::Pte, self.kernel.walk().map(|_| ())),
            (Strength::Vma, self.kernel.vma()),
            (Strength::Rule, Ok(())),
            (Strength::Query, self.kernel.query()),
            (Strength::BufferList, self.kernel.buffer_list()),
            (Strength::Importers, self.kernel.importers()),
        ];
        ways.into_iter()
            .map(|(strength, state)| Availability {
                strength,
                missing: state.err(),
            })
            .collect()
    }

    /// Why mappings can't be read, if they can't.
    pub(crate) fn require_mappings(&self) -> Result<(), Reason> {
        self.kernel.vma()
    }

    /// How the mapping at `address` of a process behaves (`None`: the caller's own).
    ///
    /// The answer is for the whole mapping around `address`. Pages that were never
    /// touched have no entry; without any, the mapping's protection answers.
    ///
    /// # Errors
    /// [`Error::NoMapping`], [`Error::NoProcess`], [`Error::Busy`],
    /// [`Error::Unavailable`] without the privilege, or [`Error::Unknown`] if the
    /// protection is all there is and the exporter may set the caching page by page.
    pub fn mapping(&self, pid: Option<u32>, address: u64) -> Result<MappingInfo> {
        let (vma, coverage) = self.look(pid, address)?;
        let caching = coverage.and_then(|coverage| coverage.caching);
        let info = self.choose(&vma, caching, None)?;
        Ok(MappingInfo {
            vma,
            info,
            coverage,
        })
    }

    /// A mapping, and what its page table shows where that can be read.
    fn look(&self, pid: Option<u32>, address: u64) -> Result<(Vma, Option<Coverage>)> {
        let decoder = self.decoder()?;
        let found = self.kernel.find(pid, address, true)?;
        let vma = found.vma.clone();
        let coverage = match self.kernel.walk() {
            Err(_) => None,
            // Listed without the query, so that samples are all there is.
            Ok(_) if !vma.samples.is_empty() => Some(Coverage::of_samples(&vma.samples, decoder)?),
            Ok(_) => Some(coverage::read(&self.kernel, pid, address, found, decoder)?),
        };
        Ok((vma, coverage))
    }

    /// How the one page at `address` behaves: the cheapest question. A page that is not
    /// present is answered for by the mapping's protection.
    ///
    /// # Errors
    /// As [`Inspector::mapping`].
    pub fn page(&self, pid: Option<u32>, address: u64) -> Result<MapInfo> {
        let found = self.kernel.find(pid, address, false)?;
        let coverage = Coverage::of_samples(&[found.entry], self.decoder()?)?;
        self.choose(&found.vma, coverage.caching, None)
    }

    /// All mappings of one process, or of all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without the privilege, [`Error::NoProcess`].
    pub fn mappings(&self, pid: Option<u32>) -> Result<Vec<Vma>> {
        self.kernel.mappings(pid)
    }

    /// How a mapping listed by [`Inspector::mappings`] behaves, from what the list
    /// holds: its protection and the entries of its first and last page. `exporter` is
    /// the name of the mapped buffer's, where the caller knows it.
    ///
    /// # Errors
    /// As [`Inspector::mapping`].
    pub fn describe_listed(&self, vma: &Vma, exporter: Option<&str>) -> Result<MapInfo> {
        let decoder = self.decoder()?;
        let coverage = Coverage::of_samples(&vma.samples, decoder)?;
        self.choose(vma, coverage.caching, exporter)
    }

    /// All dma-bufs of the machine as the kernel lists them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without the privilege or before 6.16.
    pub fn kernel_buffers(&self) -> Result<Vec<KernelBuffer>> {
        self.kernel.buffers()
    }

    /// How CPU mappings of a dma-buf behave.
    ///
    /// The buffer is mapped and touched in a child process, never in the caller.
    ///
    /// # Errors
    /// [`Error::NotDmaBuf`]; the exporter's own errors as [`Error::Mmap`],
    /// [`Error::CpuAccess`] and [`Error::Touch`]; [`Error::Timeout`]; and
    /// [`Error::Unknown`] if nobody can tell, with what was tried.
    pub fn map_info(&self, buffer: impl AsFd) -> Result<MapInfo> {
        self.map_info_of_driver(buffer, None)
    }

    /// As [`Inspector::map_info`], for a caller that knows the exporting driver, which
    /// the exporter's name often does not tell: the name by which a DRM driver answers
    /// `DRM_IOCTL_VERSION`, such as `vgem`.
    ///
    /// # Errors
    /// As [`Inspector::map_info`].
    pub fn map_info_of_driver(&self, buffer: impl AsFd, driver: Option<&str>) -> Result<MapInfo> {
        let buffer = buffer.as_fd();
        require_dma_buf(buffer)?;
        let mut tried = Vec::new();
        if let Some(request) = self.config.info_request {
            match kernel_ioctl::caching(buffer, request) {
                Ok(caching) => return Ok(MapInfo::mapped(caching, Source::KernelIoctl, false)),
                Err(error) => tried.push((Strength::KernelIoctl, error.into_reason())),
            }
        }
        let mut child = Child::touching(buffer, Nature::DmaBuf.whole())?;
        let report = child.wait(self.config.limit)?;
        let exporter = procfs::fdinfo::of_own(buffer).map(|info| info.exporter);
        match self.touched(&child, report, exporter.as_deref()) {
            Ok(info) => return Ok(info),
            Err(error) => tried.extend(self.reasons(error)),
        }
        by_rule(exporter, driver, &child, report, tried)
    }

    /// How shared mappings of other memory behave, such as a memfd.
    ///
    /// # Errors
    /// As [`Inspector::map_info`]; no rules apply, so [`Error::Unknown`] without the
    /// privilege.
    pub fn map_info_of_memory(&self, memory: impl AsFd) -> Result<MapInfo> {
        let mut child = Child::touching(memory.as_fd(), Nature::Memory.whole())?;
        let report = child.wait(self.config.limit)?;
        self.touched(&child, report, None)
            .map_err(|error| Error::Unknown {
                exporter: None,
                tried: self.reasons(error).collect(),
            })
    }

    /// Whether a mapping that starts at the second page shows the second page, which
    /// some exporters get wrong: told by the physical address. `None` for a buffer of
    /// one page.
    ///
    /// # Errors
    /// [`Error::Mmap`] if the exporter refuses such a mapping, [`Error::Unavailable`]
    /// without page tables; else as [`Inspector::map_info`].
    pub fn honours_offset(&self, memory: impl AsFd) -> Result<Option<bool>> {
        const PAGE: u64 = 4096;
        let memory = memory.as_fd();
        let is_buffer = require_dma_buf(memory).is_ok();
        let nature = if is_buffer {
            Nature::DmaBuf
        } else {
            Nature::Memory
        };
        let mut whole = Child::touching(memory, nature.whole())?;
        let all = whole.wait(self.config.limit)?;
        if all.bytes < 2 * PAGE {
            return Ok(None);
        }
        let wanted = Wanted {
            nature,
            offset: PAGE as i64,
        };
        let mut rest = Child::touching(memory, wanted)?;
        let part = rest.wait(self.config.limit)?;
        let second = self.physical(&whole, all.address + PAGE)?;
        Ok(Some(self.physical(&rest, part.address)? == second))
    }

    fn physical(&self, child: &Child, address: u64) -> Result<u64> {
        let unavailable = |reason| Error::Unavailable {
            strength: Strength::Pte,
            reason,
        };
        let walk = self.kernel.walk().map_err(unavailable)?;
        self.kernel.query().map_err(|reason| Error::Unavailable {
            strength: Strength::Query,
            reason,
        })?;
        let entry = self.kernel.find(Some(child.pid()), address, false)?.entry;
        if entry.is_leaf() {
            Ok(entry.physical(address, walk.mask))
        } else {
            Err(unavailable(Reason::NotPresent))
        }
    }

    /// Why neither page table nor protection answered.
    fn reasons(&self, error: Error) -> impl Iterator<Item = (Strength, Reason)> {
        let pte = self.kernel.walk().err();
        let pte = pte.map(|reason| (Strength::Pte, reason));
        let vma = match error {
            Error::Unknown { tried, .. } => tried,
            other => vec![(Strength::Vma, other.into_reason())],
        };
        pte.into_iter().chain(vma)
    }

    /// What is written down about an exporter, for a buffer that nobody can map here.
    /// `driver` decides where the exporter's name is shared.
    ///
    /// # Errors
    /// [`Error::Unknown`] if nothing is.
    pub fn estimate(exporter: &str, driver: Option<&str>) -> Result<MapInfo> {
        let rule = rules::find(exporter, driver).ok_or_else(|| Error::Unknown {
            exporter: Some(exporter.to_owned()),
            tried: vec![(Strength::Rule, Reason::NoRule)],
        })?;
        Ok(match rule.caching_here() {
            Some(caching) => MapInfo::mapped(caching, Source::Rule, rule.gup),
            None => MapInfo::not_mappable(Source::Rule),
        })
    }

    /// Reads the mapping that a child has made and touched; `exporter` as for
    /// [`Inspector::describe_listed`].
    pub(crate) fn touched(
        &self,
        child: &Child,
        report: Report,
        exporter: Option<&str>,
    ) -> Result<MapInfo> {
        let (vma, coverage) = self.look(Some(child.pid()), report.address)?;
        // Someone else's mapping would be a wrong answer: ids can mean another process.
        if vma.start != report.address || vma.end < report.address + report.bytes {
            return Err(Error::Record {
                what: "not the child's mapping",
            });
        }
        let caching = coverage.and_then(|coverage| coverage.caching);
        self.choose(&vma, caching, exporter)
    }

    fn decoder(&self) -> Result<Decoder> {
        self.decoder.ok_or(Error::Unavailable {
            strength: Strength::Vma,
            reason: Reason::Architecture,
        })
    }

    fn choose(
        &self,
        vma: &Vma,
        by_page_table: Option<Caching>,
        exporter: Option<&str>,
    ) -> Result<MapInfo> {
        if let Some(caching) = by_page_table {
            return Ok(MapInfo::mapped(caching, Source::Pte, vma.gup()));
        }
        let caching = self.decoder()?.protection(vma.page_prot);
        let caching = caching.ok_or(Error::Record {
            what: "a memory type that no user mapping has",
        })?;
        // TTM leaves the protection as it is by default.
        if caching != Caching::WriteBack || vma.is_ordinary() {
            return Ok(MapInfo::mapped(caching, Source::Vma, vma.gup()));
        }
        let exporter = exporter.map_or_else(|| self.exporter_of(vma), |it| Some(it.to_owned()));
        if rules::protection_decides(exporter.as_deref(), vma) {
            return Ok(MapInfo::mapped(caching, Source::Vma, vma.gup()));
        }
        Err(Error::Unknown {
            exporter,
            tried: vec![(Strength::Vma, Reason::PageByPage)],
        })
    }

    /// The exporter of a mapped buffer, as far as the kernel lists it.
    fn exporter_of(&self, vma: &Vma) -> Option<String> {
        let all = vma.is_dma_buf.then(|| self.kernel.buffers().ok())??;
        let buffer = all.into_iter().find(|buffer| buffer.inode == vma.inode);
        buffer.map(|buffer| buffer.exporter)
    }
}

fn by_rule(
    exporter: Option<String>,
    driver: Option<&str>,
    child: &Child,
    report: Report,
    mut tried: Vec<(Strength, Reason)>,
) -> Result<MapInfo> {
    let rule = exporter
        .as_deref()
        .and_then(|name| rules::find(name, driver));
    // The child has mapped it: a rule that says otherwise is out of date.
    let Some(caching) = rule.and_then(rules::Rule::caching_here) else {
        tried.push((Strength::Rule, Reason::NoRule));
        return Err(Error::Unknown { exporter, tried });
    };
    // smaps needs no privilege for a child of our own.
    let seen = procfs::smaps::gup_at(child.pid(), report.address);
    let gup = seen.unwrap_or(rule.is_some_and(|rule| rule.gup));
    Ok(MapInfo::mapped(caching, Source::Rule, gup))
}

/// Refuses everything that is no dma-buf.
fn require_dma_buf(fd: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstatfs(fd).map_err(Error::system("fstatfs"))?;
    if stat.f_type as u64 == records::DMA_BUF_MAGIC {
        return Ok(());
    }
    Err(Error::NotDmaBuf)
}
