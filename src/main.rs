//! The binary: reads the command line and hands over to `postrider::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    postrider::cli::run()
}
