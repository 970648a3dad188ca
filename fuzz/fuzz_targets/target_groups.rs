//! Any file or answer of target groups is read or refused; what is read carries its source and its label.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run target_groups -- -max_total_time=300 -max_len=512
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_ingest::discovery::group::{from_json, from_yaml};

fuzz_target!(|bytes: &[u8]| {
    let source = |i: usize| format!("s:{i}");
    let label = ("__meta_x", "y");
    let json = from_json(bytes, source, label);
    let yaml = std::str::from_utf8(bytes).map(|text| from_yaml(text, source, label));
    let read = json.into_iter().chain(yaml.into_iter().flatten());
    for groups in read {
        for (i, group) in groups.iter().enumerate() {
            assert_eq!(group.source, format!("s:{i}"));
            assert_eq!(group.labels["__meta_x"], "y");
            assert!(group.targets.iter().all(|target| target.contains_key("__address__")));
        }
    }
});
