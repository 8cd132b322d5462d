//! The conformance matrix: exporters by properties, and the golden file that it
//! is compared with.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::outcome::{Judgement, Outcome};

/// The columns in the order in which they stand: real exporters, then what is
/// there to compare them with.
const ORDER: [&str; 19] = [
    "heap",
    "udmabuf",
    "udmabuf-huge",
    "vgem",
    "vivid-vmalloc",
    "vivid-contig",
    "virtio-gpu",
    "virtio-gpu-blob",
    "bochs",
    "qxl-ram",
    "qxl-bar",
    "vfio",
    "memfd",
    "ours/memfd",
    "ours/udmabuf",
    "ours/heap",
    "ours/revocable",
    "ours/movable",
    "ours/vfio",
];

/// What every exporter answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix {
    columns: Vec<String>,
    rows: Vec<String>,
    cells: BTreeMap<(String, String), String>,
}

impl Matrix {
    /// Gathers the cells of `outcomes`. The rows stand in the order in which
    /// the suite asks.
    #[must_use]
    pub fn gather(outcomes: &[Outcome]) -> Self {
        let mut matrix = Self::default();
        for cell in outcomes.iter().flat_map(|outcome| &outcome.cells) {
            matrix.add(&cell.property, &cell.exporter, &cell.value);
        }
        matrix.columns.sort_by_key(|column| place(column));
        matrix
    }

    /// Reads what [`fmt::Display`] wrote. Lines that are no rows are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut matrix = Self::default();
        let mut table = text
            .lines()
            .filter(|line| line.contains('|'))
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        let columns: Vec<&str> = table.next().unwrap_or_default();
        for line in table {
            let cells = columns.iter().zip(&line).skip(1);
            for (column, value) in cells.filter(|(_, value)| !value.is_empty()) {
                matrix.add(line[0], column, value);
            }
        }
        matrix
    }

    /// Whether nothing was gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// What differs from `golden`, a line each, in the columns that this matrix
    /// has. A run of some scenarios only says nothing about the others.
    #[must_use]
    pub fn differences(&self, golden: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for column in &self.columns {
            for row in union(&golden.rows, &self.rows) {
                let (was, is) = (golden.cell(row, column), self.cell(row, column));
                if was != is {
                    let said = |value: Option<&str>| value.unwrap_or("absent").to_owned();
                    lines.push(format!(
                        "{column}: {row}: was {}, is {}",
                        said(was),
                        said(is)
                    ));
                }
            }
        }
        lines
    }

    /// The cells of this matrix in the place of `golden`'s, for a golden file
    /// that is brought up to date.
    #[must_use]
    pub fn over(&self, golden: &Self) -> Self {
        let mut matrix = Self::default();
        for row in union(&self.rows, &golden.rows) {
            for column in union(&golden.columns, &self.columns) {
                let of = if self.columns.contains(column) {
                    self
                } else {
                    golden
                };
                if let Some(value) = of.cell(row, column) {
                    matrix.add(row, column, value);
                }
            }
        }
        matrix.columns.sort_by_key(|column| place(column));
        matrix
    }

    fn add(&mut self, row: &str, column: &str, value: &str) {
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        if !self.columns.iter().any(|known| known == column) {
            self.columns.push(column.to_owned());
        }
        self.cells
            .insert((row.to_owned(), column.to_owned()), value.to_owned());
    }

    fn cell(&self, row: &str, column: &str) -> Option<&str> {
        self.cells
            .get(&(row.to_owned(), column.to_owned()))
            .map(String::as_str)
    }

    fn width(&self, column: &str) -> usize {
        self.rows
            .iter()
            .filter_map(|row| self.cell(row, column))
            .map(str::len)
            .chain([column.len()])
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| self.width(column))
            .collect();
        let mut line = format!("{:first$}", "");
        for (column, width) in self.columns.iter().zip(&widths) {
            write!(line, " | {column:width$}")?;
        }
        writeln!(f, "{}", line.trim_end())?;
        for row in &self.rows {
            let mut line = format!("{row:first$}");
            for (column, width) in self.columns.iter().zip(&widths) {
                let value = self.cell(row, column).unwrap_or("");
                write!(line, " | {value:width$}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Turns an outcome whose column differs from `golden` into a failure.
pub fn judge(outcome: &mut Outcome, golden: &Matrix) {
    let matrix = Matrix::gather(std::slice::from_ref(outcome));
    let differences = matrix.differences(golden);
    if !outcome.failed() && !differences.is_empty() {
        let reason = format!(
            "{} cells of the conformance matrix differ:\n    {}",
            differences.len(),
            differences.join("\n    ")
        );
        outcome.judgement = Judgement::Failed {
            reason,
            console: Vec::new(),
        };
    }
}

fn place(column: &str) -> usize {
    ORDER
        .iter()
        .position(|known| *known == column)
        .unwrap_or(ORDER.len())
}

fn union<'a>(first: &'a [String], second: &'a [String]) -> impl Iterator<Item = &'a String> {
    let rest = second.iter().filter(|one| !first.contains(one));
    first.iter().chain(rest)
}

#[cfg(test)]
mod tests {
    use super::Matrix;

    fn matrix(cells: &[(&str, &str, &str)]) -> Matrix {
        let mut matrix = Matrix::default();
        for (row, column, value) in cells {
            matrix.add(row, column, value);
        }
        matrix
    }

    #[test]
    fn a_golden_file_is_read_as_it_was_written() {
        let written = matrix(&[
            ("mmap", "heap", "ok"),
            ("mmap", "vfio", "EINVAL"),
            ("poll: idle", "heap", "in out"),
            ("poll: idle", "vfio", "-"),
            ("read", "heap", "EINVAL"),
        ]);
        assert_eq!(Matrix::parse(&written.to_string()), written);
        assert!(Matrix::parse("").is_empty());
    }

    #[test]
    fn our_exchange_answers_as_the_kernel_does() {
        let golden = Matrix::parse(include_str!("../conformance.golden"));
        let mut compared = 0;
        let pairs = [
            ("ours/heap", "heap"),
            ("ours/udmabuf", "udmabuf"),
            ("ours/vfio", "vfio"),
        ];
        for (ours, column) in pairs {
            for row in &golden.rows {
                let (ours, theirs) = (golden.cell(row, ours), golden.cell(row, column));
                // The machine's devices have no way to each other's memory: the
                // kernel lets virtio-gpu attach and then can't map.
                let no_route = column == "vfio" && theirs == Some("EINVAL");
                let asked = ours.is_some() && theirs.is_some_and(|answer| answer != "-");
                if asked && !no_route {
                    assert_eq!(ours, theirs, "{row}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 20, "only {compared} cells to compare");
    }

    #[test]
    fn only_columns_that_ran_can_differ() {
        let golden = matrix(&[("mmap", "heap", "ok"), ("mmap", "vfio", "EINVAL")]);
        let now = matrix(&[("mmap", "heap", "EPERM"), ("new", "heap", "ok")]);
        assert_eq!(
            now.differences(&golden),
            [
                "heap: mmap: was ok, is EPERM",
                "heap: new: was absent, is ok"
            ]
        );
        assert!(golden.differences(&golden).is_empty());
        let updated = now.over(&golden);
        assert_eq!(updated.cell("mmap", "vfio"), Some("EINVAL"));
        assert_eq!(updated.cell("mmap", "heap"), Some("EPERM"));
    }
}
