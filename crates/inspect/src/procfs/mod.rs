//! What /proc tells without any special privilege.

pub mod fdinfo;
pub mod holders;
pub mod smaps;
