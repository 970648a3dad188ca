//! Tokens and keywords, and how error messages name them.

use super::ast::{AggregateOp, BinaryOp, PosRange};
use super::quote::quoted;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// End of the text.
    End,
    /// A name without a colon that is no keyword.
    Identifier,
    /// A name with a colon.
    MetricIdentifier,
    /// A string in any of the three kinds of quotes.
    String,
    /// A number, `Inf` and `NaN` included.
    Number,
    /// Digits with units, such as `5m`.
    Duration,
    /// Brackets, commas and signs that are no operators of expressions.
    Mark(Mark),
    /// An operator of expressions; `!=` also matches labels.
    Operator(BinaryOp),
    /// An aggregation.
    Aggregate(AggregateOp),
    /// Any other keyword.
    Keyword(Keyword),
}

/// Signs that are no operators of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Assign,
    RegexMatch,
    RegexNoMatch,
    At,
}

/// Keywords that are neither operators nor aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// Every word with a meaning, in lower case; they are recognized in any case.
const WORDS: [(&str, TokenKind); 39] = [
    ("and", TokenKind::Operator(BinaryOp::And)),
    ("or", TokenKind::Operator(BinaryOp::Or)),
    ("unless", TokenKind::Operator(BinaryOp::Unless)),
    ("atan2", TokenKind::Operator(BinaryOp::Atan2)),
    ("sum", TokenKind::Aggregate(AggregateOp::Sum)),
    ("avg", TokenKind::Aggregate(AggregateOp::Avg)),
    ("count", TokenKind::Aggregate(AggregateOp::Count)),
    ("min", TokenKind::Aggregate(AggregateOp::Min)),
    ("max", TokenKind::Aggregate(AggregateOp::Max)),
    ("group", TokenKind::Aggregate(AggregateOp::Group)),
    ("stddev", TokenKind::Aggregate(AggregateOp::Stddev)),
    ("stdvar", TokenKind::Aggregate(AggregateOp::Stdvar)),
    ("topk", TokenKind::Aggregate(AggregateOp::TopK)),
    ("bottomk", TokenKind::Aggregate(AggregateOp::BottomK)),
    ("quantile", TokenKind::Aggregate(AggregateOp::Quantile)),
    ("count_values", TokenKind::Aggregate(AggregateOp::CountValues)),
    ("limitk", TokenKind::Aggregate(AggregateOp::LimitK)),
    ("limit_ratio", TokenKind::Aggregate(AggregateOp::LimitRatio)),
    ("offset", TokenKind::Keyword(Keyword::Offset)),
    ("anchored", TokenKind::Keyword(Keyword::Anchored)),
    ("smoothed", TokenKind::Keyword(Keyword::Smoothed)),
    ("by", TokenKind::Keyword(Keyword::By)),
    ("without", TokenKind::Keyword(Keyword::Without)),
    ("on", TokenKind::Keyword(Keyword::On)),
    ("ignoring", TokenKind::Keyword(Keyword::Ignoring)),
    ("group_left", TokenKind::Keyword(Keyword::GroupLeft)),
    ("group_right", TokenKind::Keyword(Keyword::GroupRight)),
    ("fill", TokenKind::Keyword(Keyword::Fill)),
    ("fill_left", TokenKind::Keyword(Keyword::FillLeft)),
    ("fill_right", TokenKind::Keyword(Keyword::FillRight)),
    ("bool", TokenKind::Keyword(Keyword::Bool)),
    ("start", TokenKind::Keyword(Keyword::Start)),
    ("end", TokenKind::Keyword(Keyword::End)),
    ("step", TokenKind::Keyword(Keyword::Step)),
    ("range", TokenKind::Keyword(Keyword::Range)),
    ("max_of", TokenKind::Keyword(Keyword::MaxOf)),
    ("min_of", TokenKind::Keyword(Keyword::MinOf)),
    ("inf", TokenKind::Number),
    ("nan", TokenKind::Number),
];

