//! A server process: started, watched through `/proc`, stopped by its id.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;

/// Clock ticks a second in `/proc/PID/stat`; Linux shows 100 to user space on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a server may take to stop after SIGTERM.
const STOP_MAX: Duration = Duration::from_mins(2);

/// How often a waiting loop looks.
const POLL: Duration = Duration::from_millis(5);

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads, in seconds.
    pub cpu_s: f64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// The most resident memory that it had, since [`forget_peak`] if that was called.
    pub rss_peak_bytes: u64,
    /// Bytes it caused to be written to block devices.
    pub written_bytes: u64,
}

impl Usage {
    /// Reads `/proc` of a process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the name in parentheses, which may hold anything.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks = |field: usize| -> f64 {
            after_name.split(' ').nth(field - 3).and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        // Of another user's process only root can read this one.
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Ok(Self {
            cpu_s: (ticks(14) + ticks(15)) / TICKS_PER_SECOND,
            rss_bytes: field(&status, "VmRSS:") * 1_024,
            rss_peak_bytes: field(&status, "VmHWM:") * 1_024,
            written_bytes: field(&io, "write_bytes:"),
        })
    }
}

/// Makes the peak of a process's resident memory what it is now, as `proc_pid_clear_refs(5)` tells; another user's process keeps it.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
    /// `http://127.0.0.1:port`.
    pub url: String,
}

impl Server {
    /// Starts `command`, which is told to listen on `port` of 127.0.0.1; what it prints is appended to `log`.
    pub fn start(command: &mut Command, port: u16, log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{} cannot be started: {error}", program.display()),
            )
        })?;
        Ok(Self { child, log: log.to_owned(), url: format!("http://127.0.0.1:{port}") })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the process has used.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid()).unwrap_or_default()
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client of its own connection.
    pub fn client(&self) -> Client {
        Client::new(&self.url).expect("a loopback address")
    }

    /// Waits until GET of `path` answers 2xx; says how long that took since the call.
    pub fn wait_ready(&mut self, path: &str, at_most: Duration) -> io::Result<Duration> {
        let began = Instant::now();
        loop {
            if self.client().get(path).is_ok_and(|response| response.is_success()) {
                return Ok(began.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}:\n{}", self.log())));
            }
            if began.elapsed() > at_most {
                let message = format!("{path} did not answer within {at_most:?}:\n{}", self.log());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            std::thread::sleep(POLL);
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name, as `kill -NAME` does.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("kill -s {name}: {status}")))
        }
    }

    /// SIGTERM; waits for the end.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        self.stop_by("TERM")
    }

    /// Sends a signal that asks for the end, and waits for it.
    pub fn stop_by(&mut self, signal: &str) -> io::Result<ExitStatus> {
        self.signal(signal)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > STOP_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it did not stop after SIG{signal}"),
                ));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Bytes of disk that the files under a directory occupy, but for directories whose name `leave_out` accepts.
pub fn occupied_bytes(directory: &Path, leave_out: &dyn Fn(&str) -> bool) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() && !leave_out(&entry.file_name().to_string_lossy()) {
            bytes += occupied_bytes(&entry.path(), leave_out);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_this_process() {
        let usage = Usage::of(std::process::id()).expect("/proc of this process");
        assert!(usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes, "{usage:?}");
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let log = std::env::temp_dir().join(format!("tidemark-bench-{}.log", std::process::id()));
        let error =
            Server::start(&mut Command::new("no-such-server"), 1, &log).err().expect("an error");
        assert!(error.to_string().contains("no-such-server cannot be started"), "{error}");
        let _ = fs::remove_file(log);
    }
}
