//! The syntax tree as JSON, for the tree view of a user interface. Members are in order of their names.

use tidemark_core::model::matcher::Matcher;

use super::json::{self, Object};
use crate::functions::signature::Variadic;
use crate::parser::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, DurationExpr, EdgeMode, Expr,
    MatrixSelector, SubqueryExpr, VectorMatching, VectorSelector,
};
use crate::parser::number::Plain;

type Out = Vec<u8>;

/// Writes the node and all below it.
pub(super) fn tree(out: &mut Out, expr: &Expr) {
    match expr {
        Expr::Aggregate(aggregate) => write_aggregate(out, aggregate),
        Expr::Binary(binary) => write_binary(out, binary),
        Expr::Call(call) => write_call(out, call),
        Expr::Matrix(matrix) => write_matrix(out, matrix),
        Expr::Subquery(subquery) => write_subquery(out, subquery),
        Expr::Vector(selector) => write_selector(out, selector),
        Expr::Number(n) => Object::open(out)
            .text("type", "numberLiteral")
            .text("val", &Plain(n.value).to_string())
            .close(),
        Expr::String(s) => {
            Object::open(out).text("type", "stringLiteral").text("val", &s.value).close();
        }
        Expr::Paren(paren) => Object::open(out)
            .member("expr", |out| tree(out, &paren.expr))
            .text("type", "parenExpr")
            .close(),
        Expr::Unary(unary) => Object::open(out)
            .member("expr", |out| tree(out, &unary.expr))
            .text("op", &unary.op.to_string())
            .text("type", "unaryExpr")
            .close(),
    }
}

fn null(out: &mut Out) {
    json::raw(out, "null");
}

fn optional<T>(out: &mut Out, value: Option<T>, write: impl FnOnce(&mut Out, T)) {
    match value {
        Some(value) => write(out, value),
        None => null(out),
    }
}

fn texts(out: &mut Out, texts: &[String]) {
    json::array(out, texts, |out, text| json::html_safe_string(out, text));
}

fn write_aggregate(out: &mut Out, aggregate: &AggregateExpr) {
    Object::open(out)
        .member("expr", |out| tree(out, &aggregate.expr))
        .member("grouping", |out| texts(out, &aggregate.grouping))
        .text("op", aggregate.op.as_str())
        .member("param", |out| optional(out, aggregate.param.as_deref(), tree))
        .text("type", "aggregation")
        .plain("without", aggregate.without)
        .close();
}

fn write_binary(out: &mut Out, binary: &BinaryExpr) {
    Object::open(out)
        .plain("bool", binary.return_bool)
        .member("lhs", |out| tree(out, &binary.lhs))
        .member("matching", |out| optional(out, binary.matching.as_ref(), write_matching))
        .text("op", binary.op.as_str())
        .member("rhs", |out| tree(out, &binary.rhs))
        .text("type", "binaryExpr")
        .close();
}

fn write_matching(out: &mut Out, matching: &VectorMatching) {
    let cardinality = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    let number = |out: &mut Out, value: f64| json::raw(out, &Plain(value).to_string());
    Object::open(out)
        .text("card", cardinality)
        .member("fillValues", |out| {
            Object::open(out)
                .member("lhs", |out| optional(out, matching.fill_left, number))
                .member("rhs", |out| optional(out, matching.fill_right, number))
                .close();
        })
        .member("include", |out| texts(out, &matching.include))
        .member("labels", |out| texts(out, &matching.labels))
        .plain("on", matching.on)
        .close();
}

fn write_call(out: &mut Out, call: &Call) {
    let signature = call.function.signature();
    let variadic = match signature.variadic {
        Variadic::No => 0,
        Variadic::UpTo(n) => n as i64,
        Variadic::Any => -1,
    };
    Object::open(out)
        .member("args", |out| json::array(out, &call.args, tree))
        .member("func", |out| {
            Object::open(out)
                .member("argTypes", |out| {
                    json::array(out, signature.args, |out, kind| json::string(out, kind.as_str()));
                })
                .text("name", signature.name)
                .text("returnType", signature.returns.as_str())
                .plain("variadic", variadic)
                .close();
        })
        .text("type", "call")
        .close();
}

fn write_selector(out: &mut Out, selector: &VectorSelector) {
    let mut object = Object::open(out);
    object
        .plain("anchored", selector.edges == EdgeMode::Anchored)
        .member("matchers", |out| write_matchers(out, &selector.matchers))
        .text("name", &selector.name);
    write_duration(&mut object, ["offset", "offsetExpr"], selector.offset.as_ref());
    object.plain("smoothed", selector.edges == EdgeMode::Smoothed);
    write_at(&mut object, selector.at);
    object.text("type", "vectorSelector").close();
}

fn write_matrix(out: &mut Out, matrix: &MatrixSelector) {
    let selector = &matrix.selector;
    let mut object = Object::open(out);
    object
        .plain("anchored", selector.edges == EdgeMode::Anchored)
        .member("matchers", |out| write_matchers(out, &selector.matchers))
        .text("name", &selector.name);
    write_duration(&mut object, ["offset", "offsetExpr"], selector.offset.as_ref());
    write_duration(&mut object, ["range", "rangeExpr"], Some(&matrix.range));
    object.plain("smoothed", selector.edges == EdgeMode::Smoothed);
    write_at(&mut object, selector.at);
    object.text("type", "matrixSelector").close();
}

