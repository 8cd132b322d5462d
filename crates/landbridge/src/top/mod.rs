//! `landbridge top`: the dma-bufs of this machine as they come and go.
//!
//! - `app`: what is shown and what keys do to it; no terminal in there;
//! - `draw`: one frame; `live`: the loop on a terminal;
//! - `order`: names of the orders.

mod app;
mod draw;
mod live;
mod order;

use std::io::{self, IsTerminal};
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use landbridge_inspect::report;
use landbridge_inspect::view::{self, SortKey};
use landbridge_inspect::{Config, Inspector};

use crate::failure::Failure;
use crate::inspect::document::Document;
use crate::terminal;
use app::App;

/// The command line of `landbridge top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  landbridge top
  landbridge top --sort mappings --filter Xwayland
  landbridge top --once
  landbridge top --json --interval 5000 >> buffers.jsonl

Keys: q quits, s and S change the order, / filters by any text of a row (Enter keeps
it, Esc drops it), up and down choose a buffer whose holders are shown, space holds
the picture, r looks at once.

Exit status: 0 when it ended by q, a signal or a reader that left; 1 when it could not
go on; 2 without a terminal, where --once or --json is needed.")]
pub struct Options {
    /// Milliseconds between two looks.
    #[arg(long, value_name = "MS", default_value = "1000")]
    pub interval: NonZeroU32,

    /// What rows are sorted by: size, exporter, name, holders, mappings or newest.
    #[arg(long, value_name = "KEY", default_value = "size", value_parser = order::parse)]
    pub sort: SortKey,

    /// Only rows that contain this, whatever the case: exporter, name, number, process,
    /// device.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,

    /// Print one frame, with all rows, and end.
    #[arg(long)]
    pub once: bool,

    /// Print one JSON object for each look; docs/tools.md tells the keys.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    fn interval(&self) -> Duration {
        Duration::from_millis(self.interval.get().into())
    }
}

/// Runs `landbridge top`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let live = !options.once && !options.json;
    if live && !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let error = anyhow!("top needs a terminal; --once and --json do not");
        return Err(Failure::Usage(error));
    }
    let inspector = Inspector::open(Config::default());
    if options.json {
        return Ok(objects(&inspector, options)?);
    }
    let report = report::collect(&inspector, None);
    let app = App::new(report, options.sort, &options.filter);
    if options.once {
        terminal::print(&draw::once(&app))?;
        return Ok(());
    }
    Ok(live::run(&inspector, app, options.interval())?)
}

/// One object a look, until the reader leaves.
fn objects(inspector: &Inspector, options: &Options) -> anyhow::Result<()> {
    loop {
        let report = report::collect(inspector, None);
        let rows = view::rows(&report, options.sort, &options.filter);
        let text = serde_json::to_string(&Document::of_buffers(&report, rows))? + "\n";
        if !terminal::print(&text)? || options.once {
            return Ok(());
        }
        std::thread::sleep(options.interval());
    }
}
