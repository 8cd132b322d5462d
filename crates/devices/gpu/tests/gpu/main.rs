//! The device as a driver meets it: bytes in, bytes out, with a fake guest
//! memory, a fake VMM and a fake display.

mod blobs;
mod concurrency;
mod display;
mod harness;
mod host_objects;
mod hostile;
mod idle;
mod order;
mod property;
mod revoke;
mod twod;
mod window;
