//! Templates of labels and annotations: Go's `text/template` with Prometheus' functions.
//!
//! [`check_template`] says what Go's parser would object to: actions, strings, comments and parentheses that do not
//! close, blocks that do not match, functions and variables that do not exist.

mod check;
mod scan;

pub use check::{TemplateError, check_template};
