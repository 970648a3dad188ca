//! `tidemark import`: samples of the past become blocks of a data directory that no server has open.
//!
//! One core opens all shards, as a server would. What is read goes, series by series, into a block of the shard that owns it
//! ([`blocks`]); each finished block is noted in a journal, so that an import that was cut short goes on where it was.
//! [`prometheus`] and [`openmetrics`] are the sources. Foreign files are read with blocking calls: nothing else runs here.

mod blocks;
mod openmetrics;
mod progress;
mod prometheus;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use tidemark_core::limits::SHARDS_MAX;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::executors;
use tidemark_core::shard::ShardOptions;
use tidemark_core::shards::{self, Shards};

use crate::cli::Import;
use blocks::Target;

/// Runs to the end, or to the first failure.
pub(crate) fn run(import: &Import) -> ExitCode {
    match start(import) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn start(import: &Import) -> Result<String, String> {
    let (Import::Prometheus { directory: source, into }
    | Import::Openmetrics { file: source, into }) = import;
    let (source, data_dir) = (source.clone(), into.storage_path.clone());
    let is_prometheus = matches!(import, Import::Prometheus { .. });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = into.shards.unwrap_or(u32::try_from(cores).unwrap_or(SHARDS_MAX));
    if shards == 0 || shards > SHARDS_MAX {
        return Err(format!("--storage.shards must be from 1 to {SHARDS_MAX}"));
    }
    std::fs::create_dir_all(&data_dir)
        .map_err(|e| format!("cannot make {}: {e}", data_dir.display()))?;
    let (outcome, answer) = mpsc::channel();
    let options = executors::Options { cores: 1, pin: false, ..executors::Options::default() };
    let (mesh, place) = (shards::mesh(1), data_dir.clone());
    let ran = executors::run(&options, &data_dir, move |_| {
        let (mesh, place, source) = (mesh.clone(), place.clone(), source.clone());
        let outcome = outcome.clone();
        async move {
            let all = Shards::join(0, mesh);
            let done = import_into(&all, &place, shards, &source, is_prometheus).await;
            // The receiver lives until the core has ended.
            drop(outcome.send(done));
        }
    });
    ran.map_err(|e| e.to_string())?;
    answer.recv().map_err(|_| "the import ended without a result".to_owned())?
}

async fn import_into(
    all: &Shards,
    data_dir: &Path,
    shards: u32,
    source: &Path,
    is_prometheus: bool,
) -> Result<String, String> {
    let options = ShardOptions { progress: Arc::default(), ..ShardOptions::default() };
    let cannot_open = |e| format!("cannot open storage in {}: {e}", data_dir.display());
    all.open(&Disk::real(), data_dir, shards, &options).await.map_err(cannot_open)?;
    let mut target = Target::open(all, data_dir)?;
    let done = if is_prometheus {
        prometheus::import(source, &mut target).await
    } else {
        openmetrics::import(source, &mut target).await
    };
    let closed = all.close().await.map_err(|e| e.to_string());
    let summary = done?;
    closed.map(|()| summary)
}
