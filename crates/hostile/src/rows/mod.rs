//! The rows, a file for each kind of attack.

mod backings;
mod blobs;
mod chains;
mod features;
mod maps;
mod requests;
mod scanouts;
mod three_d;
mod transfers;
mod twod;
mod uuids;

pub use features::commands;

use crate::row::Row;

/// The table.
pub fn all() -> Vec<Row> {
    [
        twod::rows(),
        backings::rows(),
        transfers::rows(),
        blobs::rows(),
        scanouts::rows(),
        maps::rows(),
        uuids::rows(),
        three_d::rows(),
        features::rows(),
        requests::rows(),
        chains::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
