//! `landbridge mapinfo --broker`: exact answers for programs without privileges.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use landbridge_inspect::broker::{Broker, Confinement, Limits, confine, listen};
use landbridge_inspect::{Config, Inspector};
use rustix::thread::CapabilitySet;

use crate::terminal;

/// Permissions of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode @ 0..=0o777) => Ok(Self(mode)),
            _ => Err(format!("{text:?} are no permissions: write 666 or 660")),
        }
    }
}

/// Serves until killed.
pub(super) fn run(path: &Path, mode: Mode, limit: Duration, json: bool) -> anyhow::Result<()> {
    let inspector = Inspector::open(Config {
        limit,
        ..Config::default()
    });
    let limits = Limits {
        deadline: limit,
        ..Limits::default()
    };
    let context = || format!("can't listen at {}", path.display());
    let listener = listen(path).with_context(context)?;
    let made = Broker::new(listener, inspector, limits).map(|broker| {
        let permissions = Permissions::from_mode(mode.0);
        (broker, fs::set_permissions(path, permissions))
    });
    let (mut broker, permitted) = made.inspect_err(|_| {
        // Nobody will answer there.
        let _ = fs::remove_file(path);
    })?;
    permitted.with_context(context)?;
    // Its socket is out of reach afterwards.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let left = confine()?;
    terminal::print(&announcement(path, left, json))?;
    match broker.run()? {}
}

fn announcement(path: &Path, left: Confinement, json: bool) -> String {
    let kept: Vec<_> = CapabilitySet::from_bits_retain(left.capabilities)
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    if json {
        let object = serde_json::json!({
            "listening": path.display().to_string(),
            "capabilities": kept,
            "seccomp": true,
        });
        return format!("{object}\n");
    }
    let kept = match kept.as_slice() {
        [] => "no capability".to_owned(),
        kept => kept.join(" and "),
    };
    format!("answering at {} with {kept}\n", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal() {
        assert_eq!("660".parse(), Ok(Mode(0o660)));
        for wrong in ["", "1000", "9", "rw"] {
            assert!(wrong.parse::<Mode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_is_told() {
        let bits = (CapabilitySet::BPF | CapabilitySet::PERFMON).bits();
        let left = Confinement { capabilities: bits };
        let text = announcement(Path::new("s"), left, false);
        assert_eq!(text, "answering at s with CAP_PERFMON and CAP_BPF\n");
        let nothing = Confinement { capabilities: 0 };
        assert!(announcement(Path::new("s"), nothing, true).contains("\"capabilities\":[]"));
    }
}
