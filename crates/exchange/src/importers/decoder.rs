//! A decoder: writes whole frames into a buffer.
//!
//! Memory moves and goes between two frames: a frame that is being written ends
//! first, and one that waits gives up.
//!
//! It promises the frame first and decodes later: a [`DecoderFrame`] holds a
//! write fence from the moment it is queued, so that a scanout that is set
//! meanwhile waits for the pixels.

use std::sync::Arc;
use std::time::Duration;

use crate::attachment::Attachment;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::fence::{self, Fence, FenceSignaller, Outcome};
use crate::holder::{BetweenFences, Holder};
use crate::importer::Importer;
use crate::reservation::wait_all_until;
use crate::tenant::Tenant;
use crate::terms::{Direction, Method, Models, Needs};

struct Decoder<'a>(&'a str);

impl Importer for Decoder<'_> {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            models: Models::ANY,
            ..Needs::new(Method::Exclusive, Direction::Write)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::new(BetweenFences))
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
    pub fn queue(self: &Arc<Self>, label: impl Into<String>) -> DecoderFrame {
        let (fence, signaller) = Fence::new(label);
        let reservation = self.attachment.buffer().reservation();
        DecoderFrame {
            import: Arc::clone(self),
            entered: reservation.enter(fence.clone(), Direction::Write).ok(),
            fence,
            signaller,
        }
    }
}

/// A frame that is to be decoded. Dropping it fails its fence.
#[must_use = "a frame that is dropped fails its fence"]
#[derive(Debug)]
pub struct DecoderFrame {
    import: Arc<DecoderImport>,
    /// The fences before it, and the count of revocations;
    /// `None` if it was not there.
    entered: Option<(Vec<Fence>, u64)>,
    fence: Fence,
    signaller: FenceSignaller,
}

impl DecoderFrame {
    /// The buffer that the frame goes into.
    pub fn buffer(&self) -> &Buffer {
        self.import.attachment.buffer()
    }

    /// The fence that is signalled when the frame is written.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Waits for earlier work on the buffer, at most for `limit`, and calls
    /// `write` with the whole buffer as the decoder's own memory. Fails while
    /// anybody else maps it. The fence is signalled when this returns: done if
    /// `write` succeeded and the bytes are where others see them, else failed.
    /// Earlier work that failed holds nothing up: a whole frame replaces it. Fails
    /// with [`Error::Revoked`] where the memory was taken away since it was queued.
    pub fn write<E: From<Error>>(
        self,
        limit: Duration,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let deadline = fence::deadline(limit);
        let buffer = self.import.attachment.buffer();
        let (before, cuts) = self.entered.as_ref().ok_or_else(|| buffer.not_there())?;
        wait_all_until(before, deadline, limit).map_err(Error::from)?;
        // Declared after `self`: on the way out of an error or a panic the
        // memory is let go before the fence says that it failed.
        let mut memory = self.import.attachment.exclusive(*cuts, deadline)?;
        write(memory.as_mut_slice())?;
        memory.finish().map_err(Error::from)?;
        let reservation = buffer.reservation();
        if reservation.cuts() > cuts + 1 {
            // A revocation did not wait so long: nobody will see this frame.
            return Err(buffer.not_there().into());
        }
        self.signaller.signal(Outcome::Done);
        Ok(())
    }
}