/// The longest of [`WORDS`]: a longer name needs no look-up.
const WORD_BYTES_MAX: usize = 12;

/// The meaning of a word, if it has one.
pub(super) fn word(text: &str) -> Option<TokenKind> {
    if text.len() > WORD_BYTES_MAX {
        return None;
    }
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, kind)| kind)
}

impl Keyword {
    /// `fill`, `fill_left` and `fill_right` mean something only in front of a parenthesis.
    pub(super) fn is_fill(self) -> bool {
        matches!(self, Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
    }

    /// The words inside duration expressions.
    pub(super) fn is_duration(self) -> bool {
        matches!(self, Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf)
    }

    /// The words that are functions too.
    pub(super) fn is_function(self) -> bool {
        self.is_duration() || matches!(self, Keyword::Start | Keyword::End)
    }
}

impl TokenKind {
    /// Whether the word can be a metric name where an expression may begin.
    pub(super) fn is_metric_name(self) -> bool {
        match self {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
            TokenKind::Operator(op) => op.is_set(),
            TokenKind::Keyword(keyword) => !matches!(
                keyword,
                Keyword::Bool
                    | Keyword::On
                    | Keyword::Ignoring
                    | Keyword::GroupLeft
                    | Keyword::GroupRight
            ),
            _ => false,
        }
    }

    /// Whether the word can be a label name in a list of labels.
    pub(super) fn is_label_name(self) -> bool {
        match self {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
            TokenKind::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            TokenKind::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }

    /// Whether an expression can begin with it.
    pub(super) fn begins_expression(self) -> bool {
        self == TokenKind::Mark(Mark::LeftParen) || self.begins_operand()
    }

    /// Whether an expression can begin with it, parentheses apart.
    pub(super) fn begins_operand(self) -> bool {
        self.is_metric_name()
            || matches!(
                self,
                TokenKind::Number
                    | TokenKind::Duration
                    | TokenKind::String
                    | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
                    | TokenKind::Mark(Mark::LeftBrace)
            )
    }
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub pos: PosRange,
}

/// How an error names the token whose text is `text`.
pub(super) fn describe(kind: TokenKind, text: &str) -> String {
    match kind {
        TokenKind::End => "end of input".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quoted(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quoted(text)),
        TokenKind::String => format!("string {}", shortened(text)),
        TokenKind::Number => format!("number {}", shortened(text)),
        TokenKind::Duration => format!("duration {}", shortened(text)),
        TokenKind::Operator(_)
        | TokenKind::Mark(Mark::RegexMatch | Mark::RegexNoMatch | Mark::At) => {
            format!("<op:{text}>")
        }
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        TokenKind::Keyword(keyword) if !keyword.is_function() => format!("<{text}>"),
        TokenKind::Mark(_) | TokenKind::Keyword(_) => shortened(text),
    }
}

/// Quoted, cut after ten characters.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 10;
    if text.len() <= CHARS_MAX {
        return quoted(text).to_string();
    }
    let cut = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(at, _)| at);
    format!("{}...", quoted(&text[..cut]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case() {
        assert_eq!(word("SuM"), Some(TokenKind::Aggregate(AggregateOp::Sum)));
        assert_eq!(word("Inf"), Some(TokenKind::Number));
        assert_eq!(word("summer"), None);
        assert_eq!(WORDS.iter().map(|(w, _)| w.len()).max(), Some(WORD_BYTES_MAX));
    }

    #[test]
    fn tokens_are_named_as_prometheus_names_them() {
        assert_eq!(describe(TokenKind::End, ""), "end of input");
        assert_eq!(describe(TokenKind::Keyword(Keyword::By), "BY"), "<BY>");
        assert_eq!(describe(TokenKind::Keyword(Keyword::Start), "start"), "\"start\"");
        assert_eq!(describe(TokenKind::Mark(Mark::At), "@"), "<op:@>");
        assert_eq!(describe(TokenKind::String, "'0123456789'"), "string \"'012345678\"...");
    }
}
