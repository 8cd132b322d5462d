//! The loop on a terminal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use landbridge_inspect::Inspector;
use landbridge_inspect::report;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::app::{App, Then};
use super::draw::draw;

/// How long a signal may go unnoticed.
const TICK: Duration = Duration::from_millis(200);

/// Shows the machine until a key or a signal ends it, and gives the terminal back.
pub(super) fn run(inspector: &Inspector, mut app: App, interval: Duration) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal, inspector, &mut app, interval, &stop);
    let restored = ratatui::try_restore();
    result.and(restored)
}

fn show(
    terminal: &mut DefaultTerminal,
    inspector: &Inspector,
    app: &mut App,
    interval: Duration,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut next = Instant::now() + interval;
    while !stop.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, app))?;
        let left = next.saturating_duration_since(Instant::now());
        let then = match event::poll(left.min(TICK)) {
            Ok(true) => match event::read()? {
                Event::Key(key) => app.press(key),
                _ => Then::Draw,
            },
            Ok(false) => Then::Draw,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Then::Draw,
            Err(error) => return Err(error),
        };
        let due = !app.held() && next <= Instant::now();
        match then {
            Then::Quit => break,
            Then::Look => {}
            Then::Draw if due => {}
            Then::Draw => continue,
        }
        app.update(report::collect(inspector, None));
        next = Instant::now() + interval;
    }
    Ok(())
}
