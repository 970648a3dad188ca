//! Selectors: names, matchers, and the modifiers behind them.

use tidemark_core::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use tidemark_core::model::matcher::{MatchOp, Matcher};

use super::ast::{
    AtModifier, BinaryOp, DurationExpr, EdgeMode, Expr, MatrixSelector, PosRange, SubqueryExpr,
    VectorSelector,
};
use super::number::Fixed;
use super::parse::{Context, Node, Parsed, Parser};
use super::quote::unquote;
use super::token::{Keyword, Mark, Token, TokenKind};

const AT: Context = Context::new("@", "timestamp");
const OFFSET: Context = Context::new("offset", "number, duration, step(), or range()");
const BRACKET: Context =
    Context::new("subquery or range selector", "number, duration, step(), or range()");
const AFTER_RANGE: Context = Context::new("subquery or range", "\":\" or \"]\"");
const AFTER_COLON: Context =
    Context::new("subquery selector", "number, duration, step(), range(), or \"]\"");
const AFTER_STEP: Context = Context::new("subquery selector", "\"]\"");

/// What differs between the matchers of a selector and the labels of a metric.
struct Braces {
    /// Whether `!=`, `=~` and `!~` mean something.
    all_operators: bool,
    name: Context,
    operator: Context,
    value: Context,
    separator: Context,
}

impl Braces {
    const fn new(place: &'static str, operator: &'static str, all_operators: bool) -> Self {
        Braces {
            all_operators,
            name: Context::new(place, "identifier or \"}\""),
            operator: Context::new(place, operator),
            value: Context::new(place, "string"),
            separator: Context::new(place, "\",\" or \"}\""),
        }
    }
}

const MATCHERS: Braces = Braces::new("label matching", "label matching operator", true);
const LABELS: Braces = Braces::new("label set", "\"=\"", false);

/// What one entry of `{...}` says. A metric name alone in quotes is an entry that `__name__` equals it.
struct Entry {
    label: String,
    op: MatchOp,
    value: String,
    pos: PosRange,
}