fn write_subquery(out: &mut Out, subquery: &SubqueryExpr) {
    let mut object = Object::open(out);
    object.member("expr", |out| tree(out, &subquery.expr));
    write_duration(&mut object, ["offset", "offsetExpr"], subquery.offset.as_ref());
    write_duration(&mut object, ["range", "rangeExpr"], Some(&subquery.range));
    object.member("startOrEnd", |out| write_start_or_end(out, subquery.at));
    write_duration(&mut object, ["step", "stepExpr"], subquery.step.as_ref());
    object.member("timestamp", |out| write_timestamp(out, subquery.at));
    object.text("type", "subquery").close();
}

fn write_matchers(out: &mut Out, matchers: &[Matcher]) {
    json::array(out, matchers, |out, matcher| {
        Object::open(out)
            .text("name", matcher.name())
            .text("type", matcher.op().as_str())
            .text("value", matcher.value())
            .close();
    });
}

fn write_at(object: &mut Object<'_>, at: Option<AtModifier>) {
    object.member("startOrEnd", |out| write_start_or_end(out, at));
    object.member("timestamp", |out| write_timestamp(out, at));
}

fn write_start_or_end(out: &mut Out, at: Option<AtModifier>) {
    match at {
        Some(AtModifier::Start) => json::string(out, "start"),
        Some(AtModifier::End) => json::string(out, "end"),
        _ => null(out),
    }
}

fn write_timestamp(out: &mut Out, at: Option<AtModifier>) {
    match at {
        Some(AtModifier::Timestamp(t)) => json::raw(out, &t.to_string()),
        _ => null(out),
    }
}

/// A duration in milliseconds if it is a literal, else 0 and its expression.
fn write_duration(
    object: &mut Object<'_>,
    [literal, expression]: [&str; 2],
    duration: Option<&DurationExpr>,
) {
    let ms = duration.and_then(DurationExpr::literal_ms);
    object.plain(literal, ms.unwrap_or(0));
    let computed = duration.filter(|_| ms.is_none());
    object.member(expression, |out| optional(out, computed, |out, d| duration_tree(out, d, false)));
}

fn duration_tree(out: &mut Out, duration: &DurationExpr, wrapped: bool) {
    let (op, lhs, rhs): (&str, Option<&DurationExpr>, Option<&DurationExpr>) = match duration {
        DurationExpr::Literal(n) if !wrapped => {
            Object::open(out)
                .plain("duration", n.is_duration)
                .text("type", "numberLiteral")
                .text("val", &Plain(n.value).to_string())
                .close();
            return;
        }
        DurationExpr::Paren(paren) => return duration_tree(out, &paren.expr, true),
        // Parentheses around a literal are those of a sum of it alone.
        DurationExpr::Literal(_) => ("+", None, Some(duration)),
        DurationExpr::Step(_) => ("step", None, None),
        DurationExpr::Range(_) => ("range", None, None),
        DurationExpr::Extreme(e) => {
            (if e.max { "max_of" } else { "min_of" }, Some(&e.lhs), Some(&e.rhs))
        }
        DurationExpr::Unary(u) => ("-", None, Some(&u.expr)),
        DurationExpr::Binary(b) => (b.op.as_str(), Some(&b.lhs), Some(&b.rhs)),
    };
    let part = |out: &mut Out, d: &DurationExpr| duration_tree(out, d, false);
    Object::open(out)
        .member("lhs", |out| optional(out, lhs, part))
        .text("op", op)
        .member("rhs", |out| optional(out, rhs, part))
        .text("type", "durationExpr")
        .plain("wrapped", wrapped)
        .close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    fn check(source: &str, expected: &str) {
        let mut out = Vec::new();
        tree(&mut out, &parse(source, &ParserOptions::ALL).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn selectors() {
        check(
            r#"up{a!="<"} offset 5m @ end()"#,
            r#"{"anchored":false,"matchers":[{"name":"a","type":"!=","value":"\u003c"},{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":300000,"offsetExpr":null,"smoothed":false,"startOrEnd":"end","timestamp":null,"type":"vectorSelector"}"#,
        );
        check(
            "a[(5m)] @ 1.5",
            r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"range":0,"rangeExpr":{"lhs":null,"op":"+","rhs":{"duration":true,"type":"numberLiteral","val":"300"},"type":"durationExpr","wrapped":true},"smoothed":false,"startOrEnd":null,"timestamp":1500,"type":"matrixSelector"}"#,
        );
    }

    #[test]
    fn operators() {
        check(
            "sum by (x) (-(1 + vector(2)))",
            r#"{"expr":{"expr":{"expr":{"bool":false,"lhs":{"type":"numberLiteral","val":"1"},"matching":null,"op":"+","rhs":{"args":[{"type":"numberLiteral","val":"2"}],"func":{"argTypes":["scalar"],"name":"vector","returnType":"vector","variadic":0},"type":"call"},"type":"binaryExpr"},"type":"parenExpr"},"op":"-","type":"unaryExpr"},"grouping":["x"],"op":"sum","param":null,"type":"aggregation","without":false}"#,
        );
        check(
            "a < on(x) group_left(y) fill_left(1) b",
            r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"many-to-one","fillValues":{"lhs":1,"rhs":null},"include":["y"],"labels":["x"],"on":true},"op":"\u003c","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#,
        );
    }
}
