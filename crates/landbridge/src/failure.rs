//! How a subcommand fails, and what the shell is told.

use std::process::ExitCode;

/// How a subcommand fails.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what can't be: exit status 2.
    Usage(anyhow::Error),
    /// The work failed or its result is wrong: exit status 1.
    Work(anyhow::Error),
}

impl Failure {
    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Work(_) => ExitCode::from(1),
        }
    }

    /// What went wrong, with all causes.
    pub fn error(&self) -> &anyhow::Error {
        match self {
            Self::Usage(error) | Self::Work(error) => error,
        }
    }
}

/// Whatever goes wrong while working is a failure of the work.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}
