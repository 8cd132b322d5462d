//! `landbridge demo`: the main job in one command, with no VM.
//!
//! An embedded guest allocates two blobs through virtio-gpu and asks for their
//! UUIDs; the decoder finds each by its UUID and decodes frames straight into
//! it; the guest maps it, looks at it, draws a marker with its own CPU, and
//! shows it on a scanout; the host reads what the scanout shows, in place.
//! Every pixel is checked, every copy is counted, and all must have seen the
//! same file.
//!
//! - `options`: what the user asks for; `machine`: device and guest;
//! - `show`: the walk, frame by frame; `check`: what must hold;
//! - `marker`: what the guest draws; `report`: what came out.

mod check;
mod machine;
mod marker;
mod options;
mod report;
mod screen;
mod show;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use landbridge_device_media::motion_jpeg;

use crate::failure::Failure;
use crate::terminal;

pub use machine::Machine;
pub use options::Options;
pub use report::{BufferReport, Report};
pub use show::{Checks, Show};

/// Runs `landbridge demo`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let clip = options.open_clip()?;
    let pictures = options.prepare_out()?;
    let frames = match options.frames {
        Some(frames) => frames,
        None => u32::try_from(clip.len())?,
    };
    let progress = progress_bar(frames, options.json);
    let report = Show {
        clip,
        frames,
        pictures: pictures.map(Into::into),
        checks: Checks::All,
    }
    .run(motion_jpeg, |_| progress.inc(1))?;
    progress.finish_and_clear();
    let text = match options.json {
        true => serde_json::to_string(&report)?,
        false => report.to_string(),
    };
    terminal::print(&format!("{text}\n"))?;
    match report.faults() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(Failure::Work(anyhow!("{}", faults.join(", ")))),
    }
}

/// A bar on standard error, where that is a terminal.
fn progress_bar(frames: u32, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(frames.into()).with_style(style)
}
