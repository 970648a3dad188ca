//! Looks at the system before the first executor is made, and says in plain words what is missing and how to get it.
//!
//! Without this an executor that cannot have an `io_uring` panics deep inside glommio. The facts are gathered by one function and
//! judged by another, so that every verdict can be tested on any machine.

use io_uring::{IoUring, Probe, opcode};
use std::io;

/// Lockable memory without which glommio makes no executor.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Entries of the ring that is made and thrown away: enough for the kernel to say yes or no.
const TRIAL_ENTRIES: u32 = 8;

/// The operations that executors, sockets and files are made of.
const OPERATIONS: [(u8, &str); 14] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Read::CODE, "READ"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
];

/// What is missing, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The administrator switched `io_uring` off.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {value}). Allow it with \
         `sysctl -w kernel.io_uring_disabled=0`, and in /etc/sysctl.d/ to keep it so"
    )]
    SwitchedOff {
        /// The value of the sysctl: 1 allows it to one group only, 2 to nobody.
        value: u8,
    },
    /// The kernel allows `io_uring`, but a filter in front of it does not.
    #[error(
        "io_uring is refused to this process, most likely by the seccomp filter of a container. Allow the system calls \
         io_uring_setup, io_uring_enter and io_uring_register: `docker run --security-opt seccomp=FILE` with a profile that \
         names them (or `seccomp=unconfined`), in Kubernetes a `securityContext.seccompProfile`, in systemd a \
         `SystemCallFilter` that names them"
    )]
    Filtered,
    /// This kernel has none.
    #[error(
        "this kernel has no io_uring: Linux 5.11 or later is needed, built with CONFIG_IO_URING"
    )]
    Absent,
    /// This kernel's is too old.
    #[error("the io_uring of this kernel lacks {operations}: use Linux 5.11 or later")]
    TooOld {
        /// The missing operations.
        operations: String,
    },
    /// Too little memory may be locked.
    #[error(
        "only {allowed_kib} KiB of memory may be locked (RLIMIT_MEMLOCK), {needed_kib} KiB are needed. Raise it: \
         `ulimit -l 8192` in a shell started by root, `LimitMEMLOCK=8M` in a systemd unit, `docker run --ulimit memlock=8388608`",
        needed_kib = MEMLOCK_BYTES_MIN / 1024
    )]
    LockedMemory {
        /// The hard limit, KiB.
        allowed_kib: u64,
    },
    /// Anything else that `io_uring_setup` says.
    #[error("cannot set up an io_uring: {reason}")]
    Setup {
        /// The system's words.
        reason: String,
    },
}

/// What the system said when it was asked.
struct Facts {
    /// What may be locked after the limit was raised as far as it goes.
    memlock_bytes: u64,
    /// `kernel.io_uring_disabled`, where it exists.
    switched_off: Option<u8>,
    /// The missing operations, or the error number of the trial.
    ring: Result<Vec<&'static str>, i32>,
}

/// Raises the limits of lockable memory and of open files as far as this process may, then checks that executors can be made.
pub fn check() -> Result<(), PreflightError> {
    // A shell allows 1,024 files; a server has a connection for each of its targets.
    raise_limit(libc::RLIMIT_NOFILE);
    let facts = Facts {
        memlock_bytes: raise_limit(libc::RLIMIT_MEMLOCK),
        switched_off: std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        ring: try_ring().map_err(|error| error.raw_os_error().unwrap_or(0)),
    };
    judge(&facts)
}

fn judge(facts: &Facts) -> Result<(), PreflightError> {
    let missing = match &facts.ring {
        Ok(missing) => missing,
        Err(libc::EPERM | libc::EACCES) => {
            return Err(match facts.switched_off {
                Some(value @ 1..) => PreflightError::SwitchedOff { value },
                Some(0) | None => PreflightError::Filtered,
            });
        }
        Err(libc::ENOSYS) => return Err(PreflightError::Absent),
        Err(libc::ENOMEM) => {
            return Err(PreflightError::LockedMemory { allowed_kib: facts.memlock_bytes / 1024 });
        }
        Err(number) => {
            let reason = io::Error::from_raw_os_error(*number).to_string();
            return Err(PreflightError::Setup { reason });
        }
    };
    if !missing.is_empty() {
        return Err(PreflightError::TooOld { operations: missing.join(", ") });
    }
    if facts.memlock_bytes < MEMLOCK_BYTES_MIN {
        return Err(PreflightError::LockedMemory { allowed_kib: facts.memlock_bytes / 1024 });
    }
    Ok(())
}

/// Makes a small ring and returns the operations it lacks.
fn try_ring() -> io::Result<Vec<&'static str>> {
    let ring = IoUring::new(TRIAL_ENTRIES)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let missing = OPERATIONS.iter().filter(|(code, _)| !probe.is_supported(*code));
    Ok(missing.map(|(_, name)| *name).collect())
}

/// Raises the soft limit of a resource to the hard one and returns what holds then.
fn raise_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the structure given.
    unsafe {
        if libc::getrlimit(resource, &raw mut limit) != 0 {
            return u64::MAX;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(resource, &raw const raised) == 0 {
            limit = raised;
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Facts {
        Facts { memlock_bytes: 8 << 20, switched_off: Some(0), ring: Ok(Vec::new()) }
    }

    #[test]
    fn this_machine_passes() {
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn each_lack_is_named_with_its_remedy() {
        let cases = [
            (
                Facts { ring: Err(libc::EPERM), switched_off: Some(2), ..healthy() },
                "sysctl -w kernel.io_uring_disabled=0",
            ),
            (Facts { ring: Err(libc::EPERM), ..healthy() }, "seccomp"),
            (Facts { ring: Err(libc::EPERM), switched_off: None, ..healthy() }, "seccomp"),
            (Facts { ring: Err(libc::ENOSYS), ..healthy() }, "5.11"),
            (Facts { ring: Err(libc::ENOMEM), memlock_bytes: 65536, ..healthy() }, "64 KiB"),
            (Facts { ring: Err(libc::EMFILE), ..healthy() }, "Too many open files"),
            (Facts { ring: Ok(vec!["CONNECT", "STATX"]), ..healthy() }, "CONNECT, STATX"),
            (Facts { memlock_bytes: 65536, ..healthy() }, "LimitMEMLOCK=8M"),
        ];
        for (facts, remedy) in cases {
            let message = judge(&facts).unwrap_err().to_string();
            assert!(message.contains(remedy), "{message}");
        }
        assert_eq!(judge(&healthy()), Ok(()));
    }
}
