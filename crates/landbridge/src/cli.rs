//! The command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    demo, events, inspect, mapinfo, probe, recover, revoke, screenshot, serve, share, status, top,
};

/// Zero-copy buffer sharing between a Linux host, its virtual machines and
/// their devices.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does the main job in one command, with no VM: decodes a clip into GPU
    /// buffers found by UUID, maps them in an embedded guest, scans them out.
    Demo(demo::Options),
    /// Serves devices to a VMM: QEMU as it ships, with a guest as it ships.
    Serve(serve::Options),
    /// Tells what a running `serve` holds: devices, guests, buffers, users.
    Status(status::Options),
    /// Shares a dma-buf or memfd of this host with a guest of a running `serve`.
    Share(share::Options),
    /// Ends a share; the guest keeps what it has made of it.
    Unshare(share::UnshareOptions),
    /// Takes a buffer's memory away from all who use it.
    Revoke(revoke::Options),
    /// Gives a buffer's memory back.
    Restore(revoke::RestoreOptions),
    /// Tells what happens to buffers of a running `serve`, as it happens.
    Events(events::Options),
    /// Writes what a guest shows on a running `serve` as a PNG file.
    Screenshot(screenshot::Options),
    /// Gives a running VM its device back after `serve` died.
    Recover(recover::Options),
    /// Tells what the dma-bufs of this machine are: caching, holders, devices.
    Inspect(inspect::Options),
    /// Shows the dma-bufs of this machine as they come and go.
    Top(top::Options),
    /// Tells what every exporter of this machine is like.
    Probe(probe::Options),
    /// Tells how one buffer is cached, or serves such answers to others.
    Mapinfo(mapinfo::Options),
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::command(&options),
        Command::Serve(options) => serve::command(&options),
        Command::Status(options) => status::command(&options),
        Command::Share(options) => share::command(&options),
        Command::Unshare(options) => share::unshare(&options),
        Command::Revoke(options) => revoke::command(&options),
        Command::Restore(options) => revoke::restore(&options),
        Command::Events(options) => events::command(&options),
        Command::Screenshot(options) => screenshot::command(&options),
        Command::Recover(options) => recover::command(&options),
        Command::Inspect(options) => inspect::command(&options),
        Command::Top(options) => top::command(&options),
        Command::Probe(options) => probe::command(&options),
        Command::Mapinfo(options) => mapinfo::command(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where there is nobody to tell, the exit status still does.
            let _ = writeln!(io::stderr(), "landbridge: {:#}", failure.error());
            failure.exit_code()
        }
    }
}
