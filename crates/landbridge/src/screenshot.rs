//! `landbridge screenshot`: what a guest shows, as a PNG file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

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
    write(&mut File::from(picture), result.bytes, &options.file)
        .with_context(|| format!("can't write {}", options.file.display()))?;
    Ok(())
}

/// Writes a picture of `bytes`. A file gets it whole or stays as it was;
/// devices and pipes get it as it comes.
fn write(picture: &mut File, bytes: u64, path: &Path) -> anyhow::Result<()> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return copy(
            picture,
            bytes,
            &mut OpenOptions::new().write(true).open(path)?,
        );
    }
    // Not in the place of a link to it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|it| *it != Path::new(""));
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory.unwrap_or(Path::new(".")))?;
    copy(picture, bytes, file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

fn copy(picture: &mut File, bytes: u64, to: &mut File) -> anyhow::Result<()> {
    let written = io::copy(picture, to)?;
    ensure!(
        written == bytes,
        "the picture was to have {bytes} bytes and has {written}"
    );
    Ok(())
}
