//! What runs inside the lab's machines.
//!
//! [`boot`] is process 1. It runs the scenarios that the kernel's command line
//! names, each in a process of its own, and tells the host what happened with
//! the events of [`report`]. A [`scenario`] declares its claim, its needs and
//! its time limit; the host side links this crate to read the declarations and
//! to build a machine that meets them.

pub mod answers;
pub mod benches;
pub mod boot;
pub mod checks;
pub mod conformance;
pub mod console;
pub mod desk;
pub mod echo;
pub mod exporters;
pub mod holdout;
pub mod kvm_guest;
pub mod naked;
pub mod nested;
pub mod pairs;
pub mod report;
pub mod scenario;
pub mod scenarios;
pub mod sys;
pub mod truth;
pub mod virtgpu;
