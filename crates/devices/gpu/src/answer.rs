//! The answer that one command waits for.

use std::sync::Arc;

use landbridge_device::Reply;
use landbridge_protocol_gpu::{ControlHeader, Response};

use crate::core::Core;
use crate::error::Error;
use crate::fences::Ticket;

/// The answer that one command waits for. It is given exactly once; after a
/// reset it goes nowhere.
pub(crate) struct Answer {
    core: Arc<Core>,
    life: u64,
    header: ControlHeader,
    /// `None` once it is given.
    open: Option<(Reply, Option<Ticket>)>,
}

impl Answer {
    /// The answer to a command with this header, which came in this life of the
    /// device.
    pub(crate) fn new(core: &Arc<Core>, life: u64, header: ControlHeader, reply: Reply) -> Self {
        let timeline = core.timeline(&header);
        let ticket = timeline.map(|timeline| core.timelines.begin(timeline));
        Self {
            core: Arc::clone(core),
            life,
            header,
            open: Some((reply, ticket)),
        }
    }

    /// Answers.
    pub(crate) fn finish(mut self, result: Result<Response, Error>) {
        self.give(result);
    }

    fn give(&mut self, result: Result<Response, Error>) {
        let Some((reply, ticket)) = self.open.take() else {
            return;
        };
        self.core.metrics.commands.add(1);
        let response = result.unwrap_or_else(|error| {
            tracing::debug!(%error, fault = ?error.fault(), "command refused");
            self.core.metrics.refused.add(1);
            Response::Error(error.code())
        });
        let bytes = response.encode(&self.header);
        match ticket {
            Some(ticket) => self.core.timelines.complete(ticket, reply, bytes),
            None if self.core.life() == self.life => reply.send(&bytes),
            // The reply is dropped: the request returns empty.
            None => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Dropped unanswered by a reset, or by a panic on the way.
        self.give(Err(Error::Reset));
    }
}
