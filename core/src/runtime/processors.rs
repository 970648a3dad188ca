//! Which processors this process may use, and keeping a thread on one of them.

use std::io;
use std::thread;

/// The processors this process may run on, by number; empty when the system does not say, or allots it less time than they have.
pub(super) fn allowed() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid, empty set, and the call writes no more than the size given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every number asked for lies below CPU_SETSIZE.
    let allowed: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect();
    // This also counts the quota of a container.
    let parallelism = thread::available_parallelism().map_or(0, usize::from);
    if parallelism == allowed.len() { allowed } else { Vec::new() }
}

/// Keeps the calling thread on `processor`.
pub(super) fn pin(processor: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is valid; `processor` came out of such a set and so lies below CPU_SETSIZE.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
