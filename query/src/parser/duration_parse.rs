//! Reading duration expressions: what stands inside `[...]` and behind `offset`.

use super::ast::{
    BinaryOp, DurationBinary, DurationExpr, DurationExtreme, DurationParen, DurationUnary,
    NumberLiteral, PosRange, UnaryOp,
};
use super::duration::DURATION_SECONDS_MAX;
use super::parse::{Parsed, Parser, Precedence, signed};
use super::token::{Keyword, Mark, Token, TokenKind};
use crate::limits::DURATION_OPERATORS_MAX;

impl Parser<'_> {
    /// A duration expression; a literal must be above zero.
    pub(super) fn positive_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = self.duration(Precedence::Add)?;
        match &duration {
            DurationExpr::Literal(literal) if literal.value <= 0.0 => {
                Err(self.error(literal.pos, "duration must be greater than 0"))
            }
            _ => Ok(duration),
        }
    }

    /// What may stand behind `offset`. Arithmetic needs parentheses there: in `a offset 5m * 2` the product is of vectors.
    /// What begins with a parenthesis is read as far as it goes, though, which is how the grammar's conflict is resolved.
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        match self.peek()?.kind {
            TokenKind::Mark(Mark::LeftParen) => self.duration(Precedence::Add),
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let sign = self.take_sign()?;
                match (sign, self.peek()?.kind) {
                    (Some((op, sign)), TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)) => {
                        let inner = self.duration(Precedence::Power)?;
                        let lhs = self.signed_duration(op, sign, inner)?;
                        self.duration_operators(lhs, Precedence::Add)
                    }
                    (Some((op, sign)), _) => {
                        let inner = self.simple_duration()?;
                        self.signed_duration(op, sign, inner)
                    }
                    (None, _) => self.unexpected(),
                }
            }
            _ => self.simple_duration(),
        }
    }

    /// A duration expression whose operators bind at least as strongly as `min`.
    fn duration(&mut self, min: Precedence) -> Parsed<DurationExpr> {
        self.nested(|parser| {
            let operand = match parser.take_sign()? {
                Some((op, sign)) => {
                    let inner = parser.duration(Precedence::Power)?;
                    parser.signed_duration(op, sign, inner)?
                }
                None => parser.simple_duration()?,
            };
            parser.duration_operators(operand, min)
        })
    }

    fn duration_operators(
        &mut self,
        mut lhs: DurationExpr,
        min: Precedence,
    ) -> Parsed<DurationExpr> {
        while let TokenKind::Operator(op) = self.peek()?.kind {
            let precedence = Precedence::of(op);
            let arithmetic = precedence >= Precedence::Add && op != BinaryOp::Atan2;
            if !arithmetic || precedence < min {
                break;
            }
            let sign = self.take()?;
            let rhs = self.duration(precedence.of_right_side())?;
            self.needs_duration_expressions(lhs.pos())?;
            self.refuse_zero_divisor(op, sign, &rhs)?;
            self.count_duration_operator(sign)?;
            let pos = lhs.pos().to(rhs.pos());
            let (left, right) = (Box::new(lhs), Box::new(rhs));
            lhs = DurationExpr::Binary(DurationBinary { op, lhs: left, rhs: right, pos });
        }
        Ok(lhs)
    }

    /// Bounds the height of duration expressions by their operators in all, over the whole query.
    fn count_duration_operator(&mut self, sign: Token) -> Parsed<()> {
        self.duration_operators += 1;
        if self.duration_operators > DURATION_OPERATORS_MAX {
            let message = format!("more than {DURATION_OPERATORS_MAX} operators between durations");
            return Err(self.error(sign.pos, message));
        }
        Ok(())
    }

    fn refuse_zero_divisor(&self, op: BinaryOp, sign: Token, rhs: &DurationExpr) -> Parsed<()> {
        match (op, rhs) {
            (BinaryOp::Div, DurationExpr::Literal(n)) if n.value == 0.0 => {
                Err(self.error(sign.pos, "division by zero"))
            }
            (BinaryOp::Mod, DurationExpr::Literal(n)) if n.value == 0.0 => {
                Err(self.error(sign.pos, "modulo by zero"))
            }
            _ => Ok(()),
        }
    }

    /// Everything without operators: literals, `step()`, `range()`, `min_of`, `max_of`, parentheses.
    fn simple_duration(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let literal = self.number_literal()?;
                let pos = literal.pos;
                self.bounded_literal(literal, pos)
            }
            TokenKind::Mark(Mark::LeftParen) => self.duration_paren(),
            TokenKind::Keyword(word @ (Keyword::Step | Keyword::Range)) => {
                self.take()?;
                self.expect(Mark::LeftParen)?;
                let close = self.expect(Mark::RightParen)?;
                let pos = token.pos.to(close.pos);
                self.needs_duration_expressions(pos)?;
                Ok(if word == Keyword::Step {
                    DurationExpr::Step(pos)
                } else {
                    DurationExpr::Range(pos)
                })
            }
            TokenKind::Keyword(word @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.take()?;
                self.expect(Mark::LeftParen)?;
                let lhs = Box::new(self.duration(Precedence::Add)?);
                self.expect(Mark::Comma)?;
                let rhs = Box::new(self.duration(Precedence::Add)?);
                let close = self.expect(Mark::RightParen)?;
                let pos = token.pos.to(close.pos);
                self.needs_duration_expressions(pos)?;
                let max = word == Keyword::MaxOf;
                Ok(DurationExpr::Extreme(DurationExtreme { max, lhs, rhs, pos }))
            }
            _ => self.unexpected(),
        }
    }

    fn duration_paren(&mut self) -> Parsed<DurationExpr> {
        let open = self.take()?;
        let inner = self.duration(Precedence::Add)?;
        let close = self.expect(Mark::RightParen)?;
        self.needs_duration_expressions(inner.pos())?;
        let pos = open.pos.to(close.pos);
        Ok(DurationExpr::Paren(match inner {
            // Doubled parentheses say no more than single ones.
            DurationExpr::Paren(paren) => DurationParen { pos, ..paren },
            expr => DurationParen { expr: Box::new(expr), pos },
        }))
    }

    /// The sign of a literal becomes part of it; a plus says nothing.
    fn signed_duration(
        &mut self,
        op: UnaryOp,
        sign: Token,
        inner: DurationExpr,
    ) -> Parsed<DurationExpr> {
        let pos = sign.pos.to(inner.pos());
        match inner {
            DurationExpr::Literal(literal) => {
                self.bounded_literal(signed(op, literal, pos), sign.pos)
            }
            inner if op == UnaryOp::Plus => Ok(inner),
            inner => Ok(DurationExpr::Unary(DurationUnary { op, expr: Box::new(inner), pos })),
        }
    }

    fn bounded_literal(&self, literal: NumberLiteral, pos: PosRange) -> Parsed<DurationExpr> {
        if literal.value.abs() > DURATION_SECONDS_MAX {
            return Err(self.error(pos, "duration out of range"));
        }
        Ok(DurationExpr::Literal(literal))
    }

    fn needs_duration_expressions(&self, pos: PosRange) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        Err(self.error(pos, "experimental duration expression is not enabled"))
    }
}
