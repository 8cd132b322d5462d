//! `landbridge mapinfo`: how CPU mappings of one buffer behave, and the broker that
//! tells programs without privileges.
//!
//! - `answer`: how it is told;
//! - `broker` serves `--broker`.

mod answer;
mod broker;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use landbridge_inspect::{Config, DEFAULT_LIMIT, Error, Inspector, MapInfo, broker as asking};

use crate::descriptor::{self, Descriptor};
use crate::failure::Failure;
use crate::terminal;
use broker::Mode;

/// The command line of `landbridge mapinfo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  landbridge mapinfo --pid 4711 --fd 12
  landbridge mapinfo --fd 3 3</dev/shm/buffer
  landbridge mapinfo --broker /run/landbridge/mapinfo.sock
  landbridge mapinfo --pid 4711 --fd 12 --ask /run/landbridge/mapinfo.sock

The buffer is mapped and touched in a process made for that. The answer says how it
is known: pte (page table, exact), vma (the mapping's protection), rule (an estimate
by exporter). The first two need CAP_BPF and CAP_PERFMON, or a broker that has them;
--pid needs the process's user or CAP_SYS_PTRACE.

The broker keeps those two capabilities and drops everything else.

Exit status: 0 when it is known, 1 when it is not or the exporter refuses, 2 when the
command line makes no sense.")]
pub struct Options {
    /// A descriptor of a dma-buf or memfd: of this process, or of --pid.
    #[arg(long, value_name = "N", required_unless_present = "broker")]
    pub fd: Option<u32>,

    /// The process whose descriptor it is.
    #[arg(long, value_name = "P", requires = "fd")]
    pub pid: Option<u32>,

    /// The driver behind an exporter named "drm", as rules know it, such as vgem.
    #[arg(long, value_name = "NAME", requires = "fd")]
    pub driver: Option<String>,

    /// Ask the broker that listens here rather than the kernel.
    #[arg(long, value_name = "SOCK", requires = "fd", conflicts_with = "driver")]
    pub ask: Option<PathBuf>,

    /// Answer programs without privileges that send a descriptor to this socket.
    #[arg(long, value_name = "SOCK", conflicts_with = "fd")]
    pub broker: Option<PathBuf>,

    /// Who may connect to the broker: the permissions of its socket.
    #[arg(long, value_name = "OCTAL", default_value = "666", requires = "broker")]
    pub mode: Mode,

    /// Milliseconds that the exporter, or the broker, may take.
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_LIMIT.as_millis() as u64)]
    pub timeout: u64,

    /// Print one JSON object; docs/tools.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// Runs `landbridge mapinfo`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let limit = Duration::from_millis(options.timeout);
    if let Some(path) = &options.broker {
        return Ok(broker::run(path, options.mode, limit, options.json)?);
    }
    let Some(fd) = options.fd else {
        return Err(Failure::Usage(anyhow::anyhow!("--fd is missing")));
    };
    let descriptor = descriptor::copy(options.pid, fd)?;
    let info = match &options.ask {
        Some(path) => asking::ask(path, &descriptor, limit)
            .with_context(|| format!("asking the broker at {}", path.display()))?,
        None => directly(&descriptor, options.driver.as_deref(), limit)?,
    };
    let text = match options.json {
        true => serde_json::to_string(&info)? + "\n",
        false => answer::of(&info, &descriptor),
    };
    terminal::print(&text)?;
    Ok(())
}

fn directly(
    descriptor: &Descriptor,
    driver: Option<&str>,
    limit: Duration,
) -> anyhow::Result<MapInfo> {
    let inspector = Inspector::open(Config {
        limit,
        ..Config::default()
    });
    match inspector.map_info_of_driver(descriptor, driver) {
        Ok(info) => Ok(info),
        Err(Error::NotDmaBuf) if descriptor.is_memory() => {
            Ok(inspector.map_info_of_memory(descriptor)?)
        }
        Err(Error::NotDmaBuf) => bail!("the descriptor is neither a dma-buf nor a memfd"),
        Err(error) => Err(error.into()),
    }
}
