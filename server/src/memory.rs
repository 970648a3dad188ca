//! The memory watermark: while the process holds more than its part of the memory it may use, new series are refused.
//!
//! Series that exist keep flowing and queries are answered; the log and `tidemark_memory_shedding` say that it happens. It ends
//! once the process is a twentieth below the mark, so that it does not flap.

use std::cell::Cell;
use std::fs;

use tikv_jemalloc_ctl::{self as jemalloc, epoch, stats};

/// A page of memory, as `/proc/self/statm` counts.
const PAGE_BYTES: u64 = 4096;

/// Bytes above which new series are shed, and whether they are.
#[derive(Debug)]
pub(crate) struct Watermark {
    bytes: Option<u64>,
    shedding: Cell<bool>,
}

impl Watermark {
    /// So many percent of what the process may use; none if that is unknown or `percent` is 0.
    pub(crate) fn of_percent(percent: u8) -> Self {
        let bytes = if percent == 0 { None } else { usable_bytes() };
        Watermark::at(bytes.map(|bytes| bytes / 100 * u64::from(percent)))
    }

    fn at(bytes: Option<u64>) -> Self {
        Watermark { bytes, shedding: Cell::new(false) }
    }

    /// Looks at what the process holds; says whether new series are to be shed, if that has changed.
    pub(crate) fn look(&self) -> Option<bool> {
        self.judge(resident_bytes()?)
    }

    fn judge(&self, resident: u64) -> Option<bool> {
        let mark = self.bytes?;
        let now = resident > if self.shedding.get() { mark - mark / 20 } else { mark };
        (self.shedding.replace(now) != now).then_some(now)
    }

    /// Whether new series are shed now.
    pub(crate) fn is_shedding(&self) -> bool {
        self.shedding.get()
    }

    /// The mark in bytes; 0 if there is none.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.unwrap_or(0)
    }
}

/// The smaller one of the machine's memory and the limit of the control group.
fn usable_bytes() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|t| t.split_whitespace().next()?.parse::<u64>().ok());
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    [total.map(|kib| kib * 1024), group].into_iter().flatten().min()
}

/// What the process holds of the machine's memory.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

/// Memory that the allocator holds and nobody uses, by part: what is left over in pages that are in use, and pages that are free, with what the
/// allocator needs for itself.
pub(crate) fn allocator_parts() -> [(&'static str, u64); 2] {
    // Its figures are those of this moment.
    let _ = epoch::advance();
    let bytes = |read: jemalloc::Result<usize>| read.unwrap_or(0) as u64;
    let active = bytes(stats::active::read());
    [
        ("allocator_fragments", active.saturating_sub(bytes(stats::allocated::read()))),
        ("allocator_free", bytes(stats::resident::read()).saturating_sub(active)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_between_others_is_told_as_fragments() {
        let fragments = || allocator_parts()[0].1;
        let mut kept: Vec<_> = (0..4096).map(|_| Some(vec![1_u8; 1024])).collect();
        let before = fragments();
        for bytes in kept.iter_mut().step_by(2) {
            *bytes = None;
        }
        assert!(fragments() >= before + (1 << 20), "{before}, {}", fragments());
        assert_eq!(kept.iter().flatten().count(), 2048);
    }

    #[test]
    fn shedding_ends_below_the_mark() {
        let mark = Watermark::at(Some(1000));
        for (resident, expected) in [
            (900, None),
            (1001, Some(true)),
            (990, None),
            (951, None),
            (950, Some(false)),
            (990, None),
        ] {
            assert_eq!(mark.judge(resident), expected, "{resident}");
        }
        assert_eq!(Watermark::at(None).judge(u64::MAX), None);
        assert!(Watermark::of_percent(90).bytes() > 0 && Watermark::of_percent(0).bytes() == 0);
    }
}
