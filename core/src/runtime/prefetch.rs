//! Telling the processor which memory is needed soon, so that it is there when it is: for walks over many small
//! allocations, of which each would be a cache miss to wait for.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Has the cache line at the start of `place` fetched. Changes nothing but time.
#[inline(always)]
pub fn prefetch<T: ?Sized>(place: &T) {
    fetch(std::ptr::from_ref(place).cast());
}

/// Has all cache lines of `place` fetched. Changes nothing but time.
#[inline(always)]
pub fn prefetch_all<T>(place: &T) {
    let start = std::ptr::from_ref(place).cast::<u8>();
    (0..size_of::<T>()).step_by(LINE_BYTES).for_each(|at| fetch(start.wrapping_add(at)));
}

#[inline(always)]
fn fetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads and writes nothing that a program can see, whatever the address; every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
