//! A camera as importer: it fills buffers of others (`V4L2_MEMORY_DMABUF`).

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use landbridge_dmabuf::{Access, Bracketed};

use super::{PATIENCE, dma_buf, fill};
use crate::checks::Checks;
use crate::exporters::Exporter;
use crate::sys::{answer, v4l2};

/// What a buffer holds before the camera has filled it: no colour of its test
/// picture is made of this byte.
const EMPTY: u8 = 0xee;

/// A picture takes a thirtieth of a second, longer on a busy machine.
const PICTURE: Duration = Duration::from_secs(10);

/// A camera that imports.
#[derive(Debug)]
pub struct Camera {
    name: &'static str,
    device: File,
    picture: u64,
}

impl Camera {
    /// Opens the camera at `path`; `name` is the row.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(name: &'static str, path: &str) -> Result<Self> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let device = open.with_context(|| path.to_owned())?;
        let picture = v4l2::picture_size(&device)?;
        Ok(Self {
            name,
            device,
            picture: u64::from(picture).next_multiple_of(4096),
        })
    }

    /// The bytes of a picture, in whole pages.
    #[must_use]
    pub fn picture(&self) -> u64 {
        self.picture
    }

    /// Reports that a pair is not tried.
    pub fn leave_out(&self, checks: &mut Checks, exporter: &dyn Exporter, reason: &str) {
        let row = format!("{}: import", self.name);
        checks.cell(exporter.name(), &row, &format!("not tried: {reason}"));
    }

    /// Has it fill a buffer of `exporter` and reports that cell by cell.
    ///
    /// # Errors
    /// When the exporter has no buffer to give.
    pub fn run(&self, checks: &mut Checks, exporter: &dyn Exporter, size: u64) -> Result<()> {
        let exported = exporter
            .export(size, crate::exporters::Access::ReadWrite)
            .context(exporter.name())?;
        let buffer = dma_buf(&exported)?;
        let memory = Bracketed::of(buffer, Access::ReadWrite)?;
        fill(&memory, EMPTY)?;
        v4l2::request_imports(&self.device, 1)?;
        let queued = v4l2::queue_import(&self.device, 0, exported.as_fd());
        let row = |what: &str| format!("{}: {what}", self.name);
        checks.cell(exporter.name(), &row("import"), &answer(queued));
        if queued.is_ok() {
            let filled = self.fill(&memory)?;
            checks.cell(exporter.name(), &row("fills it"), &filled);
        }
        // Lets go of the buffer, queued or not.
        v4l2::request_imports(&self.device, 0)?;
        Ok(())
    }

    fn fill(&self, memory: &Bracketed) -> Result<String> {
        if let Err(errno) = v4l2::stream_on(&self.device) {
            return Ok(crate::sys::errno_name(errno));
        }
        let done = v4l2::wait_for_picture(&self.device, PICTURE);
        v4l2::stream_off(&self.device)?;
        if !done? {
            return Ok("no picture comes".to_owned());
        }
        let bracket = memory.read(PATIENCE)?;
        let mut bytes = vec![0; memory.len()];
        bracket.view().copy_to(0, &mut bytes)?;
        bracket.end()?;
        let filled = bytes.iter().filter(|byte| **byte != EMPTY).count();
        // All but the slack after the picture.
        Ok(if filled as u64 > self.picture / 2 {
            "yes"
        } else {
            "no"
        }
        .to_owned())
    }
}
