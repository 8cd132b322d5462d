//! Buffers' memory taken away and given back, as an operator asks for.

use std::time::Duration;

use landbridge_exchange::{Buffer, Error};
use uuid::Uuid;

use super::fleet::Fleet;
use super::snapshot::number;
use crate::control::protocol::{BufferArguments, Code, Problem, RestoreResult, RevokeResult};

/// The longest deadline.
const LONGEST: Duration = Duration::from_secs(60);

/// Takes a buffer's memory away.
pub(super) fn revoke(fleet: &Fleet, asked: &BufferArguments) -> Result<RevokeResult, Problem> {
    let limit = limit(asked)?;
    let buffer = find(fleet, asked)?;
    let report = buffer.revoke(limit).map_err(problem)?;
    tracing::info!(buffer = %buffer.id(), took = ?report.took, "revoked, as asked");
    Ok(RevokeResult {
        buffer: number(buffer.id()),
        already: report.already,
        took_us: report.took.as_micros().try_into().unwrap_or(u64::MAX),
        cut_off: report.cut_off,
    })
}

/// Gives a buffer's memory back.
pub(super) fn restore(fleet: &Fleet, asked: &BufferArguments) -> Result<RestoreResult, Problem> {
    let limit = limit(asked)?;
    let buffer = find(fleet, asked)?;
    buffer.restore(limit).map_err(problem)?;
    tracing::info!(buffer = %buffer.id(), "restored, as asked");
    Ok(RestoreResult {
        buffer: number(buffer.id()),
        life: buffer.life().to_string(),
    })
}

fn find(fleet: &Fleet, asked: &BufferArguments) -> Result<Buffer, Problem> {
    let found = match (&asked.uuid, asked.buffer) {
        (Some(uuid), None) => {
            let uuid = Uuid::parse_str(uuid);
            let uuid = uuid.map_err(|error| Problem::new(Code::BadArguments, error))?;
            fleet.exchange.lookup(uuid)
        }
        (None, Some(asked)) => {
            let mut all = fleet.exchange.buffers().into_iter();
            all.find(|buffer| number(buffer.id()) == asked)
        }
        _ => {
            let message = "name one buffer, by its uuid or by its number";
            return Err(Problem::new(Code::BadArguments, message));
        }
    };
    found.ok_or_else(|| Problem::new(Code::NoSuchBuffer, "there is no such buffer"))
}

fn limit(asked: &BufferArguments) -> Result<Duration, Problem> {
    let limit = Duration::from_millis(asked.deadline_ms);
    if limit <= LONGEST {
        return Ok(limit);
    }
    let message = format!("deadline_ms: at most {}", LONGEST.as_millis());
    Err(Problem::new(Code::BadArguments, message))
}

fn problem(error: Error) -> Problem {
    let code = match error {
        Error::Promised(_) => Code::NotRevocable,
        Error::Revoked { .. } => Code::Gone,
        _ => Code::Failed,
    };
    Problem::new(code, error)
}
