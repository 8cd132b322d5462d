//! `landbridge events`: what happens to buffers of a running `serve`.

use std::path::PathBuf;

use clap::Args;

use crate::control::Client;
use crate::control::protocol::EventLine;
use crate::failure::Failure;
use crate::terminal::{plain, print};

/// The command line of `landbridge events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge events --control control.sock --json

Exit status: 0 when the program ended or nobody reads any more, 1 when it could not be asked.")]
pub struct Options {
    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// Print one JSON object a line; docs/control-protocol.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

/// Runs `landbridge events`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let mut client = Client::connect(&options.control)?;
    client.events(|line| {
        let text = if options.json {
            serde_json::to_string(&line)?
        } else {
            tell(line)
        };
        Ok(print(&format!("{text}\n"))?)
    })?;
    Ok(())
}

fn tell(line: EventLine) -> String {
    match line {
        EventLine::Event(event) => {
            let name = event.uuid.unwrap_or_else(|| "no UUID".to_owned());
            let text = plain(&event.text);
            format!("buffer {} ({name}) {}: {text}", event.buffer, event.name)
        }
        EventLine::Missed(count) => format!("{count} events were missed"),
    }
}
