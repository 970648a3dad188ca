//! Any regular expression compiles or is refused, and matching a value never fails. The first line is the expression, the
//! rest the value.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run regex -- -max_total_time=300 -max_len=128
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_core::model::matcher::{MatchOp, Matcher};

fuzz_target!(|text: &str| {
    let (expression, value) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(matcher) = Matcher::new(MatchOp::Regex, "label", expression) {
        let negated = Matcher::new(MatchOp::NotRegex, "label", expression).expect("the same");
        assert_ne!(matcher.matches(value), negated.matches(value));
    }
});
