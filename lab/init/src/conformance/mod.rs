//! What an importer may expect of a dma-buf, asked of every exporter.
//!
//! A property is a question with a short answer; the answers of all exporters
//! make the matrix that the host keeps as a golden file. There is no right and
//! wrong here: what the kernel does is written down, and a kernel that does
//! something else shows as a difference. (Documentation/driver-api/dma-buf.rst
//! says what ought to be.)

mod cpu_access;
pub mod exchange;
mod fences;
mod identity;
mod ioctls;
mod mapping;
mod names;
mod size;
mod terms;

use anyhow::{Context as _, Result};

use crate::checks::Checks;
use crate::exporters::{Access, Exported, Exporter, Refused};
use crate::sys::drm::Card;

/// The size that every exporter is asked for: a few pages, and few enough for
/// the smallest device.
const SIZE: u64 = 64 << 10;

/// A question and who asks it.
pub(crate) struct Property {
    /// The row of the matrix.
    name: &'static str,
    /// Asks, and answers in a word or two; an error is an answer too.
    ask: Ask,
}

type Ask = fn(&Subject<'_>) -> Result<String, Refused>;

const fn property(name: &'static str, ask: Ask) -> Property {
    Property { name, ask }
}

/// Whom the questions are put to.
pub(crate) struct Subject<'a> {
    exporter: &'a dyn Exporter,
    /// Its fences can be attached to every buffer that it can import.
    vgem: &'a Card,
}

impl Subject<'_> {
    /// A fresh buffer.
    fn buffer(&self) -> Result<Exported, Refused> {
        self.exporter.export(SIZE, Access::ReadWrite)
    }
}

/// The module that the suite itself needs: vgem's fences.
pub const MODULE: &str = "vgem";

/// Every topic's properties, in the order of the matrix.
const TOPICS: &[&[Property]] = &[
    size::PROPERTIES,
    identity::PROPERTIES,
    mapping::PROPERTIES,
    cpu_access::PROPERTIES,
    names::PROPERTIES,
    fences::PROPERTIES,
    terms::PROPERTIES,
    ioctls::PROPERTIES,
];

/// Puts every question to `exporter` and reports its column.
///
/// # Errors
/// When there is no vgem, or no buffer at all.
pub fn run(checks: &mut Checks, exporter: &dyn Exporter) -> Result<()> {
    let vgem = Card::open("vgem").context("vgem, whose fences the suite uses")?;
    let subject = Subject {
        exporter,
        vgem: &vgem,
    };
    subject.buffer().context("making the first buffer")?;
    for property in TOPICS.iter().copied().flatten() {
        let answer = (property.ask)(&subject).unwrap_or_else(|refused| refused.to_string());
        checks.cell(exporter.name(), property.name, &answer);
    }
    Ok(())
}
