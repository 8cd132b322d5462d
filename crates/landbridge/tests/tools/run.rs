//! Running the program, with and without privileges.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use landbridge_inspect::{Config, Inspector, Strength};
use serde_json::Value;
use tempfile::TempDir;

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// The program with its arguments.
pub(crate) fn landbridge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landbridge"));
    command.args(arguments);
    command
}

/// Output of a command that ends with `status`.
pub(crate) fn ends(command: &mut Command, status: i32) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{command:?}: {said}");
    output
}

pub(crate) fn out(command: &mut Command) -> String {
    String::from_utf8(ends(command, 0).stdout).unwrap()
}

pub(crate) fn json(command: &mut Command) -> Value {
    serde_json::from_str(&out(command)).unwrap()
}

/// What it says on standard error, ending with `status`.
pub(crate) fn complaint(command: &mut Command, status: i32) -> String {
    String::from_utf8(ends(command, status).stderr).unwrap()
}

/// The program where everybody may run it.
pub(crate) struct Unprivileged {
    program: PathBuf,
    _folder: TempDir,
}

impl Unprivileged {
    /// `None`, with the reason printed, where the test can't become another user.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: becoming an unprivileged user needs root");
            return None;
        }
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("landbridge");
        fs::copy(env!("CARGO_BIN_EXE_landbridge"), &program).unwrap();
        Some(Self {
            program,
            _folder: folder,
        })
    }

    pub(crate) fn landbridge(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).uid(NOBODY).gid(NOBODY);
        command
    }
}

/// Whether this process has a way of knowing; the reason printed if not.
pub(crate) fn has(strength: Strength) -> bool {
    let inspector = Inspector::open(Config::default());
    let mut ways = inspector.availability().into_iter();
    let way = ways.find(|way| way.strength == strength).unwrap();
    if let Some(reason) = &way.missing {
        println!("skipped: {strength}: {reason}");
    }
    way.missing.is_none()
}

/// The widest line, in characters.
pub(crate) fn width(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}
