//! Any rule file is taken whole or refused with a place, and the expressions of what was taken can be printed.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run rule_file -- -max_total_time=300 -max_len=1024
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_alerting::rules::{duplicates, parse_rules};
use tidemark_alerting::template::check_template;
use tidemark_query::parser::ParserOptions;

fuzz_target!(|text: &str| {
    let _ = check_template(text);
    match parse_rules("fuzz.yml", text, ParserOptions::ALL) {
        Ok(file) => {
            let _ = duplicates(&file);
            for rule in file.groups.iter().flat_map(|group| &group.rules) {
                let _ = rule.expr.to_string();
            }
        }
        Err(errors) => assert!(!errors.is_empty()),
    }
});
