//! What a machine is made of: a kernel with its modules, and a QEMU.
//!
//! By default both are Debian's, unpacked under the lab's folder from the
//! packages of the mirror that this machine's own apt names.
//! `LANDBRIDGE_LAB_KERNEL`, `LANDBRIDGE_LAB_MODULES` and `LANDBRIDGE_LAB_QEMU`
//! give other ones.

mod apt;
mod debian;
mod mirror;
mod older;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use landbridge_lab_init::scenario::Kernel as Series;
use serde::{Deserialize, Serialize};

/// Everything that a machine needs from outside this repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Artifacts {
    /// The kernel that machines boot if nothing else is asked for.
    pub kernel: Kernel,
    /// The QEMU that every machine is.
    pub qemu: Qemu,
    /// A static busybox for the interactive machine, when there is one.
    pub busybox: Option<PathBuf>,
}

/// A kernel and its modules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// The folder that holds `kernel/`, `modules.builtin` and the like.
    pub modules: PathBuf,
    /// The package's version, or the path of one that was given.
    pub version: String,
}

/// How QEMU is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Qemu {
    /// Where the unpacked packages are; none for a QEMU of the machine's own.
    pub tree: Option<PathBuf>,
    /// The program, when there is no tree.
    pub program: PathBuf,
    /// The (major, minor) version.
    pub version: (u32, u32),
}

/// Why the lab can't run on this machine, and what to do about it.
#[derive(Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}. To go on, either run this where apt reaches a Debian mirror \
             (LANDBRIDGE_LAB_MIRROR can name one), or set LANDBRIDGE_LAB_KERNEL to a bzImage of \
             Linux 7.2, LANDBRIDGE_LAB_MODULES to its modules folder and LANDBRIDGE_LAB_QEMU to a \
             qemu-system-x86_64",
            self.0
        )
    }
}

impl std::error::Error for Missing {}

impl Artifacts {
    /// The artifacts that the environment gives, or else the cached ones, or
    /// else fresh ones from the mirror. `refresh` asks the mirror again.
    ///
    /// # Errors
    /// [`Missing`] when this machine can't have them; other errors when what
    /// the environment gives is no good.
    pub fn obtain(folder: &Path, refresh: bool) -> Result<Self> {
        let kernel = given_kernel()?;
        let qemu = given_qemu()?;
        if refresh {
            older::forget(folder)?;
        }
        if let (Some(kernel), Some(qemu)) = (&kernel, &qemu) {
            return Ok(Self {
                kernel: kernel.clone(),
                qemu: qemu.clone(),
                busybox: None,
            });
        }
        let mut artifacts = debian::obtain(folder, refresh)?;
        if let Some(kernel) = kernel {
            artifacts.kernel = kernel;
        }
        if let Some(qemu) = qemu {
            artifacts.qemu = qemu;
        }
        Ok(artifacts)
    }

    /// The kernel of `series`; an older one is fetched when it is first needed.
    ///
    /// # Errors
    /// [`Missing`] when this machine can't have it.
    pub fn kernel(&self, folder: &Path, series: Series) -> Result<Kernel> {
        let older = older::obtain(folder, series)?;
        Ok(older.unwrap_or_else(|| self.kernel.clone()))
    }
}

impl Qemu {
    /// The command line that starts QEMU with its tree at `tree`, which is
    /// where the machine that runs it sees [`Qemu::tree`].
    #[must_use]
    pub fn command(&self, tree: Option<&Path>) -> Vec<OsString> {
        let Some(tree) = tree else {
            return vec![self.program.clone().into()];
        };
        let libraries = tree.join("usr/lib/x86_64-linux-gnu");
        let mut command: Vec<OsString> = vec![
            libraries.join("ld-linux-x86-64.so.2").into(),
            "--library-path".into(),
            libraries.into(),
            tree.join("usr/bin/qemu-system-x86_64").into(),
        ];
        for firmware in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.extend(["-L".into(), tree.join(firmware).into()]);
        }
        command
    }

    /// The variable that tells QEMU where its loadable parts are: it would look
    /// beside the loader that runs it.
    #[must_use]
    pub fn environment(tree: &Path) -> (&'static str, PathBuf) {
        (
            "QEMU_MODULE_DIR",
            tree.join("usr/lib/x86_64-linux-gnu/qemu"),
        )
    }
}

fn given(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn given_kernel() -> Result<Option<Kernel>> {
    let Some(image) = given("LANDBRIDGE_LAB_KERNEL") else {
        return Ok(None);
    };
    let modules = given("LANDBRIDGE_LAB_MODULES")
        .context("LANDBRIDGE_LAB_KERNEL needs LANDBRIDGE_LAB_MODULES beside it")?;
    for path in [&image, &modules.join("kernel")] {
        if !path.exists() {
            bail!("{} does not exist", path.display());
        }
    }
    Ok(Some(Kernel {
        version: image.display().to_string(),
        image,
        modules,
    }))
}

fn given_qemu() -> Result<Option<Qemu>> {
    let Some(program) = given("LANDBRIDGE_LAB_QEMU") else {
        return Ok(None);
    };
    let version = qemu_version(Command::new(&program))?;
    Ok(Some(Qemu {
        tree: None,
        program,
        version,
    }))
}

/// Asks a QEMU for its version.
fn qemu_version(mut command: Command) -> Result<(u32, u32)> {
    let output = command
        .arg("--version")
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("no version in what QEMU says: {text}{said}")
    })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, rest) = text.split_once("version ")?;
    let mut numbers = rest.split('.');
    let major = numbers.next()?.trim().parse().ok()?;
    let minor = numbers
        .next()?
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_are_read_as_qemu_prints_them() {
        let debian = "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright";
        assert_eq!(parse_version(debian), Some((11, 1)));
        assert_eq!(parse_version("QEMU emulator version 10.0\n"), Some((10, 0)));
        assert_eq!(parse_version("something else"), None);
    }
}
