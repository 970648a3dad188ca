//! Function calls, aggregations and lists of labels.

use super::ast::{AggregateExpr, AggregateOp, Call, Expr};
use super::parse::{Context, Node, Parsed, Parser, Precedence};
use super::quote::{quoted, unquote};
use super::token::{Keyword, Mark, Token, TokenKind};
use crate::functions::signature::Function;

const AGGREGATION: Context = Context::new("aggregation", "");
const LIST: Context = Context::new("grouping opts", "\"(\"");
const LIST_LABEL: Context = Context::new("grouping opts", "label");
const LIST_SEPARATOR: Context = Context::new("grouping opts", "\",\" or \")\"");

/// Arguments, the greatest height among them, and the closing parenthesis.
struct Arguments {
    exprs: Vec<Expr>,
    height: usize,
    close: Token,
}

/// `by (...)` or `without (...)`.
#[derive(Default)]
struct Grouping {
    labels: Vec<String>,
    without: bool,
    end: usize,
}

impl Parser<'_> {
    /// A call of the function whose name was taken; the parenthesis is next.
    pub(super) fn call(&mut self, name: Token) -> Parsed<Node> {
        let arguments = self.arguments()?;
        let text = self.text(name);
        let Some(function) = Function::from_name(text) else {
            let message = format!("unknown function with name {}", quoted(text));
            return Err(self.error(name.pos, message));
        };
        if function.signature().experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", quoted(text));
            return Err(self.error(name.pos, message));
        }
        let pos = name.pos.to(arguments.close.pos);
        let call = Call { function, args: arguments.exprs, pos };
        self.above(arguments.height, Expr::Call(call))
    }

    /// An aggregation whose operator was taken. The grouping may stand before or behind the arguments.
    pub(super) fn aggregate(&mut self, op: AggregateOp, name: Token) -> Parsed<Node> {
        let (before, arguments) = self.within(AGGREGATION, |parser| {
            let grouping = parser.grouping()?;
            if parser.peek()?.kind != TokenKind::Mark(Mark::LeftParen) {
                return parser.unexpected();
            }
            Ok((grouping, parser.arguments()?))
        })?;
        let mut pos = name.pos.to(arguments.close.pos);
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or_default(),
        };
        pos.end = pos.end.max(grouping.end);
        let Arguments { mut exprs, height, .. } = arguments;
        if exprs.is_empty() {
            return Err(self.error(pos, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            return Err(self.error(pos, message));
        }
        let (expected, got) = (1 + usize::from(op.param_type().is_some()), exprs.len());
        let (Some(expr), true) = (exprs.pop(), expected == got) else {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {expected}, \
                 got {got}"
            );
            return Err(self.error(pos, message));
        };
        let aggregate = AggregateExpr {
            op,
            expr: Box::new(expr),
            param: exprs.pop().map(Box::new),
            grouping: grouping.labels,
            without: grouping.without,
            pos,
        };
        self.above(height, Expr::Aggregate(aggregate))
    }

    /// `by (...)` or `without (...)`, if one follows.
    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take()?;
        let (labels, end) = self.labels()?;
        Ok(Some(Grouping { labels, without, end }))
    }

    /// Expressions in parentheses, the opening one of which is next.
    fn arguments(&mut self) -> Parsed<Arguments> {
        self.expect(Mark::LeftParen)?;
        let (mut exprs, mut height) = (Vec::new(), 0);
        if let Some(close) = self.take_mark(Mark::RightParen)? {
            return Ok(Arguments { exprs, height, close });
        }
        loop {
            let argument = self.expression(Precedence::Or)?;
            height = height.max(argument.height);
            exprs.push(*argument.expr);
            let Some(comma) = self.take_mark(Mark::Comma)? else {
                let close = self.expect(Mark::RightParen)?;
                return Ok(Arguments { exprs, height, close });
            };
            if !self.peek()?.kind.begins_expression() {
                let message = "trailing commas not allowed in function call args";
                return Err(self.error(comma.pos, message));
            }
        }
    }

    /// The labels of `on`, `ignoring`, `group_left` and `group_right`.
    pub(super) fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.labels().map(|(labels, _)| labels)
    }

    /// Names of labels in parentheses, and the byte behind them. A trailing comma is allowed.
    fn labels(&mut self) -> Parsed<(Vec<String>, usize)> {
        if self.take_mark(Mark::LeftParen)?.is_none() {
            return self.unexpected_in(LIST);
        }
        let mut labels = Vec::new();
        loop {
            if let Some(close) = self.take_mark(Mark::RightParen)? {
                return Ok((labels, close.pos.end));
            }
            labels.push(self.label()?);
            if self.take_mark(Mark::Comma)?.is_none()
                && self.peek()?.kind != TokenKind::Mark(Mark::RightParen)
            {
                return self.unexpected_in(LIST_SEPARATOR);
            }
        }
    }

    fn label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        let label = match token.kind {
            TokenKind::String => unquote(self.text(token)).value,
            kind if kind.is_label_name() => self.text(token).to_owned(),
            _ => return self.unexpected_in(LIST_LABEL),
        };
        self.take()?;
        if label.is_empty() {
            let message = format!("invalid label name for grouping: {}", quoted(&label));
            return Err(self.error(token.pos, message));
        }
        Ok(label)
    }
}
