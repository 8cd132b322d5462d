//! The rows: those that any guest can play, and a file for each kind of attack
//! that needs more than requests and answers.

mod backings;
mod blobs;
mod chains;
mod features;
mod lives;
mod maps;
mod races;
mod requests;
mod scanouts;
mod three_d;
mod uuids;
mod waits;

use crate::row::Row;

/// The table.
pub(crate) fn all() -> Vec<Row> {
    let rows: Vec<Row> = [
        landbridge_hostile::all()
            .into_iter()
            .map(Row::from)
            .collect(),
        backings::rows(),
        blobs::rows(),
        scanouts::rows(),
        maps::rows(),
        uuids::rows(),
        three_d::rows(),
        features::rows(),
        requests::rows(),
        chains::rows(),
        waits::rows(),
        races::rows(),
        lives::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "each row has a name of its own");
    rows
}
