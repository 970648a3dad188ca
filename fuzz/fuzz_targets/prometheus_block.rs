//! Any bytes are a part of a Prometheus block or are refused.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run prometheus_block -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::model::columns::SampleColumns;
use tidemark_ingest::backfill::prometheus::{chunk, series, symbols, tombstones};

fuzz_target!(|bytes: &[u8]| {
    // A checksum that fits, or nothing behind it would be reached.
    let mut bytes = bytes.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    let _ = chunk(&bytes, &mut SampleColumns::new());
    let _ = series(&bytes);
    let _ = symbols(&[&(bytes.len() as u32 - 4).to_be_bytes()[..], &bytes].concat());
    let _ = tombstones(&[&[0x01, 0x30, 0xba, 0x30, 1][..], &bytes].concat());
});
