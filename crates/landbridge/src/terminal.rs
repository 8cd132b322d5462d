//! What the tools print: tables that fit the terminal, names that strangers chose, and
//! readers that leave.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// Prints to standard output. False when nobody reads it any more, as after `| head`,
/// which is no failure.
///
/// # Errors
/// Any other failure to write.
pub fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// An empty table. On a terminal it wraps to the terminal's width; `COLUMNS` decides
/// where the output is not one.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    if !table.is_tty()
        && let Some(columns) = columns()
    {
        table.set_width(columns);
    }
    table
}

/// The width that the environment asks for.
#[must_use]
pub fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Text that anybody may have chosen, such as a buffer's name, without what a terminal
/// would obey.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            // Writing to a string does not fail.
            let _ = write!(safe, "{}", char.escape_default());
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_commands_no_terminal() {
        assert_eq!(plain("frame 7 ü"), "frame 7 ü");
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
