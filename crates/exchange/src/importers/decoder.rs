//! A decoder: writes whole frames into a buffer.
//!
//! It promises the frame first and decodes later: a [`DecoderFrame`] holds a
//! write fence from the moment it is queued, so that a scanout that is set
//! meanwhile waits for the pixels.

use std::time::Duration;

use landbridge_dmabuf::Exclusive;

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::fence::{Fence, FenceSignaller, Outcome};
use crate::importer::Importer;
use crate::reservation::wait_all;
use crate::tenant::Tenant;
use crate::terms::{CachingNeed, Direction, Method, Models, Needs};

struct Decoder<'a>(&'a str);

impl Importer for Decoder<'_> {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            method: Method::Exclusive,
            direction: Direction::Write,
            models: Models::PINNED,
            caching: CachingNeed::Any,
        }
    }
}

/// A buffer that a decoder writes into.
#[derive(Debug)]
pub struct DecoderImport {
    attachment: Attachment,
}

impl DecoderImport {
    /// Attaches the decoder called `name`.
    pub fn attach(buffer: &Buffer, name: &str, tenant: &Tenant) -> Result<Self, Error> {
        Ok(Self {
            attachment: buffer.attach(&Decoder(name), tenant)?,
        })
    }

    /// The attachment and its terms.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Queues a frame: from now on, whoever reads or writes the buffer waits
    /// for it. `label` names the work.
    pub fn queue(&self, label: &str) -> DecoderFrame<'_> {
        let (fence, signaller) = Fence::new(label);
        let before = self
            .attachment
            .buffer()
            .reservation()
            .add(fence.clone(), Direction::Write);
        DecoderFrame {
            attachment: &self.attachment,
            before,
            fence,
            signaller,
        }
    }
}

/// A frame that is to be decoded. Dropping it fails its fence.
#[derive(Debug)]
pub struct DecoderFrame<'a> {
    attachment: &'a Attachment,
    before: Vec<Fence>,
    fence: Fence,
    signaller: FenceSignaller,
}

impl<'a> DecoderFrame<'a> {
    /// The fence that is signalled when the frame is written.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Waits for earlier work on the buffer, at most for `limit`, and takes the
    /// memory. Fails while anybody else maps it.
    pub fn begin(self, limit: Duration) -> Result<DecoderAccess<'a>, Error> {
        wait_all(&self.before, limit)?;
        Ok(DecoderAccess {
            memory: self.attachment.exclusive()?,
            signaller: self.signaller,
        })
    }
}

/// A buffer's memory as the decoder's own. Dropping it without
/// [`finish`](DecoderAccess::finish) fails the frame's fence.
#[derive(Debug)]
pub struct DecoderAccess<'a> {
    // Field order: the memory is let go before the fence is signalled.
    memory: Exclusive<'a>,
    signaller: FenceSignaller,
}

impl DecoderAccess<'_> {
    /// The whole buffer.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.as_mut_slice()
    }

    /// The frame is written: lets the memory go and signals the fence.
    pub fn finish(self) -> Result<(), Error> {
        self.memory.finish()?;
        self.signaller.signal(Outcome::Done);
        Ok(())
    }
}
