//! Pictures as PNG files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};

/// Writes pixels as a PNG file: red, green, blue and alpha, a byte each, rows
/// packed.
pub fn save_png(path: &Path, width: u32, height: u32, rgba: &[u8]) -> anyhow::Result<()> {
    let context = || format!("can't write {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(context)?);
    write_png(&mut file, width, height, rgba).with_context(context)?;
    file.flush().with_context(context)
}

/// Writes the same pixels as PNG to `output`.
pub fn write_png(output: impl Write, width: u32, height: u32, rgba: &[u8]) -> anyhow::Result<()> {
    ensure!(
        rgba.len() as u64 == u64::from(width) * u64::from(height) * 4,
        "{} bytes are no picture of {width}x{height}",
        rgba.len()
    );
    let mut encoder = png::Encoder::new(output, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgba)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("picture.png");
        let pixels = [1, 2, 3, 255, 4, 5, 6, 255];
        save_png(&path, 2, 1, &pixels).unwrap();
        let file = std::io::BufReader::new(File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut read = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut read).unwrap();
        assert_eq!(read, pixels);
    }

    #[test]
    fn pixels_that_do_not_fill_the_picture_are_refused() {
        assert!(write_png(Vec::new(), 2, 2, &[0; 8]).is_err());
    }
}
