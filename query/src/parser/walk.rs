//! Walks over the tree: direct children, and every node in the order of evaluation.

use super::ast::Expr;

/// The direct children of a node, in the order they were written (an aggregation's parameter before its vector).
pub fn children(expr: &Expr) -> impl Iterator<Item = &Expr> {
    let (first, second, rest): (Option<&Expr>, Option<&Expr>, &[Expr]) = match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => (None, None, &[]),
        Expr::Subquery(e) => (Some(&e.expr), None, &[]),
        Expr::Unary(e) => (Some(&e.expr), None, &[]),
        Expr::Paren(e) => (Some(&e.expr), None, &[]),
        Expr::Binary(e) => (Some(&e.lhs), Some(&e.rhs), &[]),
        Expr::Aggregate(e) => (e.param.as_deref(), Some(&e.expr), &[]),
        Expr::Call(e) => (None, None, &e.args),
    };
    first.into_iter().chain(second).chain(rest)
}

/// As [`children`], to change them.
pub fn children_mut(expr: &mut Expr) -> impl Iterator<Item = &mut Expr> {
    let (first, second, rest): (Option<&mut Expr>, Option<&mut Expr>, &mut [Expr]) = match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => {
            (None, None, &mut [])
        }
        Expr::Subquery(e) => (Some(&mut e.expr), None, &mut []),
        Expr::Unary(e) => (Some(&mut e.expr), None, &mut []),
        Expr::Paren(e) => (Some(&mut e.expr), None, &mut []),
        Expr::Binary(e) => (Some(&mut e.lhs), Some(&mut e.rhs), &mut []),
        Expr::Aggregate(e) => (e.param.as_deref_mut(), Some(&mut e.expr), &mut []),
        Expr::Call(e) => (None, None, &mut e.args),
    };
    first.into_iter().chain(second).chain(rest)
}

/// Visits `expr` and everything below it, parents first. `visit` gets the ancestors of the node, outermost first, and
/// says whether to go below the node.
pub fn walk<'a>(expr: &'a Expr, visit: &mut impl FnMut(&'a Expr, &[&'a Expr]) -> bool) {
    fn go<'a>(
        expr: &'a Expr,
        path: &mut Vec<&'a Expr>,
        visit: &mut impl FnMut(&'a Expr, &[&'a Expr]) -> bool,
    ) {
        if !visit(expr, path) {
            return;
        }
        path.push(expr);
        for child in children(expr) {
            go(child, path, visit);
        }
        path.pop();
    }
    go(expr, &mut Vec::new(), visit);
}
