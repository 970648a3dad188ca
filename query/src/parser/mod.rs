//! PromQL's lexer and parser: from text to a checked tree with positions, and back to canonical text.
//!
//! The whole grammar of Prometheus 3.14, with its error texts: [`parse()`] for queries, [`parse_metric_selector`] for
//! `match[]`, [`parse_metric`] for the labels of one series. Nothing here looks at data or at the clock.

pub mod ast;
mod binary;
mod call;
mod check;
pub mod duration;
mod duration_parse;
mod error;
mod lexer;
pub mod number;
mod parse;
mod pretty;
mod print;
pub mod quote;
mod selector;
#[cfg(test)]
mod tests;
mod token;
pub mod walk;

pub use error::{ParseError, line_column};
pub use parse::{ParserOptions, parse, parse_metric, parse_metric_selector};
pub use pretty::pretty;
