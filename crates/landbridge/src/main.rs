//! The landbridge program.

use std::process::ExitCode;

fn main() -> ExitCode {
    landbridge::cli::main()
}
