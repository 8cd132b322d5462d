//! Contexts, command streams and capsets.

use landbridge_protocol_gpu::{
    CapsetId, CapsetInfo, Command, CommandKind, ContextInit, ContextName, ControlHeader, CtxCreate,
    GetCapset, GetCapsetInfo, HEADER_SIZE, Response, Submit3d,
};
use std::sync::atomic::Ordering;

use super::twod::reference;
use super::{Gpu, Resource, unexpected};
use crate::error::{Error, Result};

/// A 3D context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Its id on the wire.
    pub id: u32,
}

impl Context {
    /// A header for a command within it.
    pub fn header(&self) -> ControlHeader {
        ControlHeader::in_context(self.id)
    }
}

/// Each fails as [`Gpu::command`] does.
impl Gpu {
    /// Creates a context that speaks `capset` (0 where `CONTEXT_INIT` was not
    /// agreed on).
    pub fn create_context(&self, name: &str, capset: CapsetId) -> Result<Context> {
        let context = Context {
            id: self.contexts.fetch_add(1, Ordering::Relaxed),
        };
        let create = CtxCreate {
            init: ContextInit(capset.0),
            name: ContextName::new(name.as_bytes())
                .map_err(|error| Error::device("take a context's name", error))?,
        };
        self.done_in(context.header(), &Command::CtxCreate(create))?;
        Ok(context)
    }

    /// Destroys a context.
    pub fn destroy_context(&self, context: &Context) -> Result<()> {
        self.done_in(context.header(), &Command::CtxDestroy)
    }

    /// Makes a resource usable in a context.
    pub fn attach(&self, context: &Context, resource: &impl Resource) -> Result<()> {
        let command = Command::CtxAttachResource(reference(resource));
        self.done_in(context.header(), &command)
    }

    /// Undoes that.
    pub fn detach(&self, context: &Context, resource: &impl Resource) -> Result<()> {
        let command = Command::CtxDetachResource(reference(resource));
        self.done_in(context.header(), &command)
    }

    /// Runs a command stream in a context.
    pub fn submit_3d(&self, context: &Context, stream: &[u8]) -> Result<()> {
        let command = Command::Submit3d(Submit3d {
            stream: stream.into(),
        });
        self.done_in(context.header(), &command)
    }

    /// Which capset is at an index.
    pub fn capset_info(&self, index: u32) -> Result<CapsetInfo> {
        match self.plain(&Command::GetCapsetInfo(GetCapsetInfo { index }))? {
            Response::OkCapsetInfo(info) => Ok(info),
            other => Err(unexpected(CommandKind::GetCapsetInfo, &other)),
        }
    }

    /// A capset's contents, of which there are at most `max_size` bytes.
    pub fn capset(&self, id: CapsetId, version: u32, max_size: u32) -> Result<Vec<u8>> {
        let command = Command::GetCapset(GetCapset { id, version });
        let room = HEADER_SIZE + max_size as usize;
        match self
            .begin(ControlHeader::default(), &command, room)?
            .wait()?
        {
            Response::OkCapset(bytes) => Ok(bytes),
            other => Err(unexpected(CommandKind::GetCapset, &other)),
        }
    }
}
