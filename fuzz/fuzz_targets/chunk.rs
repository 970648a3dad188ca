//! Any bytes are a chunk or are refused, and what a chunk holds is sealed and read again bit by bit.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run chunk -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::chunk::{self, Effort, Encoding};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::time::TimeRange;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[encoding, effort], chunk)) = bytes.split_first_chunk() else { return };
    let Ok(encoding) = Encoding::from_u8(encoding) else { return };
    let mut samples = SampleColumns::new();
    if chunk::decode(encoding, chunk, TimeRange::ALL, &mut samples).is_err() || samples.is_empty() {
        return;
    }
    if !samples.timestamps.is_sorted() {
        return; // A XOR chunk tells steps, and damage may let them lead back.
    }
    let effort = if effort % 2 == 0 { Effort::Fast } else { Effort::Dense };
    let (encoding, sealed) = chunk::seal(&samples.timestamps, &samples.values, effort);
    let mut again = SampleColumns::new();
    chunk::decode(encoding, &sealed, TimeRange::ALL, &mut again).expect("what was sealed");
    assert_eq!(again.timestamps, samples.timestamps);
    let bits = |columns: &SampleColumns| -> Vec<u64> {
        columns.values.iter().map(|value| value.to_bits()).collect()
    };
    assert_eq!(bits(&again), bits(&samples));
});
