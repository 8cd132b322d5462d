//! One frame.

use landbridge_inspect::report::{Buffer, Mapping};
use landbridge_inspect::{Caching, Source};
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer as Cells;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap};
use ratatui::{Frame, Terminal};

use super::app::App;
use super::order;
use crate::inspect::notes;
use crate::inspect::table::{fences, summary};
use crate::serve::settings::Size;
use crate::terminal::{self, plain};

const KEYS: &str = "q quit  s/S order  / filter  \u{2191}\u{2193} choose  space hold  r look";
const HEADER: [&str; 9] = [
    "BUFFER", "SIZE", "EXPORTER", "NAME", "HOLDERS", "MAPS", "CACHING", "DEVICES", "FENCES",
];
const WIDTHS: [Constraint; 9] = [
    Constraint::Min(6),
    Constraint::Min(9),
    Constraint::Fill(2),
    Constraint::Fill(2),
    Constraint::Fill(3),
    Constraint::Length(4),
    Constraint::Length(10),
    Constraint::Fill(2),
    Constraint::Length(7),
];
/// Lines for the chosen buffer, its title included.
const DETAIL: u16 = 8;
/// Columns where nothing tells.
const COLUMNS: u16 = 100;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let rows = app.rows();
    let selected = app.selected(&rows);
    let notes = notes::of(app.report());
    let [head, table, detail, foot, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(if selected.is_some() { DETAIL } else { 0 }),
        Constraint::Length(notes_height(&notes, frame.area())),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(headline(app)), head);
    draw_table(frame, table, &rows, selected);
    if let Some(row) = selected.and_then(|at| rows.get(at)) {
        let title = format!("buffer {} ", row.inode);
        let block = Block::new().borders(Borders::TOP).title(title);
        frame.render_widget(Paragraph::new(details(row)).block(block), detail);
    }
    let notes: Vec<_> = notes.into_iter().map(Line::from).collect();
    frame.render_widget(
        Paragraph::new(notes).style(dim()).wrap(Wrap { trim: true }),
        foot,
    );
    frame.render_widget(Line::from(keys_line(app)).style(reversed()), keys);
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// Notes get the lines they wrap to, but never more than a third of the screen.
fn notes_height(notes: &[String], area: Rect) -> u16 {
    let width = usize::from(area.width.max(1));
    let lines: usize = notes
        .iter()
        // Words move whole to the next line, so some room at the end of each is lost.
        .map(|note| {
            note.chars()
                .count()
                .div_ceil(width.saturating_sub(8).max(1))
        })
        .sum();
    u16::try_from(lines)
        .unwrap_or(u16::MAX)
        .min(area.height / 3)
}

fn headline(app: &App) -> String {
    let changes = app.changes();
    let held = if app.held() { "  HELD" } else { "" };
    format!(
        "{}  +{} -{}{held}",
        summary(app.report()),
        changes.appeared,
        changes.gone
    )
}

fn keys_line(app: &App) -> String {
    if app.editing() {
        return format!(
            "filter: {}_  Enter keeps it, Esc drops it",
            plain(app.filter())
        );
    }
    let order = order::name(app.key());
    match app.filter() {
        "" => format!("{KEYS}  by {order}"),
        filter => format!("{KEYS}  by {order}, only {:?}", plain(filter)),
    }
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, rows: &[&Buffer], selected: Option<usize>) {
    let header = Row::new(HEADER).style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(rows.iter().map(|row| cells(row)), WIDTHS)
        .header(header)
        .row_highlight_style(reversed());
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn cells(buffer: &Buffer) -> Row<'static> {
    let maps: usize = buffer.holders.iter().map(|it| it.mappings.len()).sum();
    let caching = Cell::new(caching(buffer));
    let devices = match &buffer.importers {
        None => "?".to_owned(),
        Some(importers) => plain(&importers.devices.join(" ")).into_owned(),
    };
    Row::new([
        Cell::new(buffer.inode.to_string()),
        Cell::new(Size(buffer.size).to_string()),
        Cell::new(plain(&buffer.exporter).into_owned()),
        Cell::new(plain(buffer.name.as_deref().unwrap_or_default()).into_owned()),
        Cell::new(holders(buffer)),
        Cell::new(maps.to_string()),
        match buffer.caching_differs {
            true => caching.style(Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)),
            false => caching,
        },
        Cell::new(devices),
        Cell::new(fences(buffer.fences)),
    ])
}

fn holders(buffer: &Buffer) -> String {
    let names = buffer.holders.iter();
    let names: Vec<_> = names
        .map(|holder| format!("{} {}", holder.pid, plain(&holder.command)))
        .collect();
    match names.as_slice() {
        [] => "-".to_owned(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} +{}", more.len()),
    }
}

