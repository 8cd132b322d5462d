//! The static init of the lab's machines.

use std::fs::File;
use std::process::ExitCode;

use landbridge_lab_init::answers;
use landbridge_lab_init::boot;
use landbridge_lab_init::checks::Checks;
use landbridge_lab_init::desk;
use landbridge_lab_init::echo;
use landbridge_lab_init::holdout;
use landbridge_lab_init::scenarios;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, of) = (arguments.next(), arguments.next());
    match (what.as_deref(), of) {
        (Some(boot::WORKER), Some(name)) => body(&name),
        (Some(boot::LOAD), Some(line)) => load(&line),
        (Some(echo::ARGUMENT), Some(path)) => answer(&path),
        (Some(desk::ARGUMENT), Some(folder)) => serve_desk(&folder, arguments.next()),
        (Some(holdout::ARGUMENT), Some(fd)) => hold_out(&fd, arguments.next()),
        (Some(answers::ARGUMENT), Some(fds)) => answer_for(&fds, arguments.next()),
        _ if std::process::id() == 1 => boot::run(),
        _ => {
            eprintln!("This is the init of the lab's machines; `cargo xtask lab` runs it.");
            ExitCode::FAILURE
        }
    }
}

/// Runs one body; its report port is the standard input.
fn body(name: &str) -> ExitCode {
    let Some(scenario) = scenarios::find(name) else {
        eprintln!("lab: no scenario is called {name}");
        return ExitCode::FAILURE;
    };
    let port = match rustix::io::dup(rustix::stdio::stdin()) {
        Ok(port) => File::from(port),
        Err(error) => {
            eprintln!("lab: {name}: the report port: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut checks = Checks::new(scenario.name, port);
    let outcome = (scenario.body)(&mut checks);
    checks.finish(outcome);
    ExitCode::SUCCESS
}

fn answer(path: &str) -> ExitCode {
    match echo::run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: answering at {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints how every one of these buffers is cached.
fn answer_for(fds: &str, broker: Option<String>) -> ExitCode {
    match answers::print(fds, broker.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: answers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold_out(fd: &str, len: Option<String>) -> ExitCode {
    match holdout::run(fd, &len.unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: a holdout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve_desk(folder: &str, alone: Option<String>) -> ExitCode {
    match desk::run(folder, alone.as_deref() == Some(desk::ALONE)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: the desk at {folder}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(line: &str) -> ExitCode {
    match boot::load(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
