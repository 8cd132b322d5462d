//! `landbridge probe`: allocates from every exporter that this machine offers and tells
//! what its buffers are like.
//!
//! - `display`, `camera`, `region`: samples of DRM, V4L2 and VFIO devices; those that need
//!   no device are the `inspect` crate's;
//! - `kvm`: a guest's processor tries them;
//! - `matrix`: the rows for people and as JSON.

mod camera;
mod display;
mod kvm;
mod matrix;
mod region;

use anyhow::anyhow;
use clap::Args;
use landbridge_inspect::probe::{self, Outcome};
use landbridge_inspect::{Config, Inspector};

use crate::failure::Failure;
use crate::terminal;
use matrix::Looked;

/// The command line of `landbridge probe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge probe

Allocates 64 KiB (2 MiB of huge pages) from each of: a memfd, to compare with;
udmabuf; every dma-heap; a dumb buffer of every DRM card; a host blob of every
virtio-gpu; a frame of every camera that nobody uses; with --vfio, a BAR of every
device that is bound to vfio-pci. Each is mapped and touched in a
process made for that, and freed again. Columns:

  maps     whether the CPU can map it
  caching  how such a mapping is cached
  known    how that is known: pte (exact), vma, rule (an estimate)
  GUP      whether get_user_pages works on it: O_DIRECT, vmsplice
  offset   whether a mapping that starts inside it shows the right page
  sync     whether its fences can be had as a sync_file
  KVM      whether a guest's processor reaches it as a memory slot, tried with one
  revoke   whether the exporter may take the memory away, as it is written down

Exit status: 0 when at least one dma-buf or the memfd could be looked at, 1 when
nothing could.")]
pub struct Options {
    /// Look at devices that are bound to vfio-pci, too. They are opened for it, which
    /// switches their memory on and may reset them.
    #[arg(long)]
    pub vfio: bool,

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
    samples.extend(region::samples(options.vfio));
    let trial = kvm::Trial::new();
    let rows: Vec<_> = samples
        .iter()
        .map(|sample| Looked {
            row: probe::examine(&inspector, sample),
            kvm: trial.of(sample),
        })
        .collect();
    let availability = inspector.availability();
    let text = match options.json {
        true => serde_json::to_string(&matrix::document(&rows, &availability))? + "\n",
        false => matrix::of(&rows, &availability),
    };
    terminal::print(&text)?;
    if rows.iter().any(|it| matches!(it.row.found, Outcome::Is(_))) {
        return Ok(());
    }
    Err(anyhow!("nothing could be allocated").into())
}
