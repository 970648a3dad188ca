//! The `tidemark` binary: one `match` over what was asked for.

#![allow(dead_code)]

mod ask;
mod check;
mod cli;
mod config;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.command {
        Some(cli::Command::Check(check)) => check::run(check),
        Some(cli::Command::Version) => {
            println!("tidemark {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some(cli::Command::Query(query)) => ask::run(&query),
        _ => ExitCode::FAILURE,
    }
}
mod http;
mod jobs;
mod limits;
mod logs;
mod time;
