//! Any body is decompressed or refused within the bound, and any message is read or refused; what was read is canonical
//! and in order of time.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run remote_write_v1 -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::model::labels::Labels;
use tidemark_ingest::protocols::remote_write_v1::{decode, decompress};
use tidemark_ingest::rows::Rows;

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    let mut message = Vec::new();
    if decompress(body, BYTES_MAX, &mut message).is_ok() {
        assert!(message.len() <= BYTES_MAX);
        check(&message);
    }
    check(body);
});

fn check(message: &[u8]) {
    let mut rows = Rows::new();
    let _ = decode(message, &mut rows);
    for row in rows.iter() {
        let labels = Labels::from_encoded(row.labels).expect("a canonical encoding");
        assert_eq!(labels.fingerprint(), row.fingerprint);
        assert!(labels.get("__name__").is_some());
        assert!(row.samples.is_sorted_by_key(|sample| sample.timestamp_ms));
    }
}
