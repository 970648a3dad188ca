//! Label functions: what `label_replace` and `label_join` do to the labels of a series, and which labels a group keeps.

use regex::Regex;
use tidemark_core::model::labels::{Labels, METRIC_NAME};

/// Labels that describe a metric and are dropped with its name.
pub const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// The labels without metric name, type and unit.
pub fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| METADATA_LABELS.contains(&name)) {
        labels.filtered(|name| !METADATA_LABELS.contains(&name))
    } else {
        labels.clone()
    }
}

/// The labels with one set; an empty value removes it.
pub fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(name, value);
    builder.build()
}

/// `label_replace(v, destination, replacement, source, regex)` of one series.
#[derive(Clone, Debug)]
pub struct Replace {
    /// The label to set.
    pub destination: String,
    /// Its value, with `$1` and `${name}` for what groups matched.
    pub replacement: String,
    /// The label whose value is matched.
    pub source: String,
    /// Anchored.
    pub regex: Regex,
}

impl Replace {
    /// At most how long the value becomes: each reference stands for a part of the source.
    pub fn value_bytes_max(&self, labels: &Labels) -> usize {
        let source = labels.get(&self.source).unwrap_or("");
        let references = self.replacement.bytes().filter(|byte| *byte == b'$').count();
        self.replacement.len().saturating_add(references.saturating_mul(source.len()))
    }

    /// The new labels; `None` if the source does not match.
    pub fn apply(&self, labels: &Labels) -> Option<Labels> {
        let captures = self.regex.captures(labels.get(&self.source).unwrap_or(""))?;
        let mut value = String::new();
        captures.expand(&self.replacement, &mut value);
        Some(with_label(labels, &self.destination, &value))
    }
}

/// `label_join(v, destination, separator, sources...)` of one series.
#[derive(Clone, Debug)]
pub struct Join {
    /// The label to set.
    pub destination: String,
    /// What stands between the values.
    pub separator: String,
    /// The labels whose values are joined.
    pub sources: Vec<String>,
}

impl Join {
    /// How long the value becomes.
    pub fn value_bytes(&self, labels: &Labels) -> usize {
        let parts = self.sources.iter().map(|source| labels.get(source).unwrap_or("").len());
        let separators = self.separator.len() * self.sources.len().saturating_sub(1);
        parts.fold(separators, usize::saturating_add)
    }

    /// The new labels.
    pub fn apply(&self, labels: &Labels) -> Labels {
        let values: Vec<&str> =
            self.sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
        with_label(labels, &self.destination, &values.join(&self.separator))
    }
}

/// Compares as people do: digits inside the texts count as numbers.
pub fn natural_less(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (Chunks(a), Chunks(b));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (Some(x), Some(y)) => (x, y),
            (None, rest) => return rest.is_some(),
            (Some(_), None) => return false,
        };
        if x == y {
            continue;
        }
        let (x_number, y_number) = (is_digits(x), is_digits(y));
        if !(x_number && y_number) {
            return x < y;
        }
        let (x_value, y_value) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
        let order = x_value.len().cmp(&y_value.len()).then_with(|| x_value.cmp(y_value));
        if order.is_ne() {
            return order.is_lt();
        }
        // Equal numbers: fewer leading zeros first.
        return x.len() < y.len();
    }
}

fn is_digits(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

/// Runs of digits and runs of other characters.
struct Chunks<'a>(&'a str);

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let digits = is_digits(self.0);
        let end = self.0.bytes().position(|b| b.is_ascii_digit() != digits).unwrap_or(self.0.len());
        if self.0.is_empty() {
            return None;
        }
        let (chunk, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_and_joining() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "x-7"), ("b", "y")]);
        let replace = Replace {
            destination: "c".to_owned(),
            replacement: "${n}:$1".to_owned(),
            source: "a".to_owned(),
            regex: tidemark_core::model::matcher::anchored("(.*)-(?P<n>.*)").unwrap(),
        };
        assert_eq!(replace.apply(&labels).unwrap().get("c"), Some("7:x"));
        assert_eq!(replace.value_bytes_max(&labels), 7 + 2 * 3);
        assert!(replace.apply(&labels.without_name().filtered(|n| n == "b")).is_none());
        let join = Join {
            destination: "b".to_owned(),
            separator: "+".to_owned(),
            sources: vec!["b".to_owned(), "none".to_owned(), "a".to_owned()],
        };
        assert_eq!(join.apply(&labels).get("b"), Some("y++x-7"));
        assert_eq!(join.value_bytes(&labels), "y++x-7".len());
    }

    #[test]
    fn natural_order() {
        let mut values = ["a10", "a2", "a1", "b", "2", "10", "a", ""];
        values.sort_by(|a, b| match (natural_less(a, b), natural_less(b, a)) {
            (true, _) => std::cmp::Ordering::Less,
            (_, true) => std::cmp::Ordering::Greater,
            _ => std::cmp::Ordering::Equal,
        });
        assert_eq!(values, ["", "2", "10", "a", "a1", "a2", "a10", "b"]);
    }
}
