//! `landbridge screenshot`: what a guest shows, as a PNG file.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::control::Client;
use crate::control::protocol::ScreenshotArguments;
use crate::failure::Failure;

/// The command line of `landbridge screenshot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge screenshot screen.png --control control.sock

The picture is as the guest drew it, without the cursor.

Exit status: 0 when the picture was written, 1 when not.")]
pub struct Options {
    /// Where to write the picture.
    #[arg(value_name = "FILE.png")]
    pub file: PathBuf,

    /// The control socket of the running `landbridge serve`.
    #[arg(long, value_name = "SOCK")]
    pub control: PathBuf,

    /// Which device, by its number in the status.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub device: usize,

    /// Which of its outputs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub output: u32,
}

/// Runs `landbridge screenshot`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let (result, picture) = Client::connect(&options.control)?.screenshot(ScreenshotArguments {
        device: options.device,
        output: options.output,
    })?;
    let context = || format!("can't write {}", options.file.display());
    let mut file = File::create(&options.file).with_context(context)?;
    let bytes = io::copy(&mut File::from(picture), &mut file).with_context(context)?;
    ensure_all(bytes, result.bytes)?;
    Ok(())
}

fn ensure_all(written: u64, announced: u64) -> anyhow::Result<()> {
    ensure!(
        written == announced,
        "the picture was to have {announced} bytes and has {written}"
    );
    Ok(())
}
