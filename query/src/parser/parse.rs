//! The parser: tokens to a tree, by precedence climbing with one token of look-ahead.
//!
//! Operators, weakest first: `or`; `and unless`; comparisons and trims; `+ -`; `* / % atan2` and signs; `^`, which alone
//! groups to the right. Range, subquery, `offset`, `@`, `anchored` and `smoothed` bind to the operand in front of them.
//!
//! It stops at the first error. An error names the innermost construct that was being read and what could have stood
//! there ([`Context`]), which is what Prometheus' generated parser does when it falls back to its error rules. Types are
//! checked on the finished tree ([`check`](super::check)).
//!
//! Two bounds keep every later recursion safe: nesting in the text, and the height of the tree
//! ([`limits`](crate::limits)).

use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;

use super::ast::{
    BinaryOp, Expr, NumberLiteral, ParenExpr, PosRange, StringLiteral, UnaryExpr, UnaryOp,
};
use super::check::check;
use super::duration::parse_duration_ms;
use super::error::ParseError;
use super::lexer::Lexer;
use super::number::parse_number;
use super::quote::{Unquoted, unquote};
use super::token::{Keyword, Mark, Token, TokenKind, describe};
use crate::limits::{NESTING_MAX, TREE_HEIGHT_MAX};

/// Which parts of the language are switched on. The default is that of a server without feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct ParserOptions {
    /// Functions and aggregations that are experimental (`promql-experimental-functions`).
    pub experimental_functions: bool,
    /// Arithmetic, `step()` and the like in place of durations; on by default since 3.14.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`).
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right` (`promql-binop-fill-modifiers`).
    pub fill_modifiers: bool,
}

impl Default for ParserOptions {
    fn default() -> Self {
        ParserOptions {
            experimental_functions: false,
            duration_expressions: true,
            extended_range_selectors: false,
            fill_modifiers: false,
        }
    }
}

impl ParserOptions {
    /// The whole language.
    pub const ALL: ParserOptions = ParserOptions {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
    };
}

/// Reads a query: its syntax, its names, its types.
pub fn parse(source: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    let mut expr = Parser::new(source, *options).query()?;
    check(source, &mut expr)?;
    Ok(expr)
}

/// Reads the selector of a series such as a `match[]` parameter: a name, matchers, or both.
pub fn parse_metric_selector(source: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(source, ParserOptions::default());
    let selector = parser.vector_selector()?;
    parser.end()?;
    Ok(selector.matchers)
}

/// Reads the labels of one series: `name{label="value"}`, either part alone, or nothing at all.
pub fn parse_metric(source: &str) -> Result<Labels, ParseError> {
    let mut parser = Parser::new(source, ParserOptions::default());
    let labels = parser.metric()?;
    parser.end()?;
    Ok(labels)
}

pub(super) type Parsed<T> = Result<T, Box<ParseError>>;

/// A part of the tree and how high it is.
pub(super) struct Node {
    pub expr: Box<Expr>,
    pub height: usize,
}

impl Node {
    pub(super) fn leaf(expr: Expr) -> Self {
        Node { expr: Box::new(expr), height: 1 }
    }
}

/// The construct being read, for errors: its name and what may stand there, either possibly empty.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub place: &'static str,
    pub expected: &'static str,
}

impl Context {
    pub(super) const fn new(place: &'static str, expected: &'static str) -> Self {
        Context { place, expected }
    }
}

/// How strongly an operator binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Or,
    And,
    Compare,
    Add,
    Multiply,
    Power,
}

impl Precedence {
    pub(super) fn of(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Or => Precedence::Or,
            BinaryOp::And | BinaryOp::Unless => Precedence::And,
            BinaryOp::Add | BinaryOp::Sub => Precedence::Add,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => Precedence::Multiply,
            BinaryOp::Pow => Precedence::Power,
            _ => Precedence::Compare,
        }
    }

    /// The least precedence that the right side of an operator may have.
    pub(super) fn of_right_side(self) -> Self {
        match self {
            Precedence::Or => Precedence::And,
            Precedence::And => Precedence::Compare,
            Precedence::Compare => Precedence::Add,
            Precedence::Add => Precedence::Multiply,
            Precedence::Multiply | Precedence::Power => Precedence::Power,
        }
    }
}

/// State of one run over one text. The methods for each family of nodes are in their own files.
pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    pub(super) options: ParserOptions,
    lexer: Lexer<'a>,
    ahead: Option<Token>,
    context: Context,
    nesting: usize,
    pub(super) duration_operators: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str, options: ParserOptions) -> Self {
        Parser {
            source,
            options,
            lexer: Lexer::new(source),
            ahead: None,
            context: Context::new("", ""),
            nesting: 0,
            duration_operators: 0,
        }
    }

    /// The next token, which stays the next one. Read no earlier than it is needed: what is wrong before it is reported
    /// first.
    pub(super) fn peek(&mut self) -> Parsed<Token> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next()?;
        self.ahead = Some(token);
        Ok(token)
    }

    pub(super) fn take(&mut self) -> Parsed<Token> {
        let token = self.peek()?;
        self.ahead = None;
        Ok(token)
    }

    pub(super) fn text(&self, token: Token) -> &'a str {
        &self.source[token.pos.start..token.pos.end]
    }

    /// Takes the next token if it is of this kind.
    pub(super) fn take_if(&mut self, kind: TokenKind) -> Parsed<Option<Token>> {
        if self.peek()?.kind == kind { self.take().map(Some) } else { Ok(None) }
    }

    pub(super) fn take_mark(&mut self, mark: Mark) -> Parsed<Option<Token>> {
        self.take_if(TokenKind::Mark(mark))
    }

    /// Takes a mark that must be next.
    pub(super) fn expect(&mut self, mark: Mark) -> Parsed<Token> {
        match self.take_mark(mark)? {
            Some(token) => Ok(token),
            None => self.unexpected(),
        }
    }

    fn query(&mut self) -> Parsed<Expr> {
        if self.peek()?.kind == TokenKind::End {
            return Err(self.error(PosRange::default(), "no expression found in input"));
        }
        let expr = *self.expression(Precedence::Or)?.expr;
        self.end()?;
        Ok(expr)
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek()?.kind {
            TokenKind::End => Ok(()),
            _ => self.unexpected(),
        }
    }

    #[allow(clippy::unnecessary_box_returns, reason = "every result wants it boxed")]
    pub(super) fn error(&self, pos: PosRange, message: impl Into<String>) -> Box<ParseError> {
        ParseError::new(self.source, pos, message)
    }

    /// Complains about the next token where nothing more is known than what surrounds it.
    pub(super) fn unexpected<T>(&mut self) -> Parsed<T> {
        self.unexpected_in(self.context)
    }

    /// Complains about the next token.
    pub(super) fn unexpected_in<T>(&mut self, context: Context) -> Parsed<T> {
        let token = self.peek()?;
        let mut message = format!("unexpected {}", describe(token.kind, self.text(token)));
        for (word, part) in [(" in ", context.place), (", expected ", context.expected)] {
            if !part.is_empty() {
                message.push_str(word);
                message.push_str(part);
            }
        }
        Err(self.error(token.pos, message))
    }

    /// Reads with `context` as what surrounds it.
    pub(super) fn within<T>(
        &mut self,
        context: Context,
        read: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        let outer = std::mem::replace(&mut self.context, context);
        let result = read(self);
        self.context = outer;
        result
    }

    /// Reads one level deeper.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == NESTING_MAX {
            let pos = self.peek()?.pos;
            return Err(self.error(pos, format!("nested deeper than {NESTING_MAX} levels")));
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// A node above others, the highest of which has this height.
    pub(super) fn above(&self, height: usize, expr: Expr) -> Parsed<Node> {
        if height >= TREE_HEIGHT_MAX {
            let message = format!("expression of more than {TREE_HEIGHT_MAX} chained operators");
            return Err(self.error(expr.pos(), message));
        }
        Ok(Node { expr: Box::new(expr), height: height + 1 })
    }

    /// An expression whose operators bind at least as strongly as `min`.
    pub(super) fn expression(&mut self, min: Precedence) -> Parsed<Node> {
        self.nested(|parser| {
            let mut lhs = parser.operand()?;
            while let TokenKind::Operator(op) = parser.peek()?.kind {
                let precedence = Precedence::of(op);
                if precedence < min {
                    break;
                }
                parser.take()?;
                lhs = parser.binary(lhs, op, precedence)?;
            }
            Ok(lhs)
        })
    }

    /// What stands between binary operators: signs, a primary expression, its modifiers.
    fn operand(&mut self) -> Parsed<Node> {
        if let Some((op, sign)) = self.take_sign()? {
            return self.unary(op, sign);
        }
        let primary = self.primary()?;
        self.modified(primary)
    }

    /// Takes `+` or `-`, if that is next.
    pub(super) fn take_sign(&mut self) -> Parsed<Option<(UnaryOp, Token)>> {
        let op = match self.peek()?.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return Ok(None),
        };
        Ok(Some((op, self.take()?)))
    }

    /// The operand of a sign. The sign of a number becomes part of the number.
    fn unary(&mut self, op: UnaryOp, sign: Token) -> Parsed<Node> {
        let operand = self.expression(Precedence::Power)?;
        let pos = sign.pos.to(operand.expr.pos());
        if let Expr::Number(literal) = *operand.expr {
            return Ok(Node::leaf(Expr::Number(signed(op, literal, pos))));
        }
        self.above(operand.height, Expr::Unary(UnaryExpr { op, expr: operand.expr, pos }))
    }

    fn primary(&mut self) -> Parsed<Node> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.number_literal().map(|number| Node::leaf(Expr::Number(number)))
            }
            TokenKind::String => {
                self.take()?;
                let Unquoted { value, invalid_utf8 } = unquote(self.text(token));
                let literal = StringLiteral { value, invalid_utf8, pos: token.pos };
                Ok(Node::leaf(Expr::String(literal)))
            }
            TokenKind::Mark(Mark::LeftParen) => self.paren(),
            TokenKind::Mark(Mark::LeftBrace) => {
                self.vector_selector().map(|selector| Node::leaf(Expr::Vector(selector)))
            }
            kind if kind.is_metric_name() => self.named(),
            _ => self.unexpected(),
        }
    }

    fn paren(&mut self) -> Parsed<Node> {
        let open = self.take()?;
        let inner = self.expression(Precedence::Or)?;
        let close = self.expect(Mark::RightParen)?;
        let paren = ParenExpr { expr: inner.expr, pos: open.pos.to(close.pos) };
        self.above(inner.height, Expr::Paren(paren))
    }

    /// What begins with a word: a call, an aggregation or a metric.
    fn named(&mut self) -> Parsed<Node> {
        let name = self.take()?;
        let next = self.peek()?.kind;
        let paren = next == TokenKind::Mark(Mark::LeftParen);
        match (name.kind, next) {
            (TokenKind::Aggregate(op), _) if paren => self.aggregate(op, name),
            (TokenKind::Aggregate(op), TokenKind::Keyword(Keyword::By | Keyword::Without)) => {
                self.aggregate(op, name)
            }
            (TokenKind::Identifier, _) if paren => self.call(name),
            (TokenKind::Keyword(keyword), _) if paren && keyword.is_function() => self.call(name),
            _ => self.named_selector(name).map(|selector| Node::leaf(Expr::Vector(selector))),
        }
    }

    /// A number or duration token as a literal. The next token must be one.
    pub(super) fn number_literal(&mut self) -> Parsed<NumberLiteral> {
        let token = self.take()?;
        let is_duration = token.kind == TokenKind::Duration;
        let text = self.text(token);
        let value = if is_duration {
            parse_duration_ms(text).map(|ms| ms as f64 / 1000.0)
        } else {
            parse_number(text)
        };
        match value {
            Ok(value) => Ok(NumberLiteral { value, is_duration, pos: token.pos }),
            Err(message) => Err(self.error(token.pos, message)),
        }
    }

    /// A number or duration with an optional sign, and the sign's place; `None` when something else follows.
    pub(super) fn signed_number(&mut self) -> Parsed<Option<(NumberLiteral, Option<PosRange>)>> {
        let sign = self.take_sign()?;
        if !matches!(self.peek()?.kind, TokenKind::Number | TokenKind::Duration) {
            return Ok(None);
        }
        let literal = self.number_literal()?;
        Ok(Some(match sign {
            Some((op, sign)) => {
                let pos = sign.pos.to(literal.pos);
                (signed(op, literal, pos), Some(sign.pos))
            }
            None => (literal, None),
        }))
    }
}

/// The literal with its sign.
pub(super) fn signed(op: UnaryOp, literal: NumberLiteral, pos: PosRange) -> NumberLiteral {
    let value = match op {
        UnaryOp::Plus => literal.value,
        UnaryOp::Minus => -literal.value,
    };
    NumberLiteral { value, pos, ..literal }
}
