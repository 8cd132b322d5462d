//! The QEMU of this machine, and whether it can do what we need.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail, ensure};

const NAME: &str = "qemu-system-x86_64";

/// The device that connects to ours.
const DEVICE: &str = "vhost-user-test-device-pci";

/// The first version with windows of vhost-user devices (SHMEM_MAP).
const NEEDED: Version = Version {
    major: 11,
    minor: 1,
};

/// A version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 11 in 11.1.3.
    pub major: u32,
    /// 1 in 11.1.3.
    pub minor: u32,
}

impl Version {
    /// Finds the version in what `--version` prints.
    fn parse(text: &str) -> Option<Self> {
        let version = text.split_once("version ")?.1;
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        let mut part = || parts.next()?.parse().ok();
        Some(Self {
            major: part()?,
            minor: part()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A QEMU program.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// This one, or the first in PATH.
    pub fn find(asked: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = asked {
            return Ok(Self {
                path: path.to_owned(),
            });
        }
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&directories)
            .map(|directory| directory.join(NAME))
            .find(|path| path.is_file());
        let path = found.ok_or_else(|| {
            anyhow!("there is no {NAME} in PATH: install QEMU {NEEDED}, or name one with --qemu")
        })?;
        Ok(Self { path })
    }

    /// Makes sure that it can connect to our devices.
    pub fn check(&self) -> anyhow::Result<()> {
        let version = self.version()?;
        let path = self.path.display();
        if version < NEEDED {
            bail!(
                "{path} is QEMU {version}: windows of vhost-user devices need {NEEDED} (Debian \
                 has it in trixie-backports)"
            );
        }
        let devices = self.ask(&["-device", "help"])?;
        ensure!(
            devices.contains(&format!("\"{DEVICE}\"")),
            "{path} was built without {DEVICE}, which connects to our devices"
        );
        Ok(())
    }

    fn version(&self) -> anyhow::Result<Version> {
        let text = self.ask(&["--version"])?;
        Version::parse(&text)
            .with_context(|| format!("{} tells no version: {text:?}", self.path.display()))
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't run {}", self.path.display()))?;
        ensure!(
            output.status.success(),
            "{} {} failed: {}",
            self.path.display(),
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_found_and_compared() {
        let debian = "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright";
        let version = Version::parse(debian).unwrap();
        assert_eq!(
            version,
            Version {
                major: 11,
                minor: 1
            }
        );
        assert!(version >= NEEDED);
        assert!(Version::parse("QEMU emulator version 10.0.2").unwrap() < NEEDED);
        assert!(Version::parse("QEMU emulator version 11.0.90").unwrap() < NEEDED);
        assert!(Version::parse("QEMU emulator version 12.0.0").unwrap() > NEEDED);
        for text in ["", "version", "version x.y", "QEMU 11.1"] {
            assert_eq!(Version::parse(text), None);
        }
    }

    fn check(version: &str, devices: &str) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qemu");
        let script = format!(
            "#!/bin/sh\ncase $1 in --version) echo 'QEMU emulator version {version}';; \
             *) echo '{devices}';; esac\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let program = Program::find(Some(&path)).unwrap();
        program.check().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_qemu_is_asked_what_it_can() {
        let devices = format!("name \"{DEVICE}\", bus PCI");
        assert_eq!(check("11.1.3", &devices), Ok(()));
        assert!(check("10.0.2", &devices).unwrap_err().contains("11.1"));
        assert!(
            check("11.1.3", "name \"e1000\"")
                .unwrap_err()
                .contains(DEVICE)
        );
    }

    #[test]
    fn a_program_that_is_none_is_said_to_be() {
        let program = Program::find(Some(Path::new("/nonexistent/qemu"))).unwrap();
        assert!(
            program
                .check()
                .unwrap_err()
                .to_string()
                .contains("can't run")
        );
    }
}
