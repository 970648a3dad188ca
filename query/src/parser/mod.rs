//! PromQL's lexer and parser: from text to a checked tree with positions, and back to canonical text.

pub mod ast;
pub mod walk;
