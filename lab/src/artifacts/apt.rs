//! apt with everything of its own: lists, cache, status and sources live in one
//! folder, nothing is installed, nobody has to be root, and signatures are
//! checked as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The suite whose packages are preferred.
const NEWER: &str = "trixie-backports";

/// The keys that may have signed the suites.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Parts of the machine's own apt settings that still count: how to get out to
/// the net. Whether signatures matter is not among them.
const KEPT_SETTINGS: [&str; 4] = [
    "Acquire::http",
    "Acquire::Retries",
    "Acquire::Force",
    "Acquire::Check-",
];

/// A private apt.
pub(super) struct Apt {
    config: PathBuf,
    downloads: PathBuf,
}

impl Apt {
    /// Sets one up in `folder` for these suites of the mirror at `uri`.
    ///
    /// # Errors
    /// When there is no Debian keyring or the folder can't be written.
    pub(super) fn new(folder: &Path, uri: &str, suites: &str) -> Result<Self> {
        let keyring = KEYRINGS
            .into_iter()
            .find(|keyring| Path::new(keyring).exists())
            .context("no Debian archive keyring is installed (package debian-archive-keyring)")?;
        let downloads = folder.join("downloads");
        for path in [
            "state/lists/partial",
            "cache/archives/partial",
            "downloads",
            "none",
        ] {
            fs::create_dir_all(folder.join(path))?;
        }
        fs::write(folder.join("status"), "")?;
        let sources = format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nArchitectures: amd64\n\
             Signed-By: {keyring}\n"
        );
        fs::write(folder.join("lab.sources"), sources)?;
        let config = folder.join("apt.conf");
        fs::write(&config, settings(folder))?;
        Ok(Self { config, downloads })
    }

    /// Fetches the lists of packages.
    ///
    /// # Errors
    /// When the mirror has not these suites, or their signatures are wrong.
    pub(super) fn update(&self) -> Result<()> {
        self.loud("apt-get", &["update", "--error-on=any"])
    }

    /// The newest package whose whole name matches the regular expression.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn newest(&self, name: &str) -> Result<String> {
        let text = self.quiet("apt-cache", &["search", "--names-only", name])?;
        text.lines()
            .filter_map(|line| line.split_whitespace().next())
            .max_by_key(|package| numbers(package))
            .map(str::to_owned)
            .with_context(|| format!("the mirror has no package like {name}"))
    }

    /// `packages` and all that they depend on, as `NAME=VERSION`.
    ///
    /// # Errors
    /// When apt can't work it out.
    pub(super) fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut arguments = vec!["--simulate", "--target-release", NEWER, "install"];
        arguments.extend(packages);
        let text = self.quiet("apt-get", &arguments)?;
        Ok(text.lines().filter_map(installed).collect())
    }

    /// The version of `package` that would be taken.
    ///
    /// # Errors
    /// When there is no such package.
    pub(super) fn version(&self, package: &str) -> Result<String> {
        self.closure(&[package])?
            .iter()
            .filter_map(|line| line.split_once('='))
            .find_map(|(name, version)| (name == package).then(|| version.to_owned()))
            .with_context(|| format!("the mirror has no package {package}"))
    }

    /// Fetches `packages` and unpacks them into `tree`.
    ///
    /// # Errors
    /// When one can't be fetched, verified or unpacked.
    pub(super) fn unpack(&self, packages: &[String], tree: &Path) -> Result<()> {
        let mut arguments = vec!["download"];
        arguments.extend(packages.iter().map(String::as_str));
        self.loud("apt-get", &arguments)?;
        fs::create_dir_all(tree)?;
        for entry in fs::read_dir(&self.downloads)? {
            let path = entry?.path();
            let status = Command::new("dpkg-deb")
                .arg("--extract")
                .args([&path, tree])
                .status()
                .context("starting dpkg-deb")?;
            if !status.success() {
                bail!("unpacking {} failed: {status}", path.display());
            }
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("APT_CONFIG", &self.config)
            .env("LC_ALL", "C")
            .current_dir(&self.downloads)
            .stdin(Stdio::null());
        command
    }

    /// Runs one with its progress shown on standard error.
    fn loud(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(program, arguments);
        let status = command
            .stdout(std::io::stderr())
            .status()
            .with_context(|| format!("starting {program}"))?;
        if !status.success() {
            bail!("{program} {} failed: {status}", arguments[0]);
        }
        Ok(())
    }

    fn quiet(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program, arguments)
            .output()
            .with_context(|| format!("starting {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {} failed: {}", arguments[0], said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The settings file. It is read before the machine's own, which it puts out of
/// sight: those could run programs after an update.
fn settings(folder: &Path) -> String {
    let folder = folder.display();
    let mut text = format!(
        "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"{folder}/none\";\n\
         Dir::Etc::sourcelist \"{folder}/lab.sources\";\n\
         Dir::Etc::sourceparts \"{folder}/none\";\nDir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"{folder}/none\";\nDir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
         APT::Sandbox::User \"\";\nAPT::Install-Recommends \"false\";\n\
         Acquire::Languages \"none\";\n"
    );
    let own = Command::new("apt-config")
        .args(["dump", "Acquire"])
        .output();
    if let Ok(own) = own {
        for line in String::from_utf8_lossy(&own.stdout).lines() {
            if KEPT_SETTINGS.iter().any(|kept| line.starts_with(kept)) {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// The numbers in a package's name, for comparing 7.2.9 with 7.2.12.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// What one line of a simulated installation would install.
fn installed(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let version = rest.strip_prefix('(')?.split_whitespace().next()?;
    Some(format!("{name}={version}"))
}

#[cfg(test)]
mod tests {
    use super::{installed, numbers};

    #[test]
    fn a_simulated_installation_names_packages_and_versions() {
        let line = "Inst libgcc-s1 (14.2.0-19 Debian:13.7/stable [amd64]) []";
        assert_eq!(installed(line).as_deref(), Some("libgcc-s1=14.2.0-19"));
        assert_eq!(installed("Conf libgcc-s1 (14.2.0-19 Debian [amd64])"), None);
    }

    #[test]
    fn the_twelfth_patch_is_newer_than_the_ninth() {
        assert!(
            numbers("linux-binary-7.2.12+deb13-amd64") > numbers("linux-binary-7.2.9+deb13-amd64")
        );
    }
}
