//! inspect, top, probe and mapinfo as a user runs them, on the machine that runs the
//! tests. What a machine or its privileges lack is skipped with the reason.

mod broker;
mod inspect;
mod mapinfo;
mod probe;
mod run;
mod top;
