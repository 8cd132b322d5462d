//! The exchange from outside, one module per part of it.

mod cpu;
mod decoder;
mod exporters;
mod guest_pages;
mod late;
mod moves;
mod one_caching;
mod registry;
mod renewed;
mod reservation;
mod revoke;
mod scene;
mod tenants;
mod terms;
mod window;
mod window_races;
mod window_zeroes;
