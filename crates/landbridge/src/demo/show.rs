//! The walk of a buffer's life, frame by frame.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use landbridge_device_gpu::Image;
use landbridge_device_media::{Clip, Codec, DecodeQueue, Layout, PixelFormat, Queued};
use landbridge_dmabuf::{Identity, round_up_to_page};
use landbridge_exchange::buffer::Buffer;
use landbridge_protocol_gpu::{Format, Rect};
use landbridge_transport::guest::{
    self,
    gpu::{Blob, GuestMapping, Picture},
};
use uuid::Uuid;

use super::check;
use super::machine::Machine;
use super::marker::Marker;
use super::report::{BufferReport, Report};
use crate::picture::save_png;

/// The scanout that is shown on.
const SCANOUT: u32 = 0;

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is checked of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Every pixel, in the guest and on the scanout, and every identity.
    All,
    /// Nothing: for measuring how fast the walk itself is.
    None,
}

/// A clip to be shown.
#[derive(Debug)]
pub struct Show {
    /// The clip; it starts again at its end.
    pub clip: Arc<Clip>,
    /// How many frames.
    pub frames: u32,
    /// Where pictures of the scanout are written, if anywhere.
    pub pictures: Option<PathBuf>,
    /// What is checked.
    pub checks: Checks,
}

impl Show {
    /// Shows the clip, decoded by `codec`. `shown` is called with the number of
    /// every frame that was shown.
    pub fn run(&self, codec: impl Codec, mut shown: impl FnMut(u32)) -> anyhow::Result<Report> {
        let mut stage = Stage::set(self, codec)?;
        let start = Instant::now();
        let mut queued = stage.queue(0)?;
        for frame in 0..self.frames {
            let decoded = queued.wait(PATIENCE)?;
            stage.report.bytes_decoded += decoded;
            stage.show(frame)?;
            // The other buffer left the scanout just now.
            if frame + 1 < self.frames {
                queued = stage.queue(frame + 1)?;
            }
            stage.look(frame)?;
            stage.report.frames += 1;
            shown(frame);
        }
        let seconds = start.elapsed().as_secs_f64();
        stage.finish(seconds)
    }
}

/// One of the two buffers.
struct Slot {
    blob: Blob,
    uuid: Uuid,
    buffer: Buffer,
    /// Everybody who was ever seen to use it.
    importers: BTreeSet<String>,
}

/// What a frame looked like in the guest, until the scanout has been seen.
#[derive(Default)]
struct Seen {
    pixels: Vec<u8>,
    window: Option<Identity>,
}

struct Stage<'a> {
    show: &'a Show,
    layout: Layout,
    slots: Vec<Slot>,
    seen: Seen,
    report: Report,
    decoder: DecodeQueue,
    machine: Machine,
}

impl<'a> Stage<'a> {
    fn set(show: &'a Show, codec: impl Codec) -> anyhow::Result<Self> {
        let clip = &show.clip;
        let layout = Layout::packed(clip.width(), clip.height(), PixelFormat::B8g8r8x8)?;
        let size = round_up_to_page(layout.byte_len()? as u64)
            .ok_or_else(|| anyhow!("a frame is too large for memory"))?;
        let machine = Machine::start(layout.width, layout.height, size)?;
        let slots = (0..2)
            .map(|_| Slot::create(&machine, size))
            .collect::<anyhow::Result<_>>()?;
        let decoder = DecodeQueue::start(
            machine.exchange.clone(),
            machine.host.clone(),
            Arc::clone(clip),
            layout,
            codec,
        )?;
        Ok(Self {
            show,
            layout,
            slots,
            seen: Seen::default(),
            report: Report::new(layout.width, layout.height),
            decoder,
            machine,
        })
    }

    fn slot(&self, frame: u32) -> &Slot {
        &self.slots[frame as usize % self.slots.len()]
    }

    fn note_importers(&mut self, frame: u32) {
        let slot = frame as usize % self.slots.len();
        self.slots[slot].note_importers();
    }

    /// Has a frame decoded into its buffer, which the decoder finds by UUID.
    fn queue(&self, frame: u32) -> anyhow::Result<Queued> {
        Ok(self.decoder.queue(self.slot(frame).uuid, frame as usize)?)
    }

