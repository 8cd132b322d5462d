//! The demo as a user runs it, and the demo with something wrong in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use landbridge::demo::{Checks, Report, Show};
use landbridge_device_media::{Clip, Codec, Frame, Layout, motion_jpeg};
use serde_json::Value;

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo.avi");

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landbridge"))
        .arg("demo")
        .args(arguments)
        .output()
        .unwrap()
}

/// What the demo said on standard error, having ended with this status.
fn failure(arguments: &[&str], status: i32) -> String {
    let output = demo(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    said
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_demo_shows_the_clip_and_copies_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(&["--frames", "5", "--json", "--out", path(dir.path())]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (key, value) in [
        ("frames", 5),
        ("width", 640),
        ("height", 360),
        ("bytes_decoded", 5 * 640 * 360 * 4),
        ("bytes_copied", 0),
        ("pixel_mismatches", 0),
        ("identity_mismatches", 0),
    ] {
        assert_eq!(report[key], value, "{key}");
    }
    assert!(report["fps"].as_f64().unwrap() > 0.0);
    let buffers = report["buffers"].as_array().unwrap();
    assert_eq!(buffers.len(), 2);
    assert_ne!(buffers[0]["uuid"], buffers[1]["uuid"]);
    for buffer in buffers {
        assert_eq!(buffer["size"], 640 * 360 * 4);
        assert_eq!(buffer["exporter"], "memfd");
        assert_eq!(buffer["model"], "pinned");
        assert_eq!(buffer["caching"], "write-back");
        assert!(!buffer["caching_source"].as_str().unwrap().is_empty());
        let importers = serde_json::json!(["decoder", "guest window", "scanout 0"]);
        assert_eq!(buffer["importers"], importers);
    }
    for frame in 0..5 {
        assert_is_marked(&dir.path().join(format!("frame-{frame:04}.png")));
    }
}

/// The picture has the clip's size, the guest's marker, and more than that.
fn assert_is_marked(path: &Path) {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (640, 360));
    let green = [0x20, 0xff, 0x20, 0xff];
    let marker = pixels.chunks(4).filter(|pixel| *pixel == green).count();
    assert_eq!(marker, 45 * 45, "{}", path.display());
    let mut colours: Vec<_> = pixels.chunks(4).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 1000, "{} colours", colours.len());
}

#[test]
fn the_users_own_clip_plays() {
    let output = demo(&["--frames", "1", CLIP]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("bytes copied"), "{table}");
}

#[test]
fn help_has_an_example() {
    let output = demo(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("landbridge demo --frames 60 --out"), "{help}");
}

#[test]
fn what_can_not_be_asked_for_ends_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let below_a_file = file.join("out");
    let missing = dir.path().join("missing.avi");
    for (arguments, says) in [
        (vec!["--frames", "0"], "0 is not in 1.."),
        (vec!["--frames", "many"], "invalid digit"),
        (vec![path(&missing)], "missing.avi"),
        (vec![path(dir.path())], "directory"),
        (vec!["--out", path(&file)], "can't write pictures into"),
        (
            vec!["--out", path(&below_a_file)],
            "can't write pictures into",
        ),
        (vec!["--frame"], "--frame"),
    ] {
        let said = failure(&arguments, 2);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn a_bad_clip_ends_with_status_1_and_names_frame_and_byte() {
    let good = fs::read(CLIP).unwrap();
    let clip = Clip::parse(good.clone()).unwrap();
    let jpeg = |frame: usize| clip.frame(frame).unwrap().bytes.to_vec();
    let second = jpeg(1);
    let truncated = [jpeg(0), second[..second.len() / 2].to_vec()].concat();
    for (name, bytes, says) in [
        ("empty", Vec::new(), vec!["frame 0", "byte 0", "empty"]),
        ("text", b"not a clip".to_vec(), vec!["frame 0", "byte 0"]),
        ("truncated", truncated, vec!["frame 1", "byte"]),
        (
            "half an AVI",
            good[..good.len() / 2].to_vec(),
            vec!["frame", "byte"],
        ),
        (
            "no height",
            resized(jpeg(0), [0, 0, 2, 128]),
            vec!["frame 0", "byte"],
        ),
        (
            "absurd",
            resized(jpeg(0), [255, 255, 255, 255]),
            vec!["frame 0", "byte"],
        ),
        (
            "changes its size",
            [jpeg(0), resized(jpeg(1), [1, 0, 1, 0])].concat(),
            vec!["frame 1", "byte"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clip");
        fs::write(&file, bytes).unwrap();
        let said = failure(&[path(&file)], 1);
        for word in says {
            assert!(said.contains(word), "{name}: {said}");
        }
    }
}

/// The image with another height and width in its header.
fn resized(mut jpeg: Vec<u8>, size: [u8; 4]) -> Vec<u8> {
    let header = jpeg
        .windows(2)
        .position(|bytes| bytes == [0xff, 0xc0])
        .unwrap();
    jpeg[header + 5..header + 9].copy_from_slice(&size);
    jpeg
}

fn show(codec: impl Codec) -> Report {
    let show = Show {
        clip: Arc::new(Clip::open(CLIP).unwrap()),
        frames: 3,
        pictures: None,
        checks: Checks::All,
    };
    show.run(codec, |_| ()).unwrap()
}

#[test]
fn a_single_wrong_pixel_is_a_fault() {
    let report = show(|frame: &Frame<'_>, target: &mut [u8], layout: &Layout| {
        let copied = motion_jpeg(frame, target, layout)?;
        if frame.index == 1 {
            target[4 * (layout.width as usize * 200 + 300)] ^= 0x80;
        }
        Ok(copied)
    });
    assert_eq!(report.pixel_mismatches, 1);
    assert_eq!(report.faults(), ["wrong pixels: 1"]);
    assert!(show(motion_jpeg).faults().is_empty());
}

#[test]
fn a_copy_is_a_fault() {
    let report = show(|frame: &Frame<'_>, target: &mut [u8], layout: &Layout| {
        // Decodes into memory of its own and copies, as most programs do.
        let mut pixels = vec![0; layout.byte_len()?];
        motion_jpeg(frame, &mut pixels, layout)?;
        target[..pixels.len()].copy_from_slice(&pixels);
        Ok(pixels.len() as u64)
    });
    assert_eq!(report.bytes_copied, 3 * 640 * 360 * 4);
    assert_eq!(report.faults(), ["bytes copied: 2764800"]);
    assert_eq!(report.pixel_mismatches, 0);
}

#[test]
fn the_wrong_frame_is_a_fault() {
    let clip = Clip::open(CLIP).unwrap();
    let report = show(
        move |frame: &Frame<'_>, target: &mut [u8], layout: &Layout| {
            let before = clip.frame(frame.index.saturating_sub(1)).unwrap();
            motion_jpeg(&before, target, layout)
        },
    );
    assert!(report.pixel_mismatches > 10_000, "{report:?}");
}
