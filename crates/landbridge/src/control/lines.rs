//! Lines of text from a stranger: bounded in length and in time.

use std::io;
use std::time::{Duration, Instant};

/// How much is read at once.
const CHUNK: usize = 4096;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is too long.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    /// The line did not come, or not all of it, in time.
    #[error("no whole line came in time")]
    Timeout,
    /// The line is not UTF-8.
    #[error("a line is not UTF-8")]
    NotText,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Cuts what comes in into lines of at most `longest` bytes.
#[derive(Debug)]
pub struct Lines {
    longest: usize,
    pending: Vec<u8>,
}

impl Lines {
    /// Nothing came yet.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            pending: Vec::new(),
        }
    }

    /// The next line without its end, or `None` where no more comes. `read`
    /// reads some bytes and waits for them at most as long as it is told; where
    /// the time runs out it fails with [`io::ErrorKind::TimedOut`] or
    /// `WouldBlock`. A line that has begun must be whole within `limit`; for
    /// its beginning it is waited for `limit` too.
    pub fn next(
        &mut self,
        limit: Duration,
        mut read: impl FnMut(&mut [u8], Duration) -> io::Result<usize>,
    ) -> Result<Option<String>, LineError> {
        let mut searched = 0;
        let mut deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.pending[searched..].iter().position(|b| *b == b'\n') {
                return self.cut(searched + end).map(Some);
            }
            searched = self.pending.len();
            if searched > self.longest {
                return Err(LineError::TooLong(self.longest));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LineError::Timeout);
            }
            let mut chunk = [0; CHUNK];
            match read(&mut chunk, left) {
                Ok(0) => return Ok(None),
                Ok(len) => {
                    if self.pending.is_empty() {
                        deadline = Instant::now() + limit;
                    }
                    self.pending.extend_from_slice(&chunk[..len]);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                        return Err(LineError::Timeout);
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn cut(&mut self, end: usize) -> Result<String, LineError> {
        let rest = self.pending.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.pending, rest);
        line.pop();
        if line.len() > self.longest {
            return Err(LineError::TooLong(self.longest));
        }
        String::from_utf8(line).map_err(|_| LineError::NotText)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3600);

    fn all(longest: usize, chunks: &[&[u8]]) -> Vec<Result<Option<String>, String>> {
        let mut chunks: VecDeque<&[u8]> = chunks.iter().copied().collect();
        let mut lines = Lines::new(longest);
        let mut found = Vec::new();
        loop {
            let line = lines.next(LIMIT, |buffer, _| {
                let chunk = chunks.pop_front().unwrap_or_default();
                buffer[..chunk.len()].copy_from_slice(chunk);
                Ok(chunk.len())
            });
            let end = !matches!(line, Ok(Some(_)));
            found.push(line.map_err(|error| error.to_string()));
            if end {
                return found;
            }
        }
    }

    fn texts(chunks: &[&[u8]]) -> Vec<String> {
        all(8, chunks)
            .into_iter()
            .filter_map(|line| line.ok()?)
            .collect()
    }

    #[test]
    fn lines_come_however_they_are_cut() {
        assert_eq!(
            texts(&[b"one\ntw", b"o", b"\n\nthree\n"]),
            ["one", "two", "", "three"]
        );
        assert_eq!(texts(&[b"one\nunfinished"]), ["one"]);
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_allowed() {
        assert_eq!(texts(&[b"12345678\n"]), ["12345678"]);
        for chunks in [
            &[&b"123456789\n"[..]][..],
            &[b"1234", b"56789", b"never ends"],
        ] {
            let last = all(8, chunks).pop().unwrap();
            assert!(last.unwrap_err().contains("longer"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(all(8, &[b"\xff\n"]).pop().unwrap().is_err());
    }

    #[test]
    fn a_line_that_trickles_in_is_not_waited_for_for_ever() {
        let mut lines = Lines::new(8);
        let line = lines.next(Duration::ZERO, |_, _| Ok(1));
        assert!(matches!(line, Err(LineError::Timeout)));
    }
}
