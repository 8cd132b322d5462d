//! What the demo found, for people and for programs.

use std::collections::BTreeSet;
use std::fmt;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use landbridge_exchange::Buffer;
use serde::Serialize;
use uuid::Uuid;

/// What the demo found. The keys are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Frames shown.
    pub frames: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second, all checks included.
    pub fps: f64,
    /// Bytes of pixels that the decoder wrote.
    pub bytes_decoded: u64,
    /// Bytes of pixels that anybody copied from one buffer to another.
    pub bytes_copied: u64,
    /// Pixels that are not what they must be, in the guest or on the scanout.
    pub pixel_mismatches: u64,
    /// Users of a buffer who saw another file than the decoder did.
    pub identity_mismatches: u64,
    /// The buffers.
    pub buffers: Vec<BufferReport>,
}

/// One buffer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BufferReport {
    /// Its identity.
    pub uuid: String,
    /// Its size in bytes.
    pub size: u64,
    /// Who owns its memory.
    pub exporter: String,
    /// What may happen to its memory.
    pub model: String,
    /// How the CPU caches it.
    pub caching: String,
    /// How we know.
    pub caching_source: String,
    /// Who used it.
    pub importers: Vec<String>,
}

impl BufferReport {
    pub(super) fn of(uuid: Uuid, buffer: &Buffer, importers: &BTreeSet<String>) -> Self {
        let offer = buffer.offer();
        let unknown = || "unknown".to_owned();
        Self {
            uuid: uuid.to_string(),
            size: buffer.size(),
            exporter: buffer.exporter_name().to_owned(),
            model: offer.model.to_string(),
            caching: offer
                .caching
                .map_or_else(unknown, |known| known.caching.to_string()),
            caching_source: offer
                .caching
                .map_or_else(unknown, |known| known.source.to_string()),
            importers: importers.iter().cloned().collect(),
        }
    }
}

impl Report {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self {
            frames: 0,
            width,
            height,
            fps: 0.0,
            bytes_decoded: 0,
            bytes_copied: 0,
            pixel_mismatches: 0,
            identity_mismatches: 0,
            buffers: Vec::new(),
        }
    }

    /// What is wrong, if anything is.
    pub fn faults(&self) -> Vec<String> {
        [
            (self.pixel_mismatches, "wrong pixels"),
            (self.bytes_copied, "bytes copied"),
            (self.identity_mismatches, "users who saw another buffer"),
        ]
        .into_iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, what)| format!("{what}: {count}"))
        .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut totals = Table::new();
        totals.load_style(UTF8_FULL_CONDENSED);
        for (what, value) in [
            ("frames", self.frames.to_string()),
            ("size", format!("{} x {}", self.width, self.height)),
            ("frames per second", format!("{:.1}", self.fps)),
            ("bytes decoded", self.bytes_decoded.to_string()),
            ("bytes copied", self.bytes_copied.to_string()),
            ("pixel mismatches", self.pixel_mismatches.to_string()),
            ("identity mismatches", self.identity_mismatches.to_string()),
        ] {
            totals.add_row([what, &value]);
        }
        writeln!(f, "{totals}")?;
        let mut buffers = Table::new();
        buffers.load_style(UTF8_FULL_CONDENSED);
        buffers.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        buffers.set_header([
            "buffer",
            "bytes",
            "exporter",
            "model",
            "caching",
            "known by",
            "importers",
        ]);
        for buffer in &self.buffers {
            buffers.add_row([
                &buffer.uuid,
                &buffer.size.to_string(),
                &buffer.exporter,
                &buffer.model,
                &buffer.caching,
                &buffer.caching_source,
                &buffer.importers.join(", "),
            ]);
        }
        write!(f, "{buffers}")
    }
}
