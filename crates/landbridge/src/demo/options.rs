//! What the user asks of the demo, checked before anything runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use landbridge_device_media::{Clip, Error};

use crate::failure::Failure;

/// The clip that comes with the program: assets/README.md says how it is made.
static CLIP: &[u8] = include_bytes!("../../../../assets/demo.avi");

/// The command line of `landbridge demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  landbridge demo --frames 60 --out pictures
      decodes 60 frames of the clip that comes with the program and writes what
      the scanout shows as pictures/frame-0000.png and so on.

Exit status: 0 when every pixel is right, no byte was copied and every user saw
the same buffer; 1 when not, or when the clip is bad; 2 when the command line
asks for what can't be.")]
pub struct Options {
    /// A Motion-JPEG clip (AVI, or JPEG images one after another); without it,
    /// the one that comes with the program.
    pub clip: Option<PathBuf>,

    /// How many frames to show; the clip starts again at its end. Without it,
    /// the whole clip once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: Option<u32>,

    /// Write what the scanout shows as PNG files into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Reads the clip. A file that can't be read is a mistake on the command
    /// line; one that is no clip is a failure of the work.
    pub fn open_clip(&self) -> Result<Arc<Clip>, Failure> {
        let Some(path) = &self.clip else {
            return Ok(Arc::new(Clip::parse(CLIP.to_vec())?));
        };
        match Clip::open(path) {
            Ok(clip) => Ok(Arc::new(clip)),
            Err(error @ Error::Read { .. }) => Err(Failure::Usage(error.into())),
            Err(error) => Err(Failure::Work(
                anyhow::Error::new(error).context(path.display().to_string()),
            )),
        }
    }

    /// Makes sure that pictures can be written.
    pub fn prepare_out(&self) -> Result<Option<&Path>, Failure> {
        let Some(dir) = &self.out else {
            return Ok(None);
        };
        fs::create_dir_all(dir)
            .and_then(|()| tempfile::tempfile_in(dir))
            .with_context(|| format!("can't write pictures into {}", dir.display()))
            .map_err(Failure::Usage)?;
        Ok(Some(dir))
    }
}
