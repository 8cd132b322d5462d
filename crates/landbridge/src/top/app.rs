//! What is shown, and what keys do to it.

use landbridge_inspect::report::{Buffer, Report};
use landbridge_inspect::view::{self, Changes, SortKey};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::order;

/// What the loop is to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Draw again.
    Draw,
    /// Look at the machine now, and draw.
    Look,
    /// End.
    Quit,
}

/// The view's state.
#[derive(Debug)]
pub(super) struct App {
    report: Report,
    changes: Changes,
    key: SortKey,
    filter: String,
    editing: bool,
    held: bool,
    /// By inode, so that the choice stays with its buffer when rows move.
    selected: Option<u64>,
}

impl App {
    pub(super) fn new(report: Report, key: SortKey, filter: &str) -> Self {
        Self {
            report,
            changes: Changes::default(),
            key,
            filter: filter.to_owned(),
            editing: false,
            held: false,
            selected: None,
        }
    }

    /// Takes in what is there now.
    pub(super) fn update(&mut self, report: Report) {
        self.changes = view::changes(&self.report, &report);
        self.report = report;
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    pub(super) fn changes(&self) -> Changes {
        self.changes
    }

    pub(super) fn key(&self) -> SortKey {
        self.key
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether the filter is being typed.
    pub(super) fn editing(&self) -> bool {
        self.editing
    }

    /// Whether the picture is held.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// The rows to show.
    pub(super) fn rows(&self) -> Vec<&Buffer> {
        view::rows(&self.report, self.key, &self.filter)
    }

    /// Which of `rows` is chosen.
    pub(super) fn selected(&self, rows: &[&Buffer]) -> Option<usize> {
        let inode = self.selected?;
        rows.iter().position(|row| row.inode == inode)
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Then {
        if key.kind == KeyEventKind::Release {
            return Then::Draw;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Then::Quit;
        }
        // Esc and a key right after it arrive as that key with Alt.
        if key.modifiers.contains(KeyModifiers::ALT) {
            self.press(KeyCode::Esc.into());
            return self.press(key.code.into());
        }
        if self.editing {
            self.edit(key.code);
            return Then::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Then::Quit,
            KeyCode::Char('r') => return Then::Look,
            KeyCode::Char(' ') => {
                self.held = !self.held;
                // Whoever lets go wants to see what is there now.
                return if self.held { Then::Draw } else { Then::Look };
            }
            KeyCode::Char('s') => self.key = order::step(self.key, 1),
            KeyCode::Char('S') => self.key = order::step(self.key, -1),
            KeyCode::Char('/') => self.editing = true,
            KeyCode::Esc if self.selected.is_some() => self.selected = None,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::PageDown => self.choose(10),
            KeyCode::PageUp => self.choose(-10),
            KeyCode::Home => self.choose(isize::MIN),
            KeyCode::End => self.choose(isize::MAX),
            _ => {}
        }
        Then::Draw
    }

    fn edit(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.editing = false,
            KeyCode::Esc => {
                self.editing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(char) => self.filter.push(char),
            _ => {}
        }
    }

    fn choose(&mut self, steps: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = match self.selected(&rows) {
            Some(at) => at.saturating_add_signed(steps).min(last),
            // The first step enters the list, from the side it points away from.
            None if steps < 0 && steps != isize::MIN => last,
            None if steps == isize::MAX => last,
            None => 0,
        };
        self.selected = rows.get(to).map(|row| row.inode);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use landbridge_inspect::Caching;
    use landbridge_inspect::Source;
    use landbridge_inspect::report::{Holder, ListSource, Mapping};

    use super::*;

    pub(in crate::top) fn report(buffers: &[(u64, u64, &str)]) -> Report {
        let mapping = Mapping {
            start: 0x1000,
            end: 0x2000,
            offset: 0,
            caching: Some(Caching::WriteCombining),
            source: Some(Source::Pte),
            gup: Some(false),
        };
        let buffer = |&(inode, size, exporter): &(u64, u64, &str)| Buffer {
            inode,
            size,
            exporter: exporter.into(),
            name: Some(format!("name {inode}")),
            mappable: Some(true),
            importers: None,
            holders: vec![Holder {
                pid: 40 + inode as u32,
                command: format!("holder{inode}"),
                fds: vec![3],
                mappings: vec![mapping.clone()],
            }],
            fences: None,
            caching_differs: inode == 2,
        };
        Report {
            buffers: buffers.iter().map(buffer).collect(),
            list: ListSource::Kernel,
            availability: Vec::new(),
            unreadable_processes: 0,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    pub(in crate::top) fn three() -> App {
        let report = report(&[
            (1, 4096, "udmabuf"),
            (2, 1 << 20, "drm"),
            (3, 8192, "system"),
        ]);
        App::new(report, SortKey::Size, "")
    }

    pub(in crate::top) fn typed(app: &mut App, text: &str) -> Then {
        text.chars()
            .map(|char| app.press(KeyCode::Char(char).into()))
            .last()
            .unwrap()
    }

    fn inodes(app: &App) -> Vec<u64> {
        app.rows().iter().map(|row| row.inode).collect()
    }

    #[test]
    fn keys_sort_both_ways_round() {
        let mut app = three();
        assert_eq!(inodes(&app), [2, 3, 1]);
        typed(&mut app, "S");
        assert_eq!((app.key(), inodes(&app)), (SortKey::Newest, vec![3, 2, 1]));
        typed(&mut app, "ss");
        assert_eq!(
            (app.key(), inodes(&app)),
            (SortKey::Exporter, vec![2, 3, 1])
        );
    }

    #[test]
    fn a_filter_is_typed_kept_and_dropped() {
        let mut app = three();
        typed(&mut app, "/drq");
        assert!(app.editing() && inodes(&app).is_empty());
        app.press(KeyCode::Backspace.into());
        app.press(KeyCode::Enter.into());
        assert_eq!((app.editing(), inodes(&app)), (false, vec![2]));
        app.press(KeyCode::Esc.into());
        assert_eq!(inodes(&app).len(), 3);
    }

    #[test]
    fn the_choice_stays_with_its_buffer() {
        let mut app = three();
        app.press(KeyCode::Down.into());
        app.press(KeyCode::Down.into());
        assert_eq!(app.selected(&app.rows()), Some(1));
        typed(&mut app, "S");
        assert_eq!(app.selected(&app.rows()), Some(0));
        app.update(report(&[(9, 1, "drm"), (3, 8192, "system")]));
        assert_eq!(app.selected(&app.rows()), Some(1));
        assert_eq!((app.changes().appeared, app.changes().gone), (1, 2));
        app.update(report(&[(9, 1, "drm")]));
        assert_eq!(app.selected(&app.rows()), None);
    }

    #[test]
    fn the_choice_stops_at_both_ends() {
        let mut app = three();
        for (key, at) in [
            (KeyCode::End, 2),
            (KeyCode::Down, 2),
            (KeyCode::Home, 0),
            (KeyCode::Up, 0),
            (KeyCode::PageDown, 2),
        ] {
            app.press(key.into());
            assert_eq!(app.selected(&app.rows()), Some(at), "{key:?}");
        }
        let mut empty = App::new(report(&[]), SortKey::Size, "");
        empty.press(KeyCode::Down.into());
        assert_eq!(empty.selected(&empty.rows()), None);
    }

    #[test]
    fn keys_end_hold_and_look() {
        let mut app = three();
        assert_eq!(typed(&mut app, " "), Then::Draw);
        assert!(app.held());
        assert_eq!(typed(&mut app, " "), Then::Look);
        assert_eq!(typed(&mut app, "r"), Then::Look);
        assert_eq!(typed(&mut app, "q"), Then::Quit);
        typed(&mut app, "/");
        let esc_then_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(app.press(esc_then_q), Then::Quit);
        typed(&mut app, "/");
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.press(control_c), Then::Quit);
    }
}
