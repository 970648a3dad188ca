//! A value that one writer replaces and any core reads, without locks and without copying.
//!
//! The block catalogue, the configuration, the state of rules: read by every core all the time, replaced now and then. The
//! writer swaps a pointer. A reader *pins* the current epoch (two stores to memory of its own thread), follows the pointer, and
//! unpins. A replaced value is dropped once every reader that could have seen it has unpinned.
//!
//! ```text
//!   Publisher ──publish(v3)──▶ [ pointer ] ──▶ v3 ◀── read ── Published (core 0)
//!                                         v2 ◀── read ── Published (core 1), pinned before the swap: v2 waits for it
//! ```
//!
//! A pin holds back every reclamation of the process, so none may live across an await: [`Published::read`] lends the value to a
//! closure and takes it back. Who needs it longer keeps an `Arc` inside the value and clones that.

use crossbeam_epoch::{self as epoch, Atomic, Owned};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Begins with `value`; the one writer and the first of the readers.
pub fn published<T: Send + Sync + 'static>(value: T) -> (Publisher<T>, Published<T>) {
    let cell = Arc::new(Cell(Atomic::new(value)));
    (Publisher(Arc::clone(&cell)), Published(cell))
}

/// The pointer. Never null.
struct Cell<T: Send + Sync + 'static>(Atomic<T>);

impl<T: Send + Sync + 'static> Drop for Cell<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else refers to the cell any more, so nobody can load the pointer; it was never null, and `publish` took
        // every earlier value out.
        drop(unsafe { std::mem::take(&mut self.0).into_owned() });
    }
}

/// The only one who replaces the value.
pub struct Publisher<T: Send + Sync + 'static>(Arc<Cell<T>>);

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Readers see `value` from now on. The former value is dropped here if no core is reading, otherwise by a later
    /// [`publish`](Publisher::publish) or [`reclaim`] of any thread.
    pub fn publish(&mut self, value: T) {
        let guard = epoch::pin();
        let former = self.0.0.swap(Owned::new(value), Ordering::AcqRel, &guard);
        // SAFETY: the swap took the only pointer to it that a reader could still load; it is not null.
        unsafe { guard.defer_destroy(former) };
        guard.flush();
        drop(guard);
        reclaim();
    }

    /// Another reader.
    pub fn reader(&self) -> Published<T> {
        Published(Arc::clone(&self.0))
    }

    /// Calls `f` with the current value.
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        self.0.read(f)
    }
}

/// Reads what was published last. Cheap to clone, one for each core.
pub struct Published<T: Send + Sync + 'static>(Arc<Cell<T>>);

impl<T: Send + Sync + 'static> Published<T> {
    /// Calls `f` with the current value. Values are seen in the order they were published in.
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        self.0.read(f)
    }
}

impl<T: Send + Sync + 'static> Cell<T> {
    fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        let guard = epoch::pin();
        // SAFETY: never null, and what is loaded under a pin is not dropped before the pin ends.
        f(unsafe { self.0.load(Ordering::Acquire, &guard).deref() })
    }
}

impl<T: Send + Sync + 'static> Clone for Published<T> {
    fn clone(&self) -> Self {
        Published(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|value| f.debug_tuple("Published").field(value).finish())
    }
}

/// Epochs that must pass before what was replaced in one of them is dropped.
const GRACE_EPOCHS: usize = 3;

/// Drops replaced values that nobody reads any more. To be called now and then, by a core's tick.
pub fn reclaim() {
    for _ in 0..GRACE_EPOCHS {
        epoch::pin().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    /// Miri runs the same code a thousand times slower.
    const VERSIONS: u64 = if cfg!(miri) { 50 } else { 20_000 };

    /// A value that says whether it is whole, and counts how many of its kind live.
    struct Version {
        number: u64,
        twice: Box<u64>,
        living: Arc<AtomicUsize>,
    }

    impl Version {
        fn new(number: u64, living: &Arc<AtomicUsize>) -> Self {
            living.fetch_add(1, Ordering::Relaxed);
            Version { number, twice: Box::new(number * 2), living: Arc::clone(living) }
        }
    }

    impl Drop for Version {
        fn drop(&mut self) {
            *self.twice = u64::MAX;
            self.living.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Other tests of this process may be pinned for a moment.
    fn reclaim_until(living: &AtomicUsize, expected: usize) {
        while living.load(Ordering::Relaxed) != expected {
            reclaim();
            thread::yield_now();
        }
    }

    #[test]
    fn readers_on_other_threads_see_whole_values_in_order() {
        let living = Arc::new(AtomicUsize::new(0));
        let (mut publisher, reader) = published(Version::new(0, &living));
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                let (reader, ended) = (reader.clone(), &ended);
                scope.spawn(move || {
                    let mut last = 0;
                    while !ended.load(Ordering::Acquire) {
                        last = reader.read(|version| {
                            assert_eq!(version.number * 2, *version.twice);
                            assert!(version.number >= last);
                            version.number
                        });
                    }
                    assert_eq!(reader.read(|version| version.number), VERSIONS);
                });
            }
            for number in 1..=VERSIONS {
                publisher.publish(Version::new(number, &living));
            }
            ended.store(true, Ordering::Release);
        });
        reclaim_until(&living, 1);
        drop(publisher);
        assert_eq!(reader.read(|version| version.number), VERSIONS);
        drop(reader);
        assert_eq!(living.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_value_being_read_outlives_its_replacement() {
        let living = Arc::new(AtomicUsize::new(0));
        let (mut publisher, reader) = published(Version::new(1, &living));
        reader.read(|version| {
            publisher.publish(Version::new(2, &living));
            reclaim();
            assert_eq!((version.number, *version.twice), (1, 2));
            assert_eq!(publisher.read(|version| version.number), 2);
            assert_eq!(living.load(Ordering::Relaxed), 2);
        });
        reclaim_until(&living, 1);
    }

    #[test]
    fn a_panic_while_reading_ends_the_pin() {
        let (mut publisher, reader) = published(1);
        let panicked = thread::spawn({
            let reader = reader.clone();
            move || reader.read(|_| panic!("on purpose"))
        });
        assert!(panicked.join().is_err());
        publisher.publish(2);
        assert_eq!(format!("{reader:?}"), "Published(2)");
    }
}
