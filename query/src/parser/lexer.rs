//! The lexer: text to tokens, one at a time, when the parser asks.
//!
//! What a character means depends on where it stands, so the lexer keeps account of open brackets: inside braces all
//! words are label names; inside square brackets only durations make sense. It reports Prometheus' errors for what it
//! cannot read, in the same words and at the same place.

mod literal;

use super::ast::{BinaryOp, PosRange};
use super::error::ParseError;
use super::quote::quoted_char;
use super::token::{Mark, Token, TokenKind, word};

/// Where the next token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Anywhere else.
    Expression,
    /// Inside `{...}`.
    Braces,
    /// Inside `[...]`, before the first number of each part.
    Duration,
    /// Inside `[...]`, after it.
    Bracket,
}

/// Gives the tokens of a text in order; after [`TokenKind::End`] it gives that again.
pub(super) struct Lexer<'a> {
    source: &'a str,
    /// Next byte to read.
    at: usize,
    /// First byte of the token that is being read.
    start: usize,
    place: Place,
    paren_depth: usize,
    /// Whether the `:` of the open square bracket was seen.
    colon_seen: bool,
    /// Whether a duration was seen inside square brackets, of this pair or an earlier one: Prometheus never forgets it.
    duration_seen: bool,
}

type Lexed<T> = Result<T, Box<ParseError>>;

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Lexer {
            source,
            at: 0,
            start: 0,
            place: Place::Expression,
            paren_depth: 0,
            colon_seen: false,
            duration_seen: false,
        }
    }

    /// The next token; comments and white space are skipped.
    pub(super) fn next(&mut self) -> Lexed<Token> {
        self.skip_blank();
        self.start = self.at;
        let kind = match self.place {
            Place::Expression | Place::Bracket => self.expression()?,
            Place::Braces => self.braces()?,
            Place::Duration => self.duration()?,
        };
        Ok(Token { kind, pos: PosRange::new(self.start, self.at) })
    }

    fn skip_blank(&mut self) {
        loop {
            self.skip_while(is_space);
            // Behind `[` a comment is not expected before the duration.
            if self.peek() != Some('#') || self.place == Place::Duration {
                return;
            }
            self.skip_while(|c| c != '\n' && c != '\r');
        }
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn bump_if(&mut self, accept: impl Fn(char) -> bool) -> bool {
        match self.peek() {
            Some(c) if accept(c) => {
                self.at += c.len_utf8();
                true
            }
            _ => false,
        }
    }

    fn skip_while(&mut self, accept: impl Fn(char) -> bool) {
        while self.bump_if(&accept) {}
    }

    fn error<T>(&self, message: impl Into<String>) -> Lexed<T> {
        Err(ParseError::new(self.source, PosRange::new(self.start, self.source.len()), message))
    }

    /// An error at what follows the token just read.
    fn error_behind<T>(&mut self, message: impl Into<String>) -> Lexed<T> {
        self.start = self.at;
        self.error(message)
    }

    fn expression(&mut self) -> Lexed<TokenKind> {
        let bracket = self.place == Place::Bracket;
        let Some(c) = self.bump() else {
            return match (self.paren_depth, bracket) {
                (0, false) => Ok(TokenKind::End),
                (0, true) => self.error("unclosed left bracket"),
                _ => self.error("unclosed left parenthesis"),
            };
        };
        match c {
            ',' => Ok(TokenKind::Mark(Mark::Comma)),
            '@' => Ok(TokenKind::Mark(Mark::At)),
            '(' | ')' => self.paren(c),
            '{' => {
                self.place = Place::Braces;
                Ok(TokenKind::Mark(Mark::LeftBrace))
            }
            '[' if bracket => self.error(format!("unexpected left bracket {}", quoted_char('['))),
            '[' => {
                self.place = Place::Duration;
                self.colon_seen = false;
                Ok(TokenKind::Mark(Mark::LeftBracket))
            }
            ']' if bracket => Ok(self.right_bracket()),
            ']' => self.error(format!("unexpected right bracket {}", quoted_char(']'))),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '.' if !self.peek().is_some_and(is_digit) => self.unexpected_character('.'),
            '0'..='9' | '.' => self.number_or_duration(),
            ':' if bracket => self.colon(),
            c if is_alpha(c) && bracket => match self.duration_keyword(c) {
                Some(keyword) => Ok(keyword),
                None => self.error(format!(
                    "unexpected character: {}, expected {}",
                    quoted_char(c),
                    quoted_char(':')
                )),
            },
            c if is_alpha(c) || c == ':' => Ok(self.word()),
            _ => self.operator(c),
        }
    }

    fn unexpected_character<T>(&self, c: char) -> Lexed<T> {
        self.error(format!("unexpected character: {}", quoted_char(c)))
    }

    fn paren(&mut self, c: char) -> Lexed<TokenKind> {
        if c == '(' {
            self.paren_depth += 1;
            return Ok(TokenKind::Mark(Mark::LeftParen));
        }
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                Ok(TokenKind::Mark(Mark::RightParen))
            }
            None => self.error_behind(format!("unexpected right parenthesis {}", quoted_char(')'))),
        }
    }

    fn right_bracket(&mut self) -> TokenKind {
        self.place = Place::Expression;
        TokenKind::Mark(Mark::RightBracket)
    }

    fn colon(&mut self) -> Lexed<TokenKind> {
        if self.colon_seen {
            return self.error(format!("unexpected colon {}", quoted_char(':')));
        }
        self.colon_seen = true;
        Ok(TokenKind::Mark(Mark::Colon))
    }

    /// Operators of one or two characters.
    fn operator(&mut self, c: char) -> Lexed<TokenKind> {
        let second = self.peek();
        let (op, two) = match (c, second) {
            ('+', _) => (BinaryOp::Add, false),
            ('-', _) => (BinaryOp::Sub, false),
            ('*', _) => (BinaryOp::Mul, false),
            ('/', _) => (BinaryOp::Div, false),
            ('%', _) => (BinaryOp::Mod, false),
            ('^', _) => (BinaryOp::Pow, false),
            ('=', Some('=')) => (BinaryOp::Equal, true),
            ('!', Some('=')) => (BinaryOp::NotEqual, true),
            ('<', Some('=')) => (BinaryOp::LessOrEqual, true),
            ('<', Some('/')) => (BinaryOp::TrimUpper, true),
            ('<', _) => (BinaryOp::Less, false),
            ('>', Some('=')) => (BinaryOp::GreaterOrEqual, true),
            ('>', Some('/')) => (BinaryOp::TrimLower, true),
            ('>', _) => (BinaryOp::Greater, false),
            ('=', Some('~')) => {
                return self.error(format!("unexpected character after '=': {}", quoted_char('~')));
            }
            ('=', _) => return Ok(TokenKind::Mark(Mark::Assign)),
            ('!', _) => {
                return self
                    .error(format!("unexpected character after '!': {}", quoted_or_end(second)));
            }
            _ => return self.unexpected_character(c),
        };
        self.at += usize::from(two);
        Ok(TokenKind::Operator(op))
    }

    /// A token inside `{...}`, where every word is a label name.
    fn braces(&mut self) -> Lexed<TokenKind> {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input inside braces");
        };
        Ok(match c {
            ',' => TokenKind::Mark(Mark::Comma),
            '"' | '\'' => self.string(c)?,
            '`' => self.raw_string()?,
            '=' if self.bump_if(|c| c == '~') => TokenKind::Mark(Mark::RegexMatch),
            '=' => TokenKind::Mark(Mark::Assign),
            '!' if self.bump_if(|c| c == '~') => TokenKind::Mark(Mark::RegexNoMatch),
            '!' if self.bump_if(|c| c == '=') => TokenKind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = quoted_or_end(self.peek());
                return self.error(format!("unexpected character after '!' inside braces: {next}"));
            }
            '{' => return self.error(format!("unexpected left brace {}", quoted_char('{'))),
            '}' => {
                self.place = Place::Expression;
                TokenKind::Mark(Mark::RightBrace)
            }
            c if is_alpha(c) => {
                self.skip_while(is_alphanumeric);
                TokenKind::Identifier
            }
            c => {
                return self
                    .error(format!("unexpected character inside braces: {}", quoted_char(c)));
            }
        })
    }

    /// A token behind `[`, before the first number.
    fn duration(&mut self) -> Lexed<TokenKind> {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input in duration expression");
        };
        let op = match c {
            ']' => return Ok(self.right_bracket()),
            ':' if !self.duration_seen => {
                return self
                    .error_behind("unexpected colon before duration in duration expression");
            }
            ':' if self.colon_seen => {
                return self.error_behind("unexpected repeated colon in duration expression");
            }
            ':' => return self.colon(),
            '(' | ')' => return self.paren(c),
            ',' => return Ok(TokenKind::Mark(Mark::Comma)),
            '+' => BinaryOp::Add,
            '-' => BinaryOp::Sub,
            '*' => BinaryOp::Mul,
            '/' => BinaryOp::Div,
            '%' => BinaryOp::Mod,
            '^' => BinaryOp::Pow,
            '0'..='9' => return self.first_duration(),
            '.' if self.peek().is_some_and(is_digit) => return self.first_duration(),
            c => match self.duration_keyword(c) {
                Some(keyword) => {
                    self.duration_seen = true;
                    return Ok(keyword);
                }
                None => {
                    return self.error(format!(
                        "unexpected character in duration expression: {}",
                        quoted_char(c)
                    ));
                }
            },
        };
        Ok(TokenKind::Operator(op))
    }

    fn first_duration(&mut self) -> Lexed<TokenKind> {
        self.place = Place::Bracket;
        self.duration_seen = true;
        self.number_or_duration()
    }

    /// Reads on from the letter `first`; gives the word if it belongs to duration expressions.
    fn duration_keyword(&mut self, first: char) -> Option<TokenKind> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.skip_while(is_alpha);
        let kind = word(&self.source[self.start..self.at])?;
        matches!(kind, TokenKind::Keyword(keyword) if keyword.is_duration()).then_some(kind)
    }

    fn word(&mut self) -> TokenKind {
        self.skip_while(|c| is_alphanumeric(c) || c == ':');
        let text = &self.source[self.start..self.at];
        match word(text) {
            // So that metrics called `fill` go on working.
            Some(TokenKind::Keyword(keyword)) if keyword.is_fill() && !self.paren_follows() => {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if text.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        }
    }

    fn paren_follows(&self) -> bool {
        self.source[self.at..].trim_start_matches(is_space).starts_with('(')
    }
}

