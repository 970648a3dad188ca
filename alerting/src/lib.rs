//! Recording and alerting rules.
//!
//! A rule file says which PromQL expressions are evaluated at which interval, and what becomes of the results. Here such
//! files are read and checked as `promtool check rules` does it; expressions and templates are parsed, so that what a
//! server accepts it can also run.
//!
//! The three types to know:
//! * [`rules::RuleFile`]: the groups of one file, checked;
//! * [`rules::Rule`]: one expression, and whether it records or alerts;
//! * [`rules::RuleError`]: what is wrong and where: file, line, column, group, rule.

pub mod limits;
pub mod rules;
pub mod template;
