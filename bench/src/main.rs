//! The `tidemark-bench` load generator: see [`tidemark_bench`].

use clap::Parser;

fn main() -> std::process::ExitCode {
    match tidemark_bench::commands::run(tidemark_bench::commands::Cli::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidemark-bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
