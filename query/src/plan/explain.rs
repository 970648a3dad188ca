//! A plan as text: what kind of work a node is, and what exactly, close to the PromQL it was lowered from.

use std::fmt::Write as _;

use super::node::{CellFunction, Node, RangeSelect, Select, Subquery, WindowInput};
use crate::parser::duration::format_duration_ms as format_ms;

impl Node {
    /// What kind of node it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Number(_) => "number",
            Node::Text(_) => "string",
            Node::Select(_) => "select",
            Node::Range(_) => "range",
            Node::Subquery(_) => "subquery",
            Node::Window(_) => "window",
            Node::Cells(_) => "cells",
            Node::Call(_) => "call",
            Node::ScalarBinary(_) => "scalar binary",
            Node::VectorBinary(_) => "vector binary",
            Node::Aggregate(_) => "aggregate",
            Node::Invariant(_) => "once",
            Node::Shared(_) => "shared",
        }
    }

    /// What it is, its inputs left out as `...` unless `whole`.
    pub fn text(&self, whole: bool) -> String {
        let mut out = String::new();
        write(&mut out, self, whole);
        out
    }
}

fn write(out: &mut String, node: &Node, whole: bool) {
    let inputs = |out: &mut String, nodes: &mut dyn Iterator<Item = &Node>| {
        for (i, node) in nodes.enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            if whole {
                write(out, node, whole);
            } else {
                out.push_str("...");
            }
        }
    };
    match node {
        Node::Number(v) => drop(write!(out, "{v}")),
        Node::Text(text) => drop(write!(out, "{text:?}")),
        Node::Select(select) => write_select(out, select, None),
        Node::Range(range) => write_range(out, range),
        Node::Subquery(subquery) => write_subquery(out, subquery, whole),
        Node::Window(call) => {
            let _ = write!(out, "{}(", call.function.name());
            match &call.input {
                WindowInput::Range(range) => write_range(out, range),
                WindowInput::Subquery(subquery) => write_subquery(out, subquery, whole),
            }
            for arg in &call.args {
                out.push_str(", ");
                inputs(out, &mut std::iter::once(arg));
            }
            out.push(')');
        }
        Node::Cells(call) => {
            out.push_str(cell_function(&call.function));
            out.push('(');
            inputs(out, &mut std::iter::once(&*call.input).chain(&call.args));
            out.push(')');
        }
        Node::Call(call) => {
            let _ = write!(out, "{}(", call.function.name());
            inputs(out, &mut call.args.iter());
            out.push(')');
        }
        Node::ScalarBinary(b) => {
            inputs(out, &mut std::iter::once(&*b.lhs));
            let _ = write!(out, " {} ", b.op.as_str());
            inputs(out, &mut std::iter::once(&*b.rhs));
        }
        Node::VectorBinary(b) => {
            inputs(out, &mut std::iter::once(&*b.lhs));
            let _ = write!(out, " {} ", b.op.as_str());
            if b.matching.on || !b.matching.labels.is_empty() {
                let word = if b.matching.on { "on" } else { "ignoring" };
                let _ = write!(out, "{word} ({}) ", b.matching.labels.join(", "));
            }
            inputs(out, &mut std::iter::once(&*b.rhs));
        }
        Node::Aggregate(a) => {
            out.push_str(a.op.as_str());
            if a.grouping.without || !a.grouping.labels.is_empty() {
                let word = if a.grouping.without { "without" } else { "by" };
                let _ = write!(out, " {word} ({})", a.grouping.labels.join(", "));
            }
            out.push_str(if out.ends_with(')') { " (" } else { "(" });
            inputs(out, &mut a.param.as_deref().into_iter().chain(std::iter::once(&*a.input)));
            out.push(')');
        }
        Node::Invariant(inner) => write(out, inner, whole),
        Node::Shared(shared) => write(out, &shared.node, whole),
    }
}

fn write_select(out: &mut String, select: &Select, range_ms: Option<i64>) {
    out.push('{');
    for (i, matcher) in select.matchers.iter().enumerate() {
        let _ = write!(out, "{}{matcher}", if i > 0 { "," } else { "" });
    }
    out.push('}');
    if let Some(range_ms) = range_ms {
        let _ = write!(out, "[{}]", format_ms(range_ms));
    }
    write_shift(out, select.offset_ms, select.at_ms);
}

fn write_range(out: &mut String, range: &RangeSelect) {
    write_select(out, &range.select, Some(range.range_ms));
}

fn write_subquery(out: &mut String, subquery: &Subquery, whole: bool) {
    if whole {
        write(out, &subquery.node, whole);
    } else {
        out.push_str("...");
    }
    let _ = write!(out, "[{}:{}]", format_ms(subquery.range_ms), format_ms(subquery.step_ms));
    write_shift(out, subquery.offset_ms, subquery.at_ms);
}

fn write_shift(out: &mut String, offset_ms: i64, at_ms: Option<i64>) {
    if offset_ms != 0 {
        let sign = if offset_ms < 0 { "-" } else { "" };
        let _ = write!(out, " offset {sign}{}", format_ms(offset_ms.abs()));
    }
    if let Some(at_ms) = at_ms {
        let _ = write!(out, " @ {}", at_ms as f64 / 1000.0);
    }
}

fn cell_function(function: &CellFunction) -> &'static str {
    match function {
        CellFunction::Float(_) => "float function",
        CellFunction::Round => "round",
        CellFunction::Clamp => "clamp",
        CellFunction::Histogram(_) => "histogram function",
        CellFunction::StepTime => "timestamp",
        CellFunction::Negate => "-",
        CellFunction::Binary { op, .. } => op.as_str(),
    }
}
