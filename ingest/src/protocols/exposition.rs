//! A body that a scrape brought, in whichever line-based format.

use super::lines::{Entry, SyntaxError};
use super::{openmetrics, text};

/// Pulls entries out of a body of either format.
#[derive(Clone, Debug)]
pub enum Exposition<'a> {
    /// Prometheus text.
    Text(text::Parser<'a>),
    /// OpenMetrics text.
    OpenMetrics(openmetrics::Parser<'a>),
}

impl<'a> Exposition<'a> {
    /// The next entry, or `None` at the end. After an error there is nothing more to pull.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, SyntaxError> {
        match self {
            Exposition::Text(parser) => parser.next_entry(),
            Exposition::OpenMetrics(parser) => parser.next_entry(),
        }
    }
}