impl Parser<'_> {
    /// A name, matchers in braces, or both.
    pub(super) fn vector_selector(&mut self) -> Parsed<VectorSelector> {
        let token = self.peek()?;
        if token.kind.is_metric_name() {
            self.take()?;
            return self.named_selector(token);
        }
        if token.kind != TokenKind::Mark(Mark::LeftBrace) {
            return self.unexpected();
        }
        let (matchers, pos) = self.matchers()?;
        Ok(selector(String::new(), matchers, pos))
    }

    /// What may follow the name of a metric.
    pub(super) fn named_selector(&mut self, name: Token) -> Parsed<VectorSelector> {
        let (mut matchers, mut pos) = (Vec::new(), name.pos);
        if self.peek()?.kind == TokenKind::Mark(Mark::LeftBrace) {
            let braces;
            (matchers, braces) = self.matchers()?;
            pos = pos.to(braces);
        }
        let name = self.text(name).to_owned();
        matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        Ok(selector(name, matchers, pos))
    }

    fn matchers(&mut self) -> Parsed<(Vec<Matcher>, PosRange)> {
        let mut matchers = Vec::new();
        let pos = self.braces(&MATCHERS, |parser, entry| {
            let matcher = Matcher::new(entry.op, entry.label, entry.value)
                .map_err(|error| parser.error(entry.pos, error.to_string()))?;
            matchers.push(matcher);
            Ok(())
        })?;
        Ok((matchers, pos))
    }

    /// The labels of one series.
    pub(super) fn metric(&mut self) -> Parsed<Labels> {
        let mut labels = LabelsBuilder::new();
        let token = self.peek()?;
        if token.kind.is_metric_name() {
            self.take()?;
        }
        if self.peek()?.kind == TokenKind::Mark(Mark::LeftBrace) {
            self.braces(&LABELS, |_, entry| {
                labels.set(&entry.label, &entry.value);
                Ok(())
            })?;
        }
        if token.kind.is_metric_name() {
            labels.set(METRIC_NAME, self.text(token));
        }
        Ok(labels.build())
    }

    /// What stands between braces, of which the opening one is next. `each` sees every entry before anything after it is read,
    /// so that the first mistake is the one that is told.
    fn braces(
        &mut self,
        braces: &Braces,
        mut each: impl FnMut(&Self, Entry) -> Parsed<()>,
    ) -> Parsed<PosRange> {
        let open = self.take()?;
        loop {
            if let Some(close) = self.take_mark(Mark::RightBrace)? {
                return Ok(open.pos.to(close.pos));
            }
            let entry = self.entry(braces)?;
            each(self, entry)?;
            if self.take_mark(Mark::Comma)?.is_none()
                && self.peek()?.kind != TokenKind::Mark(Mark::RightBrace)
            {
                return self.unexpected_in(braces.separator);
            }
        }
    }

    fn entry(&mut self, braces: &Braces) -> Parsed<Entry> {
        let name = self.peek()?;
        let label = match name.kind {
            TokenKind::Identifier => self.text(name).to_owned(),
            TokenKind::String => unquote(self.text(name)).value,
            _ => return self.unexpected_in(braces.name),
        };
        self.take()?;
        let op = match self.peek()?.kind {
            TokenKind::Mark(Mark::Assign) => Some(MatchOp::Equal),
            TokenKind::Operator(BinaryOp::NotEqual) => Some(MatchOp::NotEqual),
            TokenKind::Mark(Mark::RegexMatch) => Some(MatchOp::Regex),
            TokenKind::Mark(Mark::RegexNoMatch) => Some(MatchOp::NotRegex),
            _ => None,
        };
        match op {
            Some(op) if op == MatchOp::Equal || braces.all_operators => {
                self.take()?;
                let value = self.peek()?;
                if value.kind != TokenKind::String {
                    return self.unexpected_in(braces.value);
                }
                self.take()?;
                let pos = name.pos.to(value.pos);
                Ok(Entry { label, op, value: unquote(self.text(value)).value, pos })
            }
            _ if name.kind == TokenKind::String => Ok(Entry {
                label: METRIC_NAME.to_owned(),
                op: MatchOp::Equal,
                value: label,
                pos: name.pos,
            }),
            _ => self.unexpected_in(braces.operator),
        }
    }

    /// What follows an operand: brackets, `offset`, `@`, `anchored`, `smoothed`, any number of them.
    pub(super) fn modified(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            let token = self.peek()?;
            match token.kind {
                TokenKind::Mark(Mark::LeftBracket) => node = self.bracket(node)?,
                TokenKind::Mark(Mark::At) => self.at(&mut node.expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut node.expr)?,
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.edges(&mut node.expr, EdgeMode::Anchored, "anchored")?;
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.edges(&mut node.expr, EdgeMode::Smoothed, "smoothed")?;
                }
                _ => return Ok(node),
            }
        }
    }

    /// `[range]`, `[range:]` or `[range:step]`.
    fn bracket(&mut self, node: Node) -> Parsed<Node> {
        let open = self.take()?;
        let range = self.within(BRACKET, Self::positive_duration)?;
        if let Some(close) = self.take_mark(Mark::RightBracket)? {
            return self.matrix_selector(node, open, range, close);
        }
        if self.take_mark(Mark::Colon)?.is_none() {
            return self.unexpected_in(AFTER_RANGE);
        }
        let mut close = self.take_mark(Mark::RightBracket)?;
        let mut step = None;
        if close.is_none() {
            step = Some(self.within(AFTER_COLON, Self::positive_duration)?);
            close = self.take_mark(Mark::RightBracket)?;
        }
        let Some(close) = close else {
            return self.unexpected_in(AFTER_STEP);
        };
        let pos = node.expr.pos().to(close.pos);
        let subquery = SubqueryExpr { expr: node.expr, range, step, offset: None, at: None, pos };
        self.above(node.height, Expr::Subquery(subquery))
    }

    fn matrix_selector(
        &mut self,
        node: Node,
        open: Token,
        range: DurationExpr,
        close: Token,
    ) -> Parsed<Node> {
        let problem = match *node.expr {
            Expr::Vector(selector) if selector.offset.is_some() => {
                "no offset modifiers allowed before range"
            }
            Expr::Vector(selector) if selector.at.is_some() => {
                "no @ modifiers allowed before range"
            }
            Expr::Vector(selector) => {
                let pos = selector.pos.to(close.pos);
                return Ok(Node::leaf(Expr::Matrix(MatrixSelector { selector, range, pos })));
            }
            _ => "ranges only allowed for vector selectors",
        };
        Err(self.error(open.pos.to(close.pos), problem))
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take()?;
        let value = self.within(OFFSET, Self::offset_duration)?;
        let start = expr.pos();
        let Some(target) = modifiers(expr) else {
            return Err(self.error(
                start,
                "offset modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ));
        };
        if target.offset.is_some() {
            return Err(self.error(start, "offset may not be set multiple times"));
        }
        target.pos.end = value.pos().end;
        // An offset of nothing is none.
        *target.offset = (value.literal_ms() != Some(0)).then_some(value);
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take()?;
        let start = expr.pos();
        let (at, end) = self.within(AT, |parser| parser.at_value(start))?;
        let Some(target) = modifiers(expr) else {
            return Err(self.error(
                start,
                "@ modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ));
        };
        if target.at.is_some() {
            return Err(self.error(start, "@ <timestamp> may not be set multiple times"));
        }
        target.pos.end = end;
        *target.at = Some(at);
        Ok(())
    }

    /// A timestamp in seconds, `start()` or `end()`, and the byte behind it. `selector` is what it belongs to.
    fn at_value(&mut self, selector: PosRange) -> Parsed<(AtModifier, usize)> {
        let at = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::Start) => AtModifier::Start,
            TokenKind::Keyword(Keyword::End) => AtModifier::End,
            _ => {
                let Some((literal, _)) = self.signed_number()? else {
                    return self.unexpected();
                };
                let seconds = literal.value;
                if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 {
                    let shown = Fixed { value: seconds, decimals: 6 };
                    return Err(self.error(
                        selector,
                        format!("timestamp out of bounds for @ modifier: {shown}"),
                    ));
                }
                let ms = (seconds * 1000.0).round() as i64;
                return Ok((AtModifier::Timestamp(ms), literal.pos.end));
            }
        };
        self.take()?;
        self.expect(Mark::LeftParen)?;
        let close = self.expect(Mark::RightParen)?;
        Ok((at, close.pos.end))
    }

    fn edges(&mut self, expr: &mut Expr, mode: EdgeMode, name: &str) -> Parsed<()> {
        let word = self.take()?;
        let start = expr.pos();
        let fail = |problem: String| Err(self.error(start, problem));
        if !self.options.extended_range_selectors {
            return fail(format!("{name} modifier is experimental and not enabled"));
        }
        let (selector, pos) = match expr {
            Expr::Vector(selector) => (&mut selector.edges, &mut selector.pos),
            Expr::Matrix(matrix) => (&mut matrix.selector.edges, &mut matrix.pos),
            Expr::Subquery(_) => {
                return fail(format!("{name} modifier is not supported for subqueries"));
            }
            _ => return fail(format!("{name} modifier not implemented")),
        };
        if *selector != EdgeMode::Plain && *selector != mode {
            let both = "anchored and smoothed modifiers cannot be used together";
            return fail(both.to_owned());
        }
        *selector = mode;
        pos.end = word.pos.end;
        Ok(())
    }
}

fn selector(name: String, matchers: Vec<Matcher>, pos: PosRange) -> VectorSelector {
    VectorSelector { name, matchers, offset: None, at: None, edges: EdgeMode::Plain, pos }
}

/// What `offset` and `@` change in a node.
struct Modifiers<'a> {
    offset: &'a mut Option<DurationExpr>,
    at: &'a mut Option<AtModifier>,
    pos: &'a mut PosRange,
}

fn modifiers(expr: &mut Expr) -> Option<Modifiers<'_>> {
    match expr {
        Expr::Vector(s) => {
            Some(Modifiers { offset: &mut s.offset, at: &mut s.at, pos: &mut s.pos })
        }
        Expr::Matrix(m) => {
            let s = &mut m.selector;
            Some(Modifiers { offset: &mut s.offset, at: &mut s.at, pos: &mut m.pos })
        }
        Expr::Subquery(s) => {
            Some(Modifiers { offset: &mut s.offset, at: &mut s.at, pos: &mut s.pos })
        }
        _ => None,
    }
}