    /// The guest's part: maps the buffer, looks, draws, and sets the scanout.
    fn show(&mut self, frame: u32) -> anyhow::Result<()> {
        let blob = self.slot(frame).blob;
        let mapping = self.machine.gpu.map(&blob);
        let mapping = mapping.context("the guest maps a buffer")?;
        self.note_importers(frame);
        self.seen = self.see(&mapping)?;
        let marker = self.marker(frame);
        for (offset, row) in marker.rows(self.layout.stride as usize) {
            mapping.write(offset as u64, &row)?;
        }
        let gpu = &self.machine.gpu;
        gpu.unmap(mapping).context("the guest unmaps a buffer")?;
        let picture = Picture {
            format: Format::B8G8R8X8,
            width: self.layout.width,
            height: self.layout.height,
            stride: self.layout.stride,
            offset: 0,
        };
        gpu.set_scanout_blob(SCANOUT, &blob, picture)?;
        gpu.flush(&blob, Rect::of_size(picture.width, picture.height))?;
        Ok(())
    }

    fn see(&self, mapping: &GuestMapping) -> anyhow::Result<Seen> {
        if self.show.checks == Checks::None {
            return Ok(Seen::default());
        }
        let maps = self
            .machine
            .gpu
            .guest()
            .window()
            .map(guest::GuestWindow::maps);
        let window = maps
            .unwrap_or_default()
            .into_iter()
            .find(|map| map.offset == mapping.offset())
            .map(|map| map.identity);
        Ok(Seen {
            pixels: mapping.read(0, self.layout.byte_len()?)?,
            window,
        })
    }

    /// The host's part: looks at what the scanout shows, in place.
    fn look(&mut self, frame: u32) -> anyhow::Result<()> {
        let image = self.machine.screen.recv_timeout(PATIENCE);
        let image = image.context("nothing appeared on the scanout")?;
        self.note_importers(frame);
        if self.show.checks == Checks::All {
            self.check(frame, &image)?;
        }
        if let Some(pictures) = &self.show.pictures {
            let access = image.read(PATIENCE)?;
            let rgba = access.to_rgba()?;
            access.end()?;
            let path = pictures.join(format!("frame-{frame:04}.png"));
            save_png(&path, self.layout.width, self.layout.height, &rgba)?;
        }
        Ok(())
    }

    fn check(&mut self, frame: u32, image: &Image) -> anyhow::Result<()> {
        let clip = &self.show.clip;
        let source = clip
            .frame(frame as usize % clip.len())
            .ok_or_else(|| anyhow!("the clip has no frame {frame}"))?;
        let seen = std::mem::take(&mut self.seen);
        let shown = check::read_rows(image, PATIENCE)?;
        self.report.pixel_mismatches += check::seen_by_guest(&source, &seen.pixels, &self.layout)?
            + check::shown(&shown, &seen.pixels, self.marker(frame), &self.layout);
        // The decoder's way to the buffer is its UUID and nothing else.
        let found = self.machine.exchange.lookup(self.slot(frame).uuid);
        let decoder = found.and_then(|buffer| buffer.identity());
        self.report.identity_mismatches +=
            check::strangers(decoder, &[seen.window, image.buffer().identity()]);
        Ok(())
    }

    fn marker(&self, frame: u32) -> Marker {
        Marker::of(
            frame as usize,
            self.layout.width as usize,
            self.layout.height as usize,
        )
    }

    fn finish(mut self, seconds: f64) -> anyhow::Result<Report> {
        self.report.fps = f64::from(self.report.frames) / seconds;
        self.report.bytes_copied = self.machine.exchange.copied_bytes();
        self.report.buffers = self
            .slots
            .iter()
            .map(|slot| BufferReport::of(slot.uuid, &slot.buffer, &slot.importers))
            .collect();
        Ok(self.report)
    }
}

impl Slot {
    /// Allocates a blob through virtio-gpu and has it named.
    fn create(machine: &Machine, size: u64) -> anyhow::Result<Self> {
        let blob = machine.create_blob(size)?;
        let uuid = machine.gpu.assign_uuid(&blob)?;
        let buffer = machine
            .exchange
            .lookup(uuid)
            .ok_or_else(|| anyhow!("the exchange does not know the UUID {uuid}"))?;
        Ok(Self {
            blob,
            uuid,
            buffer,
            importers: BTreeSet::new(),
        })
    }

    /// Remembers who uses the buffer now.
    fn note_importers(&mut self) {
        let importers = self.buffer.importers();
        self.importers
            .extend(importers.into_iter().map(|importer| importer.name));
    }
}
