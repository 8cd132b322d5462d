//! Buffers of V4L2 capture devices: one of every node whose queue is free.

use std::path::Path;

use landbridge_dmabuf::v4l2::Capture;
use landbridge_dmabuf::{Access, DmaBuf, Error};
use landbridge_inspect::probe::Sample;

/// One sample for each capture node; nodes that are for something else have none.
pub(super) fn samples() -> Vec<Sample> {
    match Capture::nodes() {
        Ok(nodes) => nodes.iter().filter_map(|path| of_node(path)).collect(),
        Err(error) => vec![Sample::new("cameras", None, Err(error))],
    }
}

fn of_node(path: &Path) -> Option<Sample> {
    let node = path.file_name().unwrap_or_default().display();
    match Capture::open(path) {
        Ok(capture) => {
            let driver = capture.driver();
            let what = format!("frame of {node} ({driver})");
            Some(Sample::new(what, Some(driver), frame(&capture)))
        }
        Err(Error::NotACapture { .. }) => None,
        Err(error) => Some(Sample::new(format!("{node}"), None, Err(error))),
    }
}

fn frame(capture: &Capture) -> Result<DmaBuf, Error> {
    capture.allocate(1)?;
    capture.export(0, Access::ReadWrite)
}
