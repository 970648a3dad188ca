//! The process as the kernel sees it: the `process_*` families every Prometheus client library has.

use std::fs;

use super::exposition::{Exposition, Kind};

/// Ticks a second of the times in `/proc`; fixed on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Sizes in `/proc/self/status` are in KiB.
const KIB: f64 = 1024.0;

/// Writes the families; those that `/proc` does not tell are left out.
pub(crate) fn write(text: &mut Exposition) {
    if let Some(stat) = Stat::read() {
        let seconds = stat.cpu_ticks / TICKS_PER_SECOND;
        text.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Total user and system CPU time spent in seconds.",
            seconds,
        );
        text.single(
            "process_threads",
            Kind::Gauge,
            "Number of OS threads in the process.",
            stat.threads,
        );
        if let Some(boot) = boot_seconds() {
            let start = boot + stat.start_ticks / TICKS_PER_SECOND;
            text.single(
                "process_start_time_seconds",
                Kind::Gauge,
                "Start time of the process since unix epoch in seconds.",
                start,
            );
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "Resident memory size in bytes."),
        ("VmSize:", "process_virtual_memory_bytes", "Virtual memory size in bytes."),
        (
            "VmHWM:",
            "process_resident_memory_peak_bytes",
            "Largest resident memory size so far in bytes.",
        ),
    ] {
        if let Some(kib) = value_of(&status, field) {
            text.single(name, Kind::Gauge, help, kib * KIB);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.single(
            "process_open_fds",
            Kind::Gauge,
            "Number of open file descriptors.",
            open.count(),
        );
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft =
        limits.lines().find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(max) = soft.and_then(|max| max.parse::<f64>().ok()) {
        text.single(
            "process_max_fds",
            Kind::Gauge,
            "Maximum number of open file descriptors.",
            max,
        );
    }
}

/// The number that follows `field` at the start of a line.
fn value_of(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn boot_seconds() -> Option<f64> {
    value_of(&fs::read_to_string("/proc/stat").ok()?, "btime ")
}

/// What is read of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: u64,
    start_ticks: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The program's name may hold spaces and parentheses: fields are counted from its last `)`.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<f64>().ok();
        Some(Stat {
            cpu_ticks: number(11)? + number(12)?,
            threads: number(17)? as u64,
            start_ticks: number(19)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_odd_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 5 0 1234 1 1";
        let expected = Stat { cpu_ticks: 300.0, threads: 5, start_ticks: 1234.0 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process() {
        let mut text = Exposition::default();
        write(&mut text);
        let text = text.text();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
