//! The command: parse, do, end with the exit code that says how it went.

use std::process::ExitCode;

use clap::Parser as _;
use evenkeel::{cli::Cli, commands};

fn main() -> ExitCode {
    commands::dispatch(Cli::parse())
}
