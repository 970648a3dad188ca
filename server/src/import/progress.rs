//! The line that says how far an import is: rewritten in place on a terminal, now and then a new one elsewhere.

use std::io::{IsTerminal, Write, stderr};

use tidemark_core::runtime::clock::Instant;

/// Least time between two lines.
const EVERY_MS_TERMINAL: u128 = 200;
const EVERY_MS_FILE: u128 = 10_000;

/// Says how far an import is.
pub(super) struct Progress {
    terminal: bool,
    said: Instant,
}

impl Progress {
    /// Nothing has been said yet.
    pub(super) fn new() -> Self {
        Progress { terminal: stderr().is_terminal(), said: Instant::now() }
    }

    /// Says it, if it is time to.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        let every_ms = if self.terminal { EVERY_MS_TERMINAL } else { EVERY_MS_FILE };
        if self.said.elapsed().as_millis() >= every_ms {
            self.said = Instant::now();
            self.write(&line());
        }
    }

    /// Says it now, and leaves it there.
    pub(super) fn done(&mut self, line: &str) {
        self.write(line);
        if self.terminal {
            eprintln!();
        }
    }

    fn write(&self, line: &str) {
        // Progress that nobody can read is no reason to stop.
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(stderr(), "{line}")
        };
    }
}
