//! `landbridge probe`: allocates from every exporter that this machine offers and tells
//! what its buffers are like.
//!
//! - `display`, `camera`: samples of DRM and V4L2 devices; those that need no device are
//!   the `inspect` crate's;
//! - `matrix`: the rows for people and as JSON.

mod camera;
mod display;
mod matrix;

use anyhow::anyhow;
use clap::Args;
use landbridge_inspect::probe::{self, Outcome};
use landbridge_inspect::{Config, Inspector};

use crate::failure::Failure;
use crate::terminal;

/// The command line of `landbridge probe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge probe

Allocates 64 KiB (2 MiB of huge pages) from each of: a memfd, to compare with;
udmabuf; every dma-heap; a dumb buffer of every DRM card; a host blob of every
virtio-gpu; a frame of every camera that nobody uses. Each is mapped and touched in a
process made for that, and freed again. Columns:

  maps     whether the CPU can map it
  caching  how such a mapping is cached
  known    how that is known: pte (exact), vma, rule (an estimate)
  GUP      whether get_user_pages works on it: O_DIRECT, vmsplice
  offset   whether a mapping that starts inside it shows the right page
  sync     whether its fences can be had as a sync_file
  revoke   whether the exporter may take the memory away, as it is written down

Exit status: 0 when at least one dma-buf or the memfd could be looked at, 1 when
nothing could.")]
pub struct Options {
    /// Print one JSON object; docs/tools.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// Runs `landbridge probe`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let inspector = Inspector::open(Config::default());
    let mut samples = probe::samples();
    samples.extend(display::samples());
    samples.extend(camera::samples());
    let rows: Vec<_> = samples
        .iter()
        .map(|sample| probe::examine(&inspector, sample))
        .collect();
    let availability = inspector.availability();
    let text = match options.json {
        true => serde_json::to_string(&matrix::document(&rows, &availability))? + "\n",
        false => matrix::of(&rows, &availability),
    };
    terminal::print(&text)?;
    if rows.iter().any(|row| matches!(row.found, Outcome::Is(_))) {
        return Ok(());
    }
    Err(anyhow!("nothing could be allocated").into())
}
