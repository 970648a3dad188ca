//! Any query of a URL is read as a request or refused with status 400.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run api_params -- -max_total_time=300 -max_len=256
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_query::api::query::{InstantRequest, RangeRequest, STEPS_MAX};
use tidemark_query::api::{Params, failure};

fuzz_target!(|text: &str| {
    let params = Params::parse(text, text.as_bytes());
    let _ = params.selectors();
    if let Err(error) = InstantRequest::new(&params, 0) {
        assert_eq!(failure(&error).status, 400);
    }
    match RangeRequest::new(&params) {
        Ok(range) => {
            assert!(range.step_ms > 0 && range.start_ms <= range.end_ms);
            let length = i128::from(range.end_ms) - i128::from(range.start_ms);
            assert!(length / i128::from(range.step_ms) <= i128::from(STEPS_MAX));
        }
        Err(error) => assert_eq!(failure(&error).status, 400),
    }
});
