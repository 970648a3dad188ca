//! Rules: what they are, how files of them are read, and what is checked.
//!
//! * [`model`]: groups and rules as the rest of the program sees them, parsed and valid;
//! * [`file`](self::file): the YAML as it is written, with the place of every value;
//! * [`check`]: from the one to the other, with all errors of a file at once.

mod check;
mod file;
mod model;

pub use check::{duplicates, load_rules, parse_rules};
pub use model::{Rule, RuleError, RuleFile, RuleGroup, RuleKind};
