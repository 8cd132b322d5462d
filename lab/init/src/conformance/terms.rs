//! What may happen to a buffer's memory: who is let in, and what they meet when
//! it is taken away and given back (Documentation/driver-api/dma-buf.rst, "pin"
//! and "invalidate_mappings"; drivers/vfio/pci/vfio_pci_dmabuf.c).
//!
//! A buffer that is imported by vgem is pinned: vgem can't let go. virtio-gpu
//! with blobs can, and says so. A card is opened anew for each question, because
//! an import that is there already asks nobody. In the lab's machine the GPU and
//! the region have no way to each other (`pci_p2pdma_distance`), so an import that
//! gets as far as the mapping ends in EINVAL, and one of memory that was taken
//! away in ENODEV before that.

use super::fences::polled;
use super::{Property, Subject, property};
use crate::exporters::{Exported, Refused};
use crate::sys::drm::Card;

pub(super) const PROPERTIES: &[Property] = &[
    property("attach: who can't let go", |subject| {
        Ok(attached(subject.vgem, &subject.buffer()?))
    }),
    property("attach: who can let go", |subject| {
        let card = letting_go(subject)?;
        Ok(attached(&card, &subject.buffer()?))
    }),
    property("taken away: attach", |subject| {
        while_away(subject, |buffer| {
            Ok(attached(&Card::open("virtio_gpu")?, buffer))
        })
    }),
    property("taken away: again", |subject| {
        while_away(subject, |_| {
            subject.exporter.switch(false)?;
            Ok("ok".to_owned())
        })
    }),
    property("taken away: poll", |subject| {
        while_away(subject, |buffer| polled(buffer))
    }),
    property("taken away: from who can let go", from_who_can_let_go),
    property("given back: attach", |subject| {
        let buffer = subject.buffer()?;
        subject.exporter.switch(false)?;
        subject.exporter.switch(true)?;
        Ok(attached(&letting_go(subject)?, &buffer))
    }),
];

/// What an importer is told. It leaves at once.
fn attached(card: &Card, buffer: &Exported) -> String {
    let answer = card.import(buffer).and_then(|handle| card.close(handle));
    answer.map_or_else(crate::sys::errno_name, |()| "ok".to_owned())
}

/// An importer that can let go. It is there only where somebody may have to.
fn letting_go(subject: &Subject<'_>) -> Result<Card, Refused> {
    subject.exporter.switch(true)?;
    Ok(Card::open("virtio_gpu")?)
}

/// Asks about a buffer whose memory was taken away since it was made.
fn while_away(
    subject: &Subject<'_>,
    ask: impl FnOnce(&Exported) -> Result<String, Refused>,
) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    subject.exporter.switch(false)?;
    let answer = ask(&buffer);
    subject.exporter.switch(true)?;
    answer
}

/// Whether somebody who is attached holds the exporter up.
fn from_who_can_let_go(subject: &Subject<'_>) -> Result<String, Refused> {
    let card = letting_go(subject)?;
    let buffer = subject.buffer()?;
    let handle = card.import(&buffer)?;
    subject.exporter.switch(false)?;
    subject.exporter.switch(true)?;
    card.close(handle)?;
    Ok("ok".to_owned())
}
