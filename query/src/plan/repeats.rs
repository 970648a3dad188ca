//! Common subexpressions: what a query says more than once.
//!
//! Two parts of a query that read the same in canonical text are the same question, as long as they are asked at the same moments:
//! `a / (a + b)` needs `a` once. Parts are counted before lowering, which marks those that repeat; the evaluator keeps the value of
//! the first for the others ([`crate::eval::memo`]). A part that repeats only because what it stands in does is not marked.

use hashbrown::HashMap;

use crate::functions::signature::Function;
use crate::limits::REPEATS_QUERY_BYTES_MAX;
use crate::parser::ast::{Expr, ValueType};
use crate::parser::walk::walk;

/// A part of a query that reads the same elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Parts that read the same have the same number.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

/// The parts of a query that repeat.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<String, Repeat>);

impl Repeats {
    /// Counts the parts of a query. None is counted in a query that is too long to be a person's, or where a selector is not a
    /// vector but a filter, as `info` takes one.
    pub fn find(expr: &Expr) -> Self {
        let pos = expr.pos();
        let mut found: HashMap<String, Repeat> = HashMap::new();
        let mut filters = false;
        if pos.end.saturating_sub(pos.start) <= REPEATS_QUERY_BYTES_MAX {
            walk(expr, &mut |part, _| {
                filters |= matches!(part, Expr::Call(call) if call.function == Function::Info);
                if is_vector(part) {
                    let number = found.len() as u32;
                    found.entry(part.to_string()).or_insert(Repeat { number, count: 0 }).count += 1;
                }
                true
            });
        }
        found.retain(|_, repeat| repeat.count > 1 && !filters);
        Repeats(found)
    }

    /// What is known of a part that repeats.
    pub fn get(&self, part: &Expr) -> Option<Repeat> {
        if self.0.is_empty() || !is_vector(part) {
            return None;
        }
        self.0.get(&part.to_string()).copied()
    }
}

fn is_vector(part: &Expr) -> bool {
    matches!(part, Expr::Vector(_) | Expr::Aggregate(_) | Expr::Call(_) | Expr::Binary(_))
        && part.value_type() == ValueType::Vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    /// The parts that repeat, each with how often.
    fn repeats(query: &str) -> Vec<(String, u32)> {
        let expr = parse(query, &ParserOptions::ALL).unwrap();
        let mut found: Vec<_> =
            Repeats::find(&expr).0.into_iter().map(|(text, r)| (text, r.count)).collect();
        found.sort();
        found
    }

    #[test]
    fn parts_that_read_the_same_are_counted() {
        assert_eq!(repeats("a / (a + b)"), [("a".to_owned(), 2)]);
        assert_eq!(repeats("sum(a) / sum( a )"), [("a".to_owned(), 2), ("sum(a)".to_owned(), 2)]);
        assert!(repeats("rate(a[5m]) / rate(a[6m])").is_empty());
        assert!(repeats("a offset 5m - a").is_empty());
        assert!(repeats("time() + time()").is_empty());
        assert!(repeats("info(a, {b=\"c\"}) + a").is_empty());
    }
}
