//! Signals from one thread of the process to another: one that ends a sleep, one that makes a thread print its stack.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Whether the kernel says that the thread sleeps and can be woken; `true` when it says nothing.
pub(super) fn is_asleep(thread_id: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/self/task/{thread_id}/stat")) else {
        return true;
    };
    // "number (name) state ...", and the name may hold parentheses.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('S'))
}

/// Ends a sleep. By default it is ignored, and hardly anybody uses it.
const RESCUE_SIGNAL: libc::c_int = libc::SIGURG;
/// Makes a thread print its stack.
const STACK_SIGNAL: libc::c_int = libc::SIGUSR2;

/// Does nothing; that there is a handler makes the signal end a system call.
extern "C" fn interrupt(_signal: libc::c_int) {}

/// Set by the signal handler once the stack is printed.
static STACK_PRINTED: AtomicBool = AtomicBool::new(false);

/// Allocating in a signal handler may deadlock; the process is lost anyway, and the watcher does not wait for ever.
extern "C" fn print_stack(_signal: libc::c_int) {
    let stack = std::backtrace::Backtrace::force_capture();
    eprintln!("stack of the thread that does not answer:\n{stack}");
    STACK_PRINTED.store(true, Ordering::Release);
}

/// Makes the thread print its own stack, and gives it two seconds to do so.
pub(super) fn print_stack_of(thread_id: i32) {
    if handle(STACK_SIGNAL, print_stack).is_err() {
        return;
    }
    signal(STACK_SIGNAL, thread_id);
    for _ in 0..200 {
        if STACK_PRINTED.load(Ordering::Acquire) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Installs a handler that restarts system calls where the kernel can.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is valid; the handler has the signature that goes with these flags.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes [`send`] harmless; to be called once before.
pub(super) fn prepare() -> io::Result<()> {
    handle(RESCUE_SIGNAL, interrupt)
}

/// Ends the sleep of a thread of this process, if it sleeps in a system call now.
pub(super) fn send(thread_id: i32) {
    signal(RESCUE_SIGNAL, thread_id);
}

/// Sends `signal` to one thread of this process.
fn signal(signal: libc::c_int, thread_id: i32) {
    // SAFETY: numbers only. If the thread has ended, the call fails or at worst interrupts another thread of ours for nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread_id, signal) };
}
