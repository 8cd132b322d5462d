//! A virtio-gpu driver for programs in the embedded guest.
//!
//! Virtio 1.3, section 5.7. One method per command, typed both ways; what the
//! device refuses is an [`Error::Refused`] with its code. Handles are plain
//! values: nothing is sent to the device behind the program's back, so that a
//! test can leave out, repeat or reorder whatever it likes. Commands that no
//! method sends go through [`Gpu::command`] and [`Gpu::send_bytes`].

mod backing;
mod blob;
mod context;
mod twod;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use landbridge_protocol_gpu::{
    CONFIG_SPACE_SIZE, CONTROL_QUEUE, CURSOR_QUEUE, Command, CommandKind, Config, ControlHeader,
    Cursor, DisplayInfo, Edid, Features, GetEdid, Response,
};

pub use backing::Backing;
pub use blob::{Blob, GuestMapping, NewBlob, Picture};
pub use context::Context;
pub use twod::Resource2d;

use super::space::Space;
use super::{EmbeddedGuest, Pending};
use crate::error::{Error, Result};

/// Room for the answer to any command but `GET_CAPSET`, whose caller knows.
const ROOM: usize = 2048;

/// Anything that has a resource id.
pub trait Resource {
    /// Its id on the wire.
    fn id(&self) -> u32;
}

impl Resource for u32 {
    fn id(&self) -> u32 {
        *self
    }
}

/// A virtio-gpu driver.
#[derive(Debug)]
pub struct Gpu {
    guest: Arc<EmbeddedGuest>,
    resources: AtomicU32,
    contexts: AtomicU32,
    fences: AtomicU64,
    window: Mutex<Space>,
}

impl Gpu {
    /// Drives the guest's device, which must be a virtio-gpu.
    pub fn open(guest: Arc<EmbeddedGuest>) -> Self {
        let window = guest.window().map_or(0, super::window::GuestWindow::size);
        Self {
            guest,
            resources: AtomicU32::new(1),
            contexts: AtomicU32::new(1),
            fences: AtomicU64::new(1),
            window: Mutex::new(Space::new(window)),
        }
    }

    /// The guest that it runs in.
    pub fn guest(&self) -> &EmbeddedGuest {
        &self.guest
    }

    /// The features that device and driver agreed on.
    pub fn features(&self) -> Features {
        Features::from_bits_truncate(self.guest.features())
    }

    /// The device's configuration.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn config(&self) -> Result<Config> {
        let bytes = self.guest.config(0, CONFIG_SPACE_SIZE)?;
        Config::parse(&bytes).map_err(|error| Error::device("tell its configuration", error))
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Refused`] with the device's code; [`Error::Device`] for an
    /// answer that is none; those of [`EmbeddedGuest::request`].
    pub fn command(&self, header: ControlHeader, command: &Command<'_>) -> Result<Response> {
        self.begin(header, command, ROOM)?.wait()
    }

    /// Sends a command, to be waited for later.
    ///
    /// # Errors
    /// Those of [`EmbeddedGuest::submit`].
    pub fn begin(
        &self,
        header: ControlHeader,
        command: &Command<'_>,
        room: usize,
    ) -> Result<InProgress<'_>> {
        let kind = command.kind();
        let queue = match kind.is_cursor() {
            true => CURSOR_QUEUE,
            false => CONTROL_QUEUE,
        };
        let bytes = command.encode(&header);
        Ok(InProgress {
            gpu: self,
            pending: self.guest.submit(queue, &bytes, room)?,
            header,
            kind,
        })
    }

    /// Sends any bytes on the control queue and returns what comes back.
    ///
    /// # Errors
    /// Those of [`EmbeddedGuest::request`].
    pub fn send_bytes(&self, bytes: &[u8], room: usize) -> Result<Vec<u8>> {
        self.guest.request(CONTROL_QUEUE, bytes, room)
    }

    /// A header with a fence that no other command has.
    pub fn fence(&self) -> ControlHeader {
        let fence = self.fences.fetch_add(1, Ordering::Relaxed);
        ControlHeader::default().with_fence(fence)
    }

    /// A resource id that no other resource of this driver has.
    pub fn new_resource_id(&self) -> u32 {
        self.resources.fetch_add(1, Ordering::Relaxed)
    }

    /// The state of every scanout.
    ///
    /// # Errors
    /// Those of [`Gpu::command`].
    pub fn display_info(&self) -> Result<DisplayInfo> {
        match self.plain(&Command::GetDisplayInfo)? {
            Response::OkDisplayInfo(info) => Ok(*info),
            other => Err(unexpected(CommandKind::GetDisplayInfo, &other)),
        }
    }

    /// The EDID of a scanout.
    ///
    /// # Errors
    /// Those of [`Gpu::command`].
    pub fn edid(&self, scanout_id: u32) -> Result<Edid> {
        match self.plain(&Command::GetEdid(GetEdid { scanout_id }))? {
            Response::OkEdid(edid) => Ok(edid),
            other => Err(unexpected(CommandKind::GetEdid, &other)),
        }
    }

    /// Gives the cursor a shape and a place.
    ///
    /// # Errors
    /// Those of [`Gpu::command`].
    pub fn update_cursor(&self, cursor: Cursor) -> Result<()> {
        self.done(&Command::UpdateCursor(cursor))
    }

    /// Moves the cursor.
    ///
    /// # Errors
    /// Those of [`Gpu::command`].
    pub fn move_cursor(&self, cursor: Cursor) -> Result<()> {
        self.done(&Command::MoveCursor(cursor))
    }

    /// A command without fence or context.
    fn plain(&self, command: &Command<'_>) -> Result<Response> {
        self.command(ControlHeader::default(), command)
    }

    /// A command without fence or context, whose answer says no more than that
    /// it is done.
    fn done(&self, command: &Command<'_>) -> Result<()> {
        self.done_in(ControlHeader::default(), command)
    }

    fn done_in(&self, header: ControlHeader, command: &Command<'_>) -> Result<()> {
        match self.command(header, command)? {
            Response::OkNoData => Ok(()),
            other => Err(unexpected(command.kind(), &other)),
        }
    }

    fn window_space(&self) -> std::sync::MutexGuard<'_, Space> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that the device is working on.
#[derive(Debug)]
pub struct InProgress<'a> {
    gpu: &'a Gpu,
    pending: Pending,
    header: ControlHeader,
    kind: CommandKind,
}

impl InProgress<'_> {
    /// Waits for the answer, and checks that it belongs to the command: a
    /// fence must come back as it was sent.
    ///
    /// # Errors
    /// As for [`Gpu::command`].
    pub fn wait(self) -> Result<Response> {
        let answer = self.pending.wait(self.gpu.guest.patience())?;
        let wrong = |reason: String| Error::Device {
            call: "answer a command",
            reason: format!("{:?}: {reason}", self.kind),
        };
        let (header, response) =
            Response::parse(&answer.bytes).map_err(|error| wrong(error.to_string()))?;
        if header.fence() != self.header.fence() {
            let (sent, got) = (self.header.fence(), header.fence());
            return Err(wrong(format!("fence {sent:?} came back as {got:?}")));
        }
        match response {
            Response::Error(code) => Err(Error::Refused {
                command: self.kind,
                code,
            }),
            response => Ok(response),
        }
    }
}

fn unexpected(command: CommandKind, response: &Response) -> Error {
    Error::Device {
        call: "answer a command",
        reason: format!("{command:?} answered by {response:?}"),
    }
}
