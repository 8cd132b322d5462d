//! How buffers are cached, as `landbridge-inspect` answers a program with given
//! privileges: this program, started once more.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use landbridge_inspect::{Config, DEFAULT_LIMIT, Error, Inspector, MapInfo, broker};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::sys::privileges::{Who, run_as};

/// The first argument of this program when it answers; the second is a list of
/// descriptors, each with the driver of its exporter after a colon where that is
/// known; a third one the socket of a broker that is to be asked.
pub const ARGUMENT: &str = "--answers";

/// Emulated processors take their time to run an exporter.
const LIMIT: Duration = DEFAULT_LIMIT.saturating_mul(5);

/// What is said of one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// How its mapping behaves.
    Is(MapInfo),
    /// That nobody can tell, and why.
    Unknown(String),
    /// What went wrong, the exporter's own errors included.
    Error(String),
}

impl From<Result<MapInfo, Error>> for Answer {
    fn from(result: Result<MapInfo, Error>) -> Self {
        match result {
            Ok(info) => Self::Is(info),
            Err(
                error @ (Error::Unknown { .. } | Error::Broker(broker::Refusal::Unknown { .. })),
            ) => Self::Unknown(error.to_string()),
            Err(error) => Self::Error(error.to_string()),
        }
    }
}

/// A buffer that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// It.
    pub buffer: BorrowedFd<'a>,
    /// The driver behind an exporter's name that many share.
    pub driver: Option<&'static str>,
}

/// Asks as `who`, or as `who` through the broker at a path.
///
/// # Errors
/// When the program can't be started or fails.
pub fn ask(who: Who, broker: Option<&str>, buffers: &[Asked<'_>]) -> Result<Vec<Answer>> {
    let descriptors: Vec<_> = buffers.iter().map(|asked| asked.buffer).collect();
    let numbers: Vec<_> = buffers
        .iter()
        .map(|asked| {
            let driver = asked.driver.unwrap_or_default();
            format!("{}:{driver}", asked.buffer.as_raw_fd())
        })
        .collect();
    let mut command = Command::new("/proc/self/exe");
    command
        .args([ARGUMENT, &numbers.join(",")])
        .args(broker)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    run_as(&mut command, who, &descriptors);
    let output = command.output().context("starting the asking program")?;
    if !output.status.success() {
        bail!("the asking program: {}", output.status);
    }
    let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).context("its answers")?;
    if answers.len() != buffers.len() {
        bail!("{} answers for {} buffers", answers.len(), buffers.len());
    }
    Ok(answers)
}

/// Prints what is known of the descriptors that are listed in `numbers`.
///
/// # Errors
/// When one is not open.
pub fn print(numbers: &str, broker: Option<&str>) -> Result<()> {
    let config = Config {
        limit: LIMIT,
        ..Config::default()
    };
    let inspector = broker.is_none().then(|| Inspector::open(config));
    let mut answers: Vec<Answer> = Vec::new();
    for asked in numbers.split(',') {
        let (number, driver) = asked.split_once(':').unwrap_or((asked, ""));
        let driver = Some(driver).filter(|driver| !driver.is_empty());
        let buffer = inherited(number)?;
        answers.push(match (&inspector, broker) {
            (Some(inspector), _) => directly(inspector, &buffer, driver).into(),
            (None, Some(path)) => broker::ask(path.as_ref(), &buffer, LIMIT).into(),
            (None, None) => bail!("nobody to ask"),
        });
    }
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}

/// The descriptor of this number that this program was started with.
pub(crate) fn inherited(number: &str) -> Result<OwnedFd> {
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty())?;
    let copy = pidfd_getfd(ourselves.as_fd(), number.parse()?, PidfdGetfdFlags::empty());
    copy.with_context(|| format!("descriptor {number}"))
}

fn directly(
    inspector: &Inspector,
    buffer: &OwnedFd,
    driver: Option<&str>,
) -> Result<MapInfo, Error> {
    match inspector.map_info_of_driver(buffer, driver) {
        Err(Error::NotDmaBuf) => inspector.map_info_of_memory(buffer),
        answer => answer,
    }
}
