//! The command: parse, do, end with the exit code that says how it went.

use clap::Parser as _;
use evenkeel::{cli::Cli, commands, exit_code::ExitCode};

fn main() -> ExitCode {
    commands::dispatch(Cli::parse())
}
