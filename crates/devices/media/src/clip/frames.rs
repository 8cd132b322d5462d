//! The list of frames as a container's reader fills it, and what all frames of
//! a clip must have in common.

use super::MAX_FRAMES;
use super::jpeg::{Header, Image};
use crate::error::{At, Defect, Error};

/// Where a frame is in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) header: Header,
}

#[derive(Debug, Default)]
pub(super) struct Frames(Vec<Span>);

impl Frames {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds an image that starts at `start`.
    pub(super) fn push(&mut self, start: usize, image: Image) -> Result<(), Error> {
        if let Some(first) = self.0.first() {
            agree(&first.header, &image.header)
                .map_err(|defect| At::new(start, defect).in_frame(self.len()))?;
        }
        let span = Span {
            start,
            end: image.end,
            header: image.header,
        };
        self.add(start, span)
    }

    /// Shows the last image once more, as the chunk at `at` asks.
    pub(super) fn repeat(&mut self, at: usize) -> Result<(), Error> {
        match self.0.last() {
            Some(&last) => self.add(at, last),
            None => Err(At::new(at, Defect::EmptyFrame).in_frame(0)),
        }
    }

    fn add(&mut self, at: usize, span: Span) -> Result<(), Error> {
        if self.len() == MAX_FRAMES {
            return Err(At::new(at, Defect::TooManyFrames(MAX_FRAMES)).in_frame(self.len()));
        }
        self.0.push(span);
        Ok(())
    }

    /// The frames, of which there must be one at least; `end` is where the
    /// search for them ended.
    pub(super) fn finish(self, end: usize) -> Result<Vec<Span>, Error> {
        if self.0.is_empty() {
            return Err(At::new(end, Defect::NoFrames).in_frame(0));
        }
        Ok(self.0)
    }
}

fn agree(first: &Header, this: &Header) -> Result<(), Defect> {
    let from = (first.width, first.height);
    let to = (this.width, this.height);
    if from != to {
        return Err(Defect::SizeChanged { from, to });
    }
    if first.components != this.components {
        return Err(Defect::ComponentsChanged {
            from: first.components,
            to: this.components,
        });
    }
    Ok(())
}
