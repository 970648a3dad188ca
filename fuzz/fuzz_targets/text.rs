//! Any body in the Prometheus text format is read or refused, and every series that was read is canonical.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run text -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::model::labels::Labels;
use tidemark_ingest::protocols::text;
use tidemark_ingest::rows::Rows;

fuzz_target!(|body: &[u8]| {
    let mut rows = Rows::new();
    let _ = text::decode(body, 0, &mut rows);
    for row in rows.iter() {
        let labels = Labels::from_encoded(row.labels).expect("a canonical encoding");
        assert_eq!(labels.fingerprint(), row.fingerprint);
        assert_eq!(row.samples.len(), 1);
    }
});
