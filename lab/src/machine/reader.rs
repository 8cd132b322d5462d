//! Reads a machine's two sockets, each in a thread of its own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use landbridge_lab_init::report::Event;

use super::Heard;

/// Passes on the events of the report port, and [`Heard::Closed`] at its end.
pub(super) fn events(socket: UnixStream, to: Sender<Heard>) {
    thread::spawn(move || {
        lines(socket, |line| {
            let heard = match serde_json::from_str::<Event>(line) {
                Ok(event) => Heard::Event(event),
                // Shown with the console, where somebody will look for it.
                Err(error) => Heard::Console(format!("(report port: {error}: {line})")),
            };
            to.send(heard).is_ok()
        });
        // Nobody may be listening any more.
        let _ = to.send(Heard::Closed);
    });
}

/// Passes on the console's lines.
pub(super) fn console(socket: UnixStream, to: Sender<Heard>) {
    thread::spawn(move || {
        lines(socket, |line| {
            to.send(Heard::Console(line.to_owned())).is_ok()
        });
    });
}

fn lines(socket: UnixStream, mut each: impl FnMut(&str) -> bool) {
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() && !each(text) {
            return;
        }
        line.clear();
    }
}
