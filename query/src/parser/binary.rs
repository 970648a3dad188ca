//! Binary operators: what stands between the operator and its right side, and the node of all three.

use super::ast::{BinaryExpr, BinaryOp, Cardinality, Expr, VectorMatching};
use super::parse::{Node, Parsed, Parser, Precedence};
use super::token::{Keyword, Mark, TokenKind};

impl Parser<'_> {
    /// The operator's modifiers and right side.
    pub(super) fn binary(
        &mut self,
        lhs: Node,
        op: BinaryOp,
        precedence: Precedence,
    ) -> Parsed<Node> {
        let return_bool = self.take_if(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let matching = self.vector_matching()?;
        let rhs = self.expression(precedence.of_right_side())?;
        let pos = lhs.expr.pos().to(rhs.expr.pos());
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.options.fill_modifiers {
            return Err(self.error(pos, "binop fill modifiers are experimental and not enabled"));
        }
        let height = lhs.height.max(rhs.height);
        let binary = BinaryExpr {
            op,
            lhs: lhs.expr,
            rhs: rhs.expr,
            return_bool,
            matching: Some(matching),
            pos,
        };
        self.above(height, Expr::Binary(binary))
    }

    /// `on`/`ignoring`, `group_left`/`group_right`, `fill...`, all optional.
    fn vector_matching(&mut self) -> Parsed<VectorMatching> {
        let mut matching = VectorMatching::default();
        if let TokenKind::Keyword(word @ (Keyword::On | Keyword::Ignoring)) = self.peek()?.kind {
            self.take()?;
            matching.on = word == Keyword::On;
            matching.labels = self.label_list()?;
            let cardinality = match self.peek()?.kind {
                TokenKind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                TokenKind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if cardinality != Cardinality::OneToOne {
                self.take()?;
                matching.cardinality = cardinality;
                if !self.peek()?.kind.begins_operand() {
                    matching.include = self.label_list()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok(matching)
    }

    /// `fill (n)`, or `fill_left (n)` and `fill_right (n)` in any order, each at most once.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        if self.take_if(TokenKind::Keyword(Keyword::Fill))?.is_some() {
            let value = Some(self.fill_value()?);
            (matching.fill_left, matching.fill_right) = (value, value);
            return Ok(());
        }
        loop {
            let side = match self.peek()?.kind {
                TokenKind::Keyword(Keyword::FillLeft) => &mut matching.fill_left,
                TokenKind::Keyword(Keyword::FillRight) => &mut matching.fill_right,
                _ => return Ok(()),
            };
            if side.is_some() {
                return self.unexpected();
            }
            self.take()?;
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Mark::LeftParen)?;
        let value = match self.signed_number()? {
            Some((literal, _)) => literal.value,
            None => return self.unexpected(),
        };
        self.expect(Mark::RightParen)?;
        Ok(value)
    }
}
