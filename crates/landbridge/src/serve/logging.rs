//! Logs: to standard error, warnings only unless asked for more.

use std::io::IsTerminal;

use anyhow::Context;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Levels by part, as in "info,landbridge_transport=trace".
pub(super) const VARIABLE: &str = "LANDBRIDGE_LOG";

/// Starts logging. What the variable says wins over `verbose`.
pub(super) fn start(verbose: u8) -> anyhow::Result<()> {
    let wanted = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let filter: Targets = match wanted {
        Some(text) => text
            .parse()
            .with_context(|| format!("{VARIABLE} is {text:?}"))?,
        None => Targets::new().with_default(level(verbose)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal has a clock of its own.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let registry = tracing_subscriber::registry().with(filter);
    match journal {
        true => registry.with(lines.without_time()).try_init()?,
        false => registry.with(lines).try_init()?,
    }
    Ok(())
}

fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}
