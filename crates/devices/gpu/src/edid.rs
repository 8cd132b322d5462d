//! Makes the EDID of an output: 128 bytes that say which display it is.
//!
//! Followed: VESA Enhanced EDID 1.4 (base block), and for the timing VESA CVT
//! with reduced blanking. Not a real display: the picture's physical size is
//! that of 96 pixels to the inch.

use crate::config::Output;

/// Bytes of a base block.
const SIZE: usize = 128;
/// Horizontal blanking of CVT's reduced blanking, and its parts, in pixels.
const H_BLANK: u32 = 160;
const H_FRONT: u32 = 48;
const H_SYNC: u32 = 32;
/// Parts of the vertical blanking in lines.
const V_FRONT: u32 = 3;
const V_SYNC: u32 = 8;
/// The pixel clock has 16 bits for units of 10 kHz.
const MAX_CLOCK: u64 = u16::MAX as u64 * 10_000;

/// The EDID of output number `index`.
pub(crate) fn of_output(output: &Output, index: usize) -> [u8; SIZE] {
    let mut edid = [0; SIZE];
    let number = index as u8 + 1;
    edid[..8].copy_from_slice(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
    edid[8..10].copy_from_slice(&manufacturer(*b"LBG"));
    edid[10..12].copy_from_slice(&1u16.to_le_bytes());
    edid[12..16].copy_from_slice(&u32::from(number).to_le_bytes());
    // Model year 2026 instead of a week, EDID 1.4.
    edid[16..20].copy_from_slice(&[0xff, 36, 1, 4]);
    edid[20..25].copy_from_slice(&basics(output));
    edid[25..35].copy_from_slice(&SRGB);
    // No established timings, and eight unused standard ones.
    edid[38..54].fill(0x01);
    edid[54..72].copy_from_slice(&detailed_timing(output));
    edid[72..90].copy_from_slice(&text(0xfc, &format!("Landbridge {number}")));
    edid[90..108].copy_from_slice(&text(0xff, &format!("LBG{number:05}")));
    edid[108..126].copy_from_slice(&range_limits());
    edid[127] = checksum(&edid[..127]);
    edid
}

/// sRGB primaries and white point.
const SRGB: [u8; 10] = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54];

/// Three letters in five bits each.
fn manufacturer(letters: [u8; 3]) -> [u8; 2] {
    letters
        .iter()
        .fold(0u16, |id, letter| (id << 5) | u16::from(letter - b'A' + 1))
        .to_be_bytes()
}

/// Digital input of 8 bits, size in cm, gamma 2.2, and: sRGB, the preferred
/// timing is native.
fn basics(output: &Output) -> [u8; 5] {
    let centimetres = |pixels| u8::try_from(millimetres(pixels) / 10).unwrap_or(u8::MAX);
    [
        0xa5,
        centimetres(output.width()).max(1),
        centimetres(output.height()).max(1),
        120,
        0x06,
    ]
}

fn millimetres(pixels: u32) -> u32 {
    pixels * 254 / 960
}

/// Lines of vertical blanking: at least 460 µs at 60 Hz.
fn vertical_blanking(height: u32) -> u32 {
    (height * 29 / 1000 + 1).max(V_FRONT + V_SYNC + 6)
}

/// The pixel clock in units of 10 kHz: 60 Hz, or as fast as can be told.
fn pixel_clock(output: &Output) -> u16 {
    let total = u64::from(output.width() + H_BLANK)
        * u64::from(output.height() + vertical_blanking(output.height()));
    let clock = (total * 60).min(MAX_CLOCK) / 10_000;
    u16::try_from(clock).unwrap_or(u16::MAX).max(1)
}

