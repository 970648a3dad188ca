//! Any payload of a record, of the log or of a checkpoint, is applied to a head or refused, and applying it twice begins no series twice.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run records -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::head::Head;
use tidemark_core::head::record::decode;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, payload)) = bytes.split_first() else { return };
    let mut head = Head::new();
    let first = decode(kind, payload, &mut head);
    let series = head.series_count();
    let second = decode(kind, payload, &mut head);
    assert_eq!(first, second);
    assert_eq!(head.series_count(), series);
    head.forget_unclaimed();
});