fn quoted_or_end(c: Option<char>) -> String {
    // Prometheus' marker for the end of the text, a rune of -1, is printed as U+FFFD.
    quoted_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || is_digit(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Result<Vec<&str>, String> {
        let mut lexer = Lexer::new(source);
        let mut out = Vec::new();
        loop {
            let token = lexer.next().map_err(|e| e.to_string())?;
            if token.kind == TokenKind::End {
                return Ok(out);
            }
            out.push(&source[token.pos.start..token.pos.end]);
        }
    }

    #[test]
    fn splits() {
        for (source, expected) in [
            (
                "a:b{c!~\"d\"}[5m:1m]",
                &["a:b", "{", "c", "!~", "\"d\"", "}", "[", "5m", ":", "1m", "]"][..],
            ),
            ("1 </ 2>/-.5e-3 # c\n+0x1F", &["1", "</", "2", ">/", "-", ".5e-3", "+", "0x1F"]),
            ("x[step()*2]", &["x", "[", "step", "(", ")", "*", "2", "]"]),
            ("{a=~`b\n`}", &["{", "a", "=~", "`b\n`", "}"]),
        ] {
            assert_eq!(tokens(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn refuses() {
        for (source, expected) in [
            ("a[5m", "1:5: parse error: unclosed left bracket"),
            ("(a", "1:3: parse error: unclosed left parenthesis"),
            ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
            ("a{b=~\"c", "1:6: parse error: unterminated quoted string"),
            ("\"\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"),
            ("1e", "1:1: parse error: bad number or duration syntax: \"1e\""),
            ("5mx", "1:1: parse error: bad number or duration syntax: \"5mx\""),
            ("a{", "1:3: parse error: unexpected end of input inside braces"),
            ("$", "1:1: parse error: unexpected character: '$'"),
            ("a[x]", "1:3: parse error: unexpected character in duration expression: 'x'"),
            ("a[5m x]", "1:6: parse error: unexpected character: 'x', expected ':'"),
        ] {
            assert_eq!(tokens(source), Err(expected.to_owned()), "{source}");
        }
    }
}
