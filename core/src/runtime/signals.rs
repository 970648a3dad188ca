//! The process's signals: TERM and INT stop, HUP reloads.
//!
//! A thread waits for them and passes each on to every core through the [`Stopper`]. A second TERM or INT ends the process at
//! once: what was acknowledged is in the log, so that is no worse than a power cut.

use super::stop::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::thread::{self, JoinHandle};

/// The thread that waits for signals; dropping it ends the thread.
pub(super) struct Listener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(stopper: Stopper) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let handle = signals.handle();
        let listen = move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => {
                        tracing::info!("SIGHUP: reloading the configuration");
                        stopper.reload();
                    }
                    _ if stopper.is_stopping() => {
                        tracing::warn!(signal, "told to stop twice: ending at once");
                        std::process::exit(128 + signal);
                    }
                    _ => {
                        tracing::info!(signal, "stopping");
                        stopper.stop();
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(listen)?;
        Ok(Listener { handle, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It never panics; were it to, the process is ending anyway.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::child;
    use super::super::executors::{self, Options};
    use super::*;
    use std::time::Duration;

    fn send(signal: i32) {
        // SAFETY: a handler for it is installed.
        assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
    }

    fn run_child(role: &str) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { cores: 2, pin: false, signals: true, ..Options::default() };
        let hangs = role == "told twice";
        executors::run(&options, dir.path(), move |ctx| async move {
            if ctx.core == 0 {
                send(SIGHUP);
                ctx.reload.next().await;
                send(SIGTERM);
            }
            ctx.stop.wait().await;
            if hangs && ctx.core == 0 {
                send(SIGINT);
                super::super::sleep(Duration::from_mins(1)).await;
            }
        })
        .unwrap();
    }

    #[test]
    fn hup_reloads_and_term_stops_every_core() {
        let name = "runtime::signals::tests::hup_reloads_and_term_stops_every_core";
        if child::is("told once") {
            run_child("told once");
        } else {
            let output = child::run("told once", name);
            assert!(output.status.success(), "{output:?}");
        }
    }

    #[test]
    fn a_second_stop_ends_the_process() {
        let name = "runtime::signals::tests::a_second_stop_ends_the_process";
        if child::is("told twice") {
            run_child("told twice");
        } else {
            let output = child::run("told twice", name);
            assert_eq!(output.status.code(), Some(128 + SIGINT), "{output:?}");
        }
    }
}
