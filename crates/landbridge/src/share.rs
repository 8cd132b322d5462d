//! `landbridge share` and `unshare`: memory of this host for a guest.

use std::path::PathBuf;

use clap::Args;

use crate::control::Client;
use crate::control::protocol::{ShareArguments, UnshareArguments};
use crate::control::status::ShareStatus;
use crate::descriptor;
use crate::failure::Failure;
use crate::serve::settings::{CachingName, Size};
use crate::terminal::{self, plain};

/// The command line of `landbridge share`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  landbridge share --control control.sock --pid 4711 --fd 12
  landbridge share --control control.sock --fd 3 3<>/dev/shm/buffer --blob-id 7

The guest makes a blob of it: RESOURCE_CREATE_BLOB of HOST3D memory with this blob
id and just this size. It maps the very same memory, cached as the host's mappings
are; where nobody knows how that is, the memory is refused, unless --caching or
serve's --unknown-caching decides. A memfd must be sealed against shrinking.

The share lasts until `landbridge unshare`, or until `serve` ends.

Exit status: 0 when it is shared, 1 when not.")]
pub struct Options {
    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// A descriptor of a dma-buf or memfd: of this process, or of --pid.
    #[arg(long, value_name = "N")]
    pub fd: u32,

    /// The process whose descriptor it is.
    #[arg(long, value_name = "P")]
    pub pid: Option<u32>,

    /// Which device's guest, by its number in the status.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub device: usize,

    /// The number by which the guest asks for it [default: the next free one].
    #[arg(long, value_name = "ID")]
    pub blob_id: Option<u64>,

    /// Its UUID [default: a random one].
    #[arg(long, value_name = "UUID")]
    pub uuid: Option<String>,

    /// How it is cached, where nobody knows exactly.
    #[arg(long, value_enum, value_name = "CACHING")]
    pub caching: Option<CachingName>,

    /// The driver behind an exporter named "drm", as rules know it, such as vgem.
    #[arg(long, value_name = "NAME")]
    pub driver: Option<String>,

    /// Print one JSON object; docs/control-protocol.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// The command line of `landbridge unshare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge unshare --control control.sock --blob-id 7

Exit status: 0 when it is shared no longer, 1 when it never was.")]
pub struct UnshareOptions {
    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// The share's number.
    #[arg(long, value_name = "ID")]
    pub blob_id: u64,

    /// The device.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub device: usize,

    /// Print one JSON object: `in_use`, whether somebody still uses the buffer.
    #[arg(long)]
    pub json: bool,
}

/// Runs `landbridge share`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let memory = descriptor::copy(options.pid, options.fd)?;
    let asked = ShareArguments {
        device: options.device,
        blob_id: options.blob_id,
        uuid: options.uuid.clone(),
        caching: options.caching,
        driver: options.driver.clone(),
    };
    let shared = Client::connect(&options.control)?.share(&asked, &memory)?;
    let text = match options.json {
        true => serde_json::to_string(&shared)? + "\n",
        false => in_words(&shared),
    };
    terminal::print(&text)?;
    Ok(())
}

fn in_words(shared: &ShareStatus) -> String {
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or("unknown".to_owned());
    format!(
        "blob id {} of device {}: {}, {} {}, {} ({}), UUID {}\n",
        shared.blob_id,
        shared.device,
        Size(shared.size),
        shared.exporter,
        plain(shared.origin.as_deref().unwrap_or("-")),
        or_unknown(&shared.caching),
        or_unknown(&shared.caching_source),
        shared.uuid
    )
}

/// Runs `landbridge unshare`.
pub fn unshare(options: &UnshareOptions) -> Result<(), Failure> {
    let ended = Client::connect(&options.control)?.unshare(UnshareArguments {
        device: options.device,
        blob_id: options.blob_id,
    })?;
    let text = match (options.json, ended.in_use) {
        (true, _) => serde_json::to_string(&ended)? + "\n",
        (false, true) => "ended; the buffer is still in use\n".to_owned(),
        (false, false) => "ended\n".to_owned(),
    };
    terminal::print(&text)?;
    Ok(())
}
