//! Text for people: what does not fit on a line is broken at its operators and parentheses and indented.
//!
//! A node that fits is written as its canonical text. One that does not puts its children on lines of their own, one
//! level deeper. This is Prometheus' `promql format`, line for line.

use std::fmt::{self, Write};

use super::ast::Expr;
use super::print::{AggregateOperator, BinaryOperator, SubquerySuffix};

/// The most bytes on a line that is not broken.
const LINE_BYTES_MAX: usize = 100;

/// The expression over as many lines as it needs.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0);
    out
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    if let Expr::Unary(unary) = expr {
        indent(out, level);
        push(out, format_args!("{}", unary.op));
        let mut child = String::new();
        write_pretty(&mut child, &unary.expr, level);
        out.push_str(child.trim());
        return;
    }
    if fits(expr) {
        // A subquery that fits is the one node whose place its parent forgets.
        if !matches!(expr, Expr::Subquery(_)) {
            indent(out, level);
        }
        push(out, format_args!("{expr}"));
        return;
    }
    match expr {
        Expr::Aggregate(aggregate) => {
            indent(out, level);
            push(out, format_args!("{}(\n", AggregateOperator(aggregate)));
            if let Some(param) = &aggregate.param {
                write_pretty(out, param, level + 1);
                out.push_str(",\n");
            }
            write_pretty(out, &aggregate.expr, level + 1);
            close(out, level);
        }
        Expr::Binary(binary) => {
            write_pretty(out, &binary.lhs, level + 1);
            out.push('\n');
            indent(out, level);
            push(out, format_args!("{}\n", BinaryOperator(binary)));
            write_pretty(out, &binary.rhs, level + 1);
        }
        Expr::Call(call) => {
            indent(out, level);
            push(out, format_args!("{}(\n", call.function.name()));
            for (i, arg) in call.args.iter().enumerate() {
                out.push_str(if i > 0 { ",\n" } else { "" });
                write_pretty(out, arg, level + 1);
            }
            close(out, level);
        }
        Expr::Paren(paren) => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(out, &paren.expr, level + 1);
            close(out, level);
        }
        Expr::Subquery(subquery) => {
            write_pretty(out, &subquery.expr, level);
            push(out, format_args!("{}", SubquerySuffix(subquery)));
        }
        leaf => {
            indent(out, level);
            push(out, format_args!("{leaf}"));
        }
    }
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}

/// Whether the canonical text is short. Stops writing as soon as it is not.
fn fits(expr: &Expr) -> bool {
    struct Room(usize);
    impl Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    write!(Room(LINE_BYTES_MAX), "{expr}").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    fn check(source: &str, expected: &str) {
        let expr = parse(source, &ParserOptions::ALL).unwrap();
        let text = pretty(&expr);
        assert_eq!(text, expected);
        let again = parse(&text, &ParserOptions::ALL).unwrap();
        assert_eq!(again.to_string(), expr.to_string());
    }

    #[test]
    fn short_queries_stay_on_a_line() {
        check("sum  by(a) (rate(b[5m]))", "sum by (a) (rate(b[5m]))");
    }

    #[test]
    fn long_queries_are_broken() {
        check(
            r#"topk by (job) (5, sum by (job) (rate(http_requests_total{job="api", code=~"5.."}[5m])) / -sum by (job) (rate(http_requests_total[5m])))"#,
            r#"topk by (job) (
  5,
    sum by (job) (rate(http_requests_total{code=~"5..",job="api"}[5m]))
  /
    -sum by (job) (rate(http_requests_total[5m]))
)"#,
        );
        check(
            r#"max_over_time((label_replace(some_long_metric_name{job="api"}, "destination", "$1", "source", "(.*)") > bool 5 + 5 + 5)[1h:])"#,
            r#"max_over_time(
  (
      label_replace(some_long_metric_name{job="api"}, "destination", "$1", "source", "(.*)")
    > bool
      5 + 5 + 5
  )[1h:]
)"#,
        );
    }
}