/// Of all mappings together; exact unless it says otherwise.
fn caching(buffer: &Buffer) -> String {
    if buffer.caching_differs {
        return "DIFFER".to_owned();
    }
    let mappings = buffer.holders.iter().flat_map(|it| &it.mappings);
    let known: Vec<_> = mappings.map(Mapping::known).collect();
    let estimated = known
        .iter()
        .flatten()
        .any(|(_, source)| *source == Source::Rule);
    let together: Option<Vec<Caching>> = known
        .iter()
        .map(|known| known.map(|(caching, _)| caching))
        .collect();
    match together.map(|all| all.into_iter().reduce(Caching::with)) {
        None => "?".to_owned(),
        Some(None) => "-".to_owned(),
        Some(Some(caching)) if estimated => format!("{} (rule)", caching.short()),
        Some(Some(caching)) => caching.short().to_owned(),
    }
}

/// Holders and mappings of the chosen buffer.
fn details(buffer: &Buffer) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for holder in &buffer.holders {
        let fds: Vec<_> = holder.fds.iter().map(u32::to_string).collect();
        let command = plain(&holder.command);
        let pid = holder.pid;
        lines.push(Line::from(format!("{pid} {command}: fd {}", fds.join(" "))));
        for mapping in &holder.mappings {
            let known = mapping.known();
            let caching = known.map_or("unknown".to_owned(), |(caching, source)| {
                format!("{} ({source})", caching.short())
            });
            let (start, end, offset) = (mapping.start, mapping.end, mapping.offset);
            lines.push(Line::from(format!(
                "  {start:#x}-{end:#x} at offset {offset:#x}: {caching}"
            )));
        }
    }
    if lines.is_empty() {
        lines.push(Line::from("no process holds it, or none that can be seen"));
    }
    lines
}

/// One frame as text, as wide as the terminal and as high as it takes.
pub(super) fn once(app: &App) -> String {
    let size = ratatui::crossterm::terminal::size().map(|(columns, _)| columns);
    let tty = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let columns = match size {
        Ok(columns) if tty && columns > 0 => columns,
        _ => terminal::columns().unwrap_or(COLUMNS),
    };
    as_text(
        app,
        columns,
        u16::try_from(app.rows().len()).unwrap_or(1000),
    )
}

fn as_text(app: &App, columns: u16, rows: u16) -> String {
    // Headline, header, keys, and room for notes, which may take a third.
    let height = rows.saturating_add(40);
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, app));
    text_of(terminal.backend().buffer())
}

/// The cells as lines, without empty ones.
fn text_of(cells: &Cells) -> String {
    let mut text = String::new();
    for y in cells.area.rows() {
        let line: String = y
            .columns()
            .filter_map(|at| cells.cell(at.as_position()))
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        let line = line.trim_end();
        if !line.is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use landbridge_inspect::view::SortKey;
    use ratatui::crossterm::event::KeyCode;

    use super::*;
    use crate::top::app::tests::{report, three, typed};

    #[test]
    fn a_frame_shows_rows_in_order_and_the_keys() {
        let text = as_text(&three(), 120, 3);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("3 dma-bufs, 1036KiB, 1 with aliases"),
            "{text}"
        );
        assert!(lines[1].starts_with("BUFFER"), "{text}");
        assert!(
            lines[2].starts_with('2') && lines[2].contains("DIFFER"),
            "{text}"
        );
        assert!(
            lines[3].contains("43 holder3") && lines[3].contains("WC"),
            "{text}"
        );
        assert!(
            lines[5].contains("q quit") && lines[5].contains("by size"),
            "{text}"
        );
    }

    #[test]
    fn a_frame_fits_any_terminal() {
        for columns in [1, 20, 80, 300] {
            let text = as_text(&three(), columns, 3);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns.into()), "{columns}: {text}");
        }
    }

    #[test]
    fn the_chosen_buffer_shows_its_mappings() {
        let mut app = three();
        app.press(KeyCode::Down.into());
        let text = as_text(&app, 100, 20);
        assert!(
            text.contains("0x1000-0x2000 at offset 0x0: WC (pte)"),
            "{text}"
        );
    }

    #[test]
    fn the_filter_is_shown_while_typed_and_after() {
        let mut app = three();
        typed(&mut app, "/udma");
        assert!(as_text(&app, 100, 3).contains("filter: udma_"));
        app.press(KeyCode::Enter.into());
        let text = as_text(&app, 120, 3);
        assert!(text.contains("only \"udma\""), "{text}");
        assert!(
            text.contains("name 1") && !text.contains("name 3"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_a_frame_too() {
        let text = as_text(&App::new(report(&[]), SortKey::Size, ""), 80, 0);
        assert!(text.contains("0 dma-bufs"));
    }
}
