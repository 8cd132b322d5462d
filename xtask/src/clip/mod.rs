//! `cargo xtask clip`: makes the clip that the demo plays.
//!
//! `assets/photo.jpg` is filmed with a moving camera ([`camera`]), each view is
//! enlarged to a frame ([`photo`]), coded as baseline JPEG and put into an AVI
//! file ([`avi`]). Everything is integer arithmetic, so that every machine
//! makes the same file, byte for byte.

mod avi;
mod camera;
mod photo;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use photo::Photo;

const WIDTH: u16 = 640;
const HEIGHT: u16 = 360;
const FRAMES_PER_SECOND: u32 = 24;
/// The best that stays within [`MAX_BYTES`].
const QUALITY: u8 = 66;
/// The repository is meant to stay small.
const MAX_BYTES: usize = 2 << 20;
/// Coded once, then filmed: its own losses should not show.
const PHOTO_QUALITY: u8 = 95;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Makes assets/photo.jpg anew from this PNG file first.
    #[arg(long, value_name = "PNG")]
    photo: Option<PathBuf>,
    /// Writes nothing; fails if the repository's clip is not the one that this
    /// makes.
    #[arg(long, conflicts_with = "photo")]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let assets = crate::workspace::root().join("assets");
    let photo_path = assets.join("photo.jpg");
    let clip_path = assets.join("demo.avi");
    if let Some(png) = &args.photo {
        let jpeg = Photo::from_png(png)?.to_jpeg(PHOTO_QUALITY)?;
        fs::write(&photo_path, jpeg).with_context(|| photo_path.display().to_string())?;
    }
    let photo = fs::read(&photo_path).with_context(|| photo_path.display().to_string())?;
    let clip = make(&photo)?;
    if args.check {
        let shipped = fs::read(&clip_path).with_context(|| clip_path.display().to_string())?;
        ensure!(
            shipped == clip,
            "assets/demo.avi is not what `cargo xtask clip` makes"
        );
    } else {
        fs::write(&clip_path, &clip).with_context(|| clip_path.display().to_string())?;
    }
    println!(
        "assets/demo.avi: {} frames, {} bytes",
        camera::FRAMES,
        clip.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Films a photo, given as a JPEG file, into an AVI file.
fn make(photo: &[u8]) -> Result<Vec<u8>> {
    let photo = Photo::from_jpeg(photo)?;
    let mut frames = Vec::with_capacity(camera::FRAMES);
    for index in 0..camera::FRAMES {
        frames.push(frame(&photo, index)?);
    }
    let clip = avi::write(WIDTH, HEIGHT, FRAMES_PER_SECOND, &frames);
    ensure!(
        clip.len() <= MAX_BYTES,
        "the clip has {} bytes, more than {MAX_BYTES}",
        clip.len()
    );
    Ok(clip)
}

fn frame(photo: &Photo, index: usize) -> Result<Vec<u8>> {
    let view = camera::view(index, photo.width(), photo.height());
    let pixels = photo.sample(view, WIDTH, HEIGHT);
    encode(&pixels, WIDTH, HEIGHT, QUALITY)
}

/// Without chroma subsampling, since decoders agree better on how to read it;
/// with the standard's Huffman tables, since for tables of its own this encoder
/// writes one scan per component, which can't be decoded row by row.
fn encode(rgb: &[u8], width: u16, height: u16, quality: u8) -> Result<Vec<u8>> {
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, quality);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(rgb, width, height, ColorType::Rgb)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few frames, so as not to take a minute in a debug build;
    /// `cargo xtask clip --check` compares all.
    #[test]
    fn the_shipped_clip_is_the_one_this_makes() {
        let assets = crate::workspace::root().join("assets");
        let photo = fs::read(assets.join("photo.jpg")).unwrap();
        let photo = Photo::from_jpeg(&photo).unwrap();
        let shipped = fs::read(assets.join("demo.avi")).unwrap();
        for index in [0, 29, camera::FRAMES - 1] {
            let made = frame(&photo, index).unwrap();
            let mut places = shipped.windows(made.len());
            assert!(places.any(|place| place == made), "run `cargo xtask clip`");
        }
    }
}
