//! `landbridge revoke` and `restore`: a buffer's memory taken away, and back.

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use crate::control::Client;
use crate::control::protocol::BufferArguments;
use crate::failure::Failure;
use crate::terminal::{plain, print};

/// The command line of `landbridge revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  landbridge revoke 6a7f6b1e-8f0e-4c57-9a0c-3d3a8b1f2c11 --control control.sock
  landbridge revoke 12 --control control.sock --deadline-ms 0

Everybody who uses the buffer is told, and has until the deadline to end what he
does; whoever has not ended then is cut off. Nobody crashes: programs get errors,
a guest finds zero pages.

Exit status: 0 when nobody reaches the memory any more, 1 when not.")]
pub struct Options {
    /// Which buffer.
    #[command(flatten)]
    pub buffer: Target,

    /// How long others may take to end what they do, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub deadline_ms: u64,
}

/// The command line of `landbridge restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge restore 6a7f6b1e-8f0e-4c57-9a0c-3d3a8b1f2c11 --control control.sock

The memory comes back with its bytes, and everybody who still uses the buffer maps
it again, a guest at the same place.

Exit status: 0 when the memory is there, 1 when not.")]
pub struct RestoreOptions {
    /// Which buffer.
    #[command(flatten)]
    pub buffer: Target,
}

/// Which buffer of which program.
#[derive(Debug, Args)]
pub struct Target {
    /// The buffer: its UUID, or its number in the status.
    #[arg(value_name = "UUID")]
    pub buffer: String,

    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// Print one JSON object; docs/control-protocol.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

impl Target {
    fn arguments(&self, deadline_ms: u64) -> Result<BufferArguments, Failure> {
        let (buffer, uuid) = match self.buffer.parse() {
            Ok(number) => (Some(number), None),
            Err(_) => {
                let uuid = Uuid::parse_str(&self.buffer).map_err(|_| {
                    let asked = &self.buffer;
                    Failure::Usage(anyhow::anyhow!("{asked:?} is neither a UUID nor a number"))
                })?;
                (None, Some(uuid.to_string()))
            }
        };
        Ok(BufferArguments {
            buffer,
            uuid,
            deadline_ms,
        })
    }
}

/// Runs `landbridge revoke`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let target = &options.buffer;
    let arguments = target.arguments(options.deadline_ms)?;
    let result = Client::connect(&target.control)?.revoke(&arguments)?;
    let text = if target.json {
        serde_json::to_string(&result)?
    } else if result.already {
        format!("buffer {} was revoked before", result.buffer)
    } else {
        let took = result.took_us as f64 / 1000.0;
        let cut_off = result
            .cut_off
            .as_deref()
            .map_or_else(String::new, |work| format!("\ncut off: {}", plain(work)));
        format!(
            "buffer {} is revoked, in {took:.1} ms{cut_off}",
            result.buffer
        )
    };
    print(&format!("{text}\n"))?;
    Ok(())
}

/// Runs `landbridge restore`.
pub fn restore(options: &RestoreOptions) -> Result<(), Failure> {
    let target = &options.buffer;
    let arguments = target.arguments(5000)?;
    let result = Client::connect(&target.control)?.restore(&arguments)?;
    let text = if target.json {
        serde_json::to_string(&result)?
    } else {
        format!("buffer {} is {}", result.buffer, result.life)
    };
    print(&format!("{text}\n"))?;
    Ok(())
}
