//! `tidemark serve`: from flags to running cores, and from their end to an exit code.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tidemark_core::limits::SHARDS_MAX;
use tidemark_core::runtime::{executors, preflight};
use tidemark_core::shards;

use crate::cli::ServeFlags;
use crate::control;
use crate::http::seats::Seats;
use crate::limits::{ADDRESS_ATTEMPTS, ADDRESS_PAUSE, DRAIN_MAX};
use crate::logs;
use crate::node::{self, Plan};
use crate::settings::{Settings, Source};

/// What closing storage may take after the last request has ended.
const CLOSE_MAX: Duration = Duration::from_secs(50);

/// Runs until stopped.
pub(crate) fn run(flags: ServeFlags) -> ExitCode {
    logs::install(flags.log_level, flags.log_format);
    match start(flags) {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: ServeFlags) -> Result<(), String> {
    preflight::check().map_err(|e| e.to_string())?;
    let plan = plan(flags)?;
    let cores = plan.cores;
    let (door, control) =
        control::start(cores).map_err(|e| format!("cannot start the control thread: {e}"))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        cores,
        listen = %plan.listen,
        data = %plan.data_dir.display(),
        "tidemark starts"
    );
    let (failures, failed) = mpsc::channel::<String>();
    let options = executors::Options {
        cores,
        signals: true,
        stop_within: DRAIN_MAX + CLOSE_MAX,
        ..executors::Options::default()
    };
    let data_dir = plan.data_dir.clone();
    let (mesh, seats) = (shards::mesh(cores), Seats::new(cores));
    let ran = executors::run(&options, &data_dir, move |ctx| {
        let (plan, failures) = (plan.clone(), failures.clone());
        let ways = (mesh.clone(), seats.clone());
        let door = door.clone();
        async move {
            let stopper = ctx.stop.stopper();
            if let Err(message) = node::run(ctx, plan, ways, door).await {
                // The receiver lives until every core has ended.
                drop(failures.send(message));
                stopper.stop();
            }
        }
    });
    control.stop();
    match failed.try_recv() {
        Ok(first) => Err(first),
        Err(_) => ran.map_err(|e| e.to_string()),
    }
}

fn plan(flags: ServeFlags) -> Result<Plan, String> {
    let listen = free_address(flags.listen_address)?;
    let source = match &flags.config_file {
        Some(file) => Source::File(file.clone()),
        None => Source::BuiltIn(listen),
    };
    let settings = Settings::load(&source).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&flags.storage_path)
        .map_err(|e| format!("cannot make {}: {e}", flags.storage_path.display()))?;
    let data_dir = std::fs::canonicalize(&flags.storage_path)
        .map_err(|e| format!("{}: {e}", flags.storage_path.display()))?;
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = flags.cores.unwrap_or(available);
    if cores == 0 {
        return Err("--cores must be at least 1".to_owned());
    }
    if cores > available {
        tracing::warn!(cores, available, "more cores are asked for than there are");
    }
    let shards = flags.shards.unwrap_or(u32::try_from(cores).unwrap_or(SHARDS_MAX));
    if shards == 0 || shards > SHARDS_MAX {
        return Err(format!("--storage.shards must be from 1 to {SHARDS_MAX}"));
    }
    Ok(Plan {
        flags: Arc::new(flags),
        source,
        settings,
        listen,
        data_dir,
        cores,
        shards,
        progress: Arc::default(),
        out_of_order_window_ms: Arc::default(),
    })
}

/// The address with a port, and nobody on it: the sockets of the cores share theirs (`SO_REUSEPORT`), so that the kernel would
/// share it with another server too instead of telling. A process that was killed keeps its sockets for a moment longer than it
/// lives, since the kernel takes `io_uring` down afterwards; whoever starts the next one at once is not to fail for that.
#[allow(clippy::disallowed_methods, reason = "no core runs yet")]
fn free_address(address: SocketAddr) -> Result<SocketAddr, String> {
    let mut left = ADDRESS_ATTEMPTS;
    loop {
        left -= 1;
        match TcpListener::bind(address).and_then(|probe| probe.local_addr()) {
            Ok(address) => return Ok(address),
            Err(error) if error.kind() == ErrorKind::AddrInUse && left > 0 => {
                std::thread::sleep(ADDRESS_PAUSE);
            }
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
}
