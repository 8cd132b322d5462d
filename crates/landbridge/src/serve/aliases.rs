//! Mappings of our buffers, by whomever, that are cached otherwise than guests
//! were told.

use std::collections::BTreeMap;

use landbridge_exchange::{Buffer, Caching};
use landbridge_inspect::aliases::{self, Alias};

use super::fleet::Fleet;
use crate::control::status::AliasStatus;

/// What all mappings of our dma-bufs are like, as far as this process may see.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<BTreeMap<u64, Vec<Alias>>>);

impl Seen {
    /// Looks at all processes, if there is anything to look for.
    pub(super) fn now(fleet: &Fleet, buffers: &[Buffer]) -> Self {
        let ours: BTreeMap<u64, String> = buffers
            .iter()
            .filter_map(|buffer| Some((inode(buffer)?, exporter(buffer))))
            .collect();
        if ours.is_empty() {
            return Self(None);
        }
        // Without the privilege there is nothing to be seen.
        Self(aliases::of_buffers(fleet.caching.inspector(), &ours).ok())
    }

    /// The mappings of a buffer that differ from what is known of it; `None`
    /// where nobody looked.
    pub(super) fn differing(&self, buffer: &Buffer) -> Option<Vec<AliasStatus>> {
        let inode = inode(buffer)?;
        let all = self.0.as_ref()?.get(&inode);
        let told = buffer.offer().caching?.caching;
        let differing = all.into_iter().flatten().filter(|it| differs(it, told));
        Some(differing.map(status).collect())
    }
}

/// The inode of a dma-buf; other memory has one caching only.
fn inode(buffer: &Buffer) -> Option<u64> {
    buffer
        .is_dma_buf()
        .then(|| buffer.identity())?
        .map(|it| it.inode)
}

/// The kernel's name for its exporter.
fn exporter(buffer: &Buffer) -> String {
    let own = match buffer.exporter_name() {
        "system heap" => "system",
        name => name,
    };
    buffer.origin().unwrap_or(own).to_owned()
}

fn differs(alias: &Alias, told: Caching) -> bool {
    use landbridge_inspect::Caching as Seen;
    let same = match told {
        Caching::WriteBack => Seen::WriteBack,
        Caching::WriteCombining => Seen::WriteCombining,
        Caching::Uncached => Seen::Uncached,
    };
    alias.caching != same
}

fn status(alias: &Alias) -> AliasStatus {
    AliasStatus {
        pid: alias.pid,
        command: alias.command.clone(),
        caching: alias.caching.to_string(),
        source: alias.source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use landbridge_inspect::{Caching as Read, Source};

    use super::*;

    #[test]
    fn whatever_a_guest_was_not_told_differs() {
        let alias = |caching| Alias {
            pid: 1,
            command: "init".to_owned(),
            start: 0x1000,
            caching,
            source: Source::Pte,
        };
        for (told, same) in [
            (Caching::WriteBack, Read::WriteBack),
            (Caching::WriteCombining, Read::WriteCombining),
            (Caching::Uncached, Read::Uncached),
        ] {
            for read in [
                Read::WriteBack,
                Read::WriteCombining,
                Read::Uncached,
                Read::WriteThrough,
                Read::Mixed,
            ] {
                assert_eq!(differs(&alias(read), told), read != same);
            }
        }
    }
}
