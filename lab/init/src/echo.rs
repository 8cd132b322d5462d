//! The smallest program that can stand beside a machine: it answers every line
//! that comes over its socket.

use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::os::unix::net::UnixListener;

/// The first argument of this program when it is to answer; the second is the
/// path of the socket.
pub const ARGUMENT: &str = "--echo";

/// What is answered to `line`.
#[must_use]
pub fn answer(line: &str) -> String {
    format!("you said {line:?}")
}

/// Answers until the other side hangs up.
///
/// # Errors
/// When the socket can't be made or breaks.
pub fn run(path: &str) -> Result<()> {
    let (socket, _) = UnixListener::bind(path)?.accept()?;
    let mut answers = socket.try_clone()?;
    for line in BufReader::new(socket).lines() {
        writeln!(answers, "{}", answer(&line?))?;
    }
    Ok(())
}
