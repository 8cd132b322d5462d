//! What needs `unsafe`: bpf(2), and a child that touches mappings.
//!
//! Nothing outside this module is unsafe in this crate.

#![expect(
    unsafe_code,
    reason = "bpf(2), clone and mappings have no safe wrapper"
)]

pub(crate) mod bpf;
pub(crate) mod child;
pub(crate) mod ioctl;
mod touch;
