//! The `tidemark` binary: one `match` over what was asked for.
//!
//! * [`serve`] starts a [`node`] on each core: shards, listener, scraper, counters;
//! * [`control`] is the thread beside the cores, which discovers targets;
//! * [`http`] is what the world talks to, [`config`] what it writes down;
//! * [`check`] and [`ask`] are the two commands that need no running core, [`tsdb`] and [`import`] start one for themselves.

mod ask;
mod check;
mod cli;
mod config;
mod control;
mod failures;
mod http;
mod import;
mod jobs;
mod limits;
mod logs;
mod memory;
mod metrics;
mod node;
mod queries;
mod serve;
mod settings;
mod time;
mod tsdb;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve::run(cli.serve),
        Some(Command::Serve(flags)) => serve::run(*flags),
        Some(Command::Check(check)) => check::run(check),
        Some(Command::Tsdb(tsdb)) => tsdb::run(tsdb),
        Some(Command::Query(query)) => ask::run(&query),
        Some(Command::Import(import)) => import::run(&import),
        Some(Command::Version) => {
            println!("tidemark {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}