fn detailed_timing(output: &Output) -> [u8; 18] {
    let (width, height) = (output.width(), output.height());
    let v_blank = vertical_blanking(height);
    let (mm_x, mm_y) = (millimetres(width), millimetres(height));
    let low = |value: u32| (value & 0xff) as u8;
    // The upper four bits of two numbers share a byte.
    let high = |first: u32, second: u32| (((first >> 8) << 4) | (second >> 8)) as u8;
    let [clock_low, clock_high] = pixel_clock(output).to_le_bytes();
    [
        clock_low,
        clock_high,
        low(width),
        low(H_BLANK),
        high(width, H_BLANK),
        low(height),
        low(v_blank),
        high(height, v_blank),
        low(H_FRONT),
        low(H_SYNC),
        ((V_FRONT << 4) | V_SYNC) as u8,
        0,
        low(mm_x),
        low(mm_y),
        high(mm_x, mm_y),
        0,
        0,
        // Separate digital syncs, horizontal positive, vertical negative.
        0x1a,
    ]
}

/// A descriptor with up to 13 characters.
fn text(tag: u8, text: &str) -> [u8; 18] {
    let mut descriptor = [b' '; 18];
    descriptor[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let characters = &text.as_bytes()[..text.len().min(13)];
    descriptor[5..5 + characters.len()].copy_from_slice(characters);
    if let Some(end) = descriptor.get_mut(5 + characters.len()) {
        *end = b'\n';
    }
    descriptor
}

/// 1 to 125 Hz vertically, 1 to 255 kHz horizontally, 660 MHz, no formula.
fn range_limits() -> [u8; 18] {
    let mut descriptor = [b' '; 18];
    descriptor[..12].copy_from_slice(&[0, 0, 0, 0xfd, 0, 1, 125, 1, 255, 66, 0x01, b'\n']);
    descriptor
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edid(width: u32, height: u32, index: usize) -> [u8; SIZE] {
        of_output(&Output::new(width, height).unwrap(), index)
    }

    /// What a reader makes of the detailed timing: clock in Hz, then active and
    /// blanking of both axes.
    fn timing(edid: &[u8]) -> (u64, u32, u32, u32, u32) {
        let dtd = &edid[54..72];
        let clock = u64::from(u16::from_le_bytes([dtd[0], dtd[1]])) * 10_000;
        let twelve = |low: u8, high: u8| u32::from(low) | (u32::from(high) << 8);
        (
            clock,
            twelve(dtd[2], dtd[4] >> 4),
            twelve(dtd[3], dtd[4] & 15),
            twelve(dtd[5], dtd[7] >> 4),
            twelve(dtd[6], dtd[7] & 15),
        )
    }

    #[test]
    fn full_hd_runs_at_60_hz() {
        let edid = edid(1920, 1080, 0);
        let (clock, width, h_blank, height, v_blank) = timing(&edid);
        assert_eq!((width, height), (1920, 1080));
        let hertz = clock as f64 / f64::from((width + h_blank) * (height + v_blank));
        assert!((59.9..60.1).contains(&hertz), "{hertz}");
    }

    #[test]
    fn outputs_differ_in_name_and_serial() {
        let (first, second) = (edid(800, 600, 0), edid(800, 600, 1));
        assert_ne!(first[12..16], second[12..16]);
        assert_eq!(&first[77..90], b"Landbridge 1\n");
        assert_eq!(&second[77..90], b"Landbridge 2\n");
    }

    #[test]
    fn the_manufacturer_is_spelled_as_eisa_spells_it() {
        let id = u16::from_be_bytes([edid(1, 1, 0)[8], edid(1, 1, 0)[9]]);
        let letters = [10, 5, 0].map(|shift| (((id >> shift) & 31) as u8 + b'A' - 1) as char);
        assert_eq!(letters, ['L', 'B', 'G']);
    }

    proptest! {
        #[test]
        fn every_output_has_a_valid_block(
            width in 1u32..=4095, height in 1u32..=4095, index in 0usize..16
        ) {
            let edid = edid(width, height, index);
            let sum = edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            prop_assert_eq!(sum, 0);
            let (clock, w, h_blank, h, v_blank) = timing(&edid);
            prop_assert_eq!((w, h), (width, height));
            prop_assert!(clock > 0);
            prop_assert!(h_blank > H_FRONT + H_SYNC);
            prop_assert!(v_blank > V_FRONT + V_SYNC);
        }
    }
}
