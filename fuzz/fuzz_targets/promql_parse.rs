//! Any text is read or refused, and what was read goes round: its canonical text reads as the same canonical text.
//!
//! On a stable toolchain, with `cargo install cargo-fuzz`:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run promql_parse -- -max_total_time=300 -max_len=512
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_query::parser::{ParserOptions, parse, parse_metric, parse_metric_selector};

fuzz_target!(|source: &str| {
    let _ = parse_metric(source);
    let _ = parse_metric_selector(source);
    let Ok(expr) = parse(source, &ParserOptions::ALL) else { return };
    let printed = expr.to_string();
    match parse(&printed, &ParserOptions::ALL) {
        Ok(again) => assert_eq!(again.to_string(), printed),
        Err(error) => panic!("{source:?} printed as {printed:?}: {error}"),
    }
});
