//! Any body in OpenMetrics text is read or refused, to the labels of each sample.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run openmetrics -- -max_total_time=300
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::model::labels::Labels;
use tidemark_ingest::label_set::LabelSet;
use tidemark_ingest::protocols::lines::Entry;
use tidemark_ingest::protocols::openmetrics::Parser;

fuzz_target!(|body: &[u8]| {
    let (mut parser, mut labels, mut encoded) = (Parser::new(body), LabelSet::new(), Vec::new());
    while let Ok(Some(entry)) = parser.next_entry() {
        let Entry::Sample(line) = entry else { continue };
        labels.clear();
        encoded.clear();
        if line.labels(body, &mut labels).is_ok() && labels.encode(&mut encoded).is_ok() {
            assert!(Labels::from_encoded(&encoded).is_some());
        }
    }
});
