//! Any body of delimited metric families is read or refused, to the labels of each sample; no key stands for two series.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run exposition_proto -- -max_total_time=300
//! ```

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use tidemark_ingest::label_set::LabelSet;
use tidemark_ingest::protocols::exposition_proto::{Entry, Options, Parser};

fuzz_target!(|body: &[u8]| {
    for (native, classic, convert) in [(false, true, false), (true, false, false), (true, true, true)] {
        check(body, Options { native, classic, convert });
    }
});

fn check(body: &[u8], options: Options) {
    let mut parser = Parser::new(body, options);
    let (mut labels, mut keys) = (LabelSet::new(), HashMap::new());
    while let Ok(Some(entry)) = parser.next_entry() {
        let Entry::Sample(sample) = entry else { continue };
        if let Some(histogram) = sample.histogram {
            assert!(histogram.schema <= 8 && histogram.count >= 0.0);
        }
        let _ = sample.exemplars(0, |exemplar| assert!(exemplar.labels.len() <= 128));
        labels.clear();
        let mut encoded = Vec::new();
        if sample.labels(&mut labels).is_ok() && labels.encode(&mut encoded).is_ok() {
            let known = keys.insert(sample.key.to_vec(), encoded.clone());
            assert!(known.is_none_or(|known| known == encoded));
        }
    }
}
