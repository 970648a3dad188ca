//! Splits a template into actions, and each action into tokens.

use super::check::TemplateError;

/// What stands between `{{` and `}}`, comments left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action<'a> {
    pub tokens: Vec<Token<'a>>,
    /// Line of its last token.
    pub line: usize,
}

/// A token of an action, with its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a function, `true`, `false` or `nil`.
    Word,
    /// `$name` or `$` alone.
    Variable,
    /// `.` or `.name`.
    Field,
    /// A string, a character or a number.
    Literal,
    /// `:=` or `=`.
    Declare,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `(`
    Open,
    /// `)`
    Close,
}

const COMMENT_OPEN: &str = "/*";
const COMMENT_CLOSE: &str = "*/";

/// The actions of a template, in order.
pub(super) fn actions(template: &str) -> Result<Vec<Action<'_>>, TemplateError> {
    let mut found = Vec::new();
    let mut scanner = Scanner { rest: template, line: 1 };
    while let Some(at) = scanner.rest.find("{{") {
        scanner.skip(at + 2);
        // `{{-` trims the text before it if white space follows.
        if scanner.rest.starts_with('-') && scanner.rest[1..].starts_with(is_space) {
            scanner.skip(1);
        }
        if let Some(action) = scanner.action()? {
            found.push(action);
        }
    }
    Ok(found)
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError { line: self.line, problem: problem.into() })
    }

    fn action(&mut self) -> Result<Option<Action<'a>>, TemplateError> {
        if self.rest.trim_start_matches(is_space).starts_with(COMMENT_OPEN) {
            return self.comment();
        }
        let mut action = Action { tokens: Vec::new(), line: self.line };
        let mut open = 0_usize;
        loop {
            let blank = self.rest.len() - self.rest.trim_start_matches(is_space).len();
            self.skip(blank);
            action.line = self.line;
            let trims = blank > 0 && self.rest.starts_with("-}}");
            if trims || self.rest.starts_with("}}") {
                if open > 0 {
                    return self.fail("unclosed left paren");
                }
                self.skip(if trims { 3 } else { 2 });
                return Ok(Some(action));
            }
            let (kind, bytes) = self.token()?;
            match kind {
                Kind::Open => open += 1,
                Kind::Close if open == 0 => return self.fail("unexpected right paren"),
                Kind::Close => open -= 1,
                _ => {}
            }
            let line = self.line;
            let text = self.skip(bytes);
            action.tokens.push(Token { kind, text, line });
        }
    }

    /// A comment is all of its action.
    fn comment(&mut self) -> Result<Option<Action<'a>>, TemplateError> {
        let Some(end) = self.rest.find(COMMENT_CLOSE) else {
            return self.fail("unclosed comment");
        };
        self.skip(end + COMMENT_CLOSE.len());
        let after = self.rest.trim_start_matches(is_space);
        let closes = after.starts_with("}}") || after.starts_with("-}}");
        let Some(end) = self.rest.find("}}").filter(|_| closes) else {
            return self.fail("comment ends before closing delimiter");
        };
        self.skip(end + 2);
        Ok(None)
    }

    /// Kind and length of the next token.
    fn token(&self) -> Result<(Kind, usize), TemplateError> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else {
            return self.fail("unclosed action");
        };
        let name = |from: usize| {
            let end = self.rest[from..].find(|c: char| !is_name(c));
            end.map_or(self.rest.len(), |end| from + end)
        };
        let single = |kind| Ok((kind, 1));
        match first {
            '|' => single(Kind::Pipe),
            ',' => single(Kind::Comma),
            '(' => single(Kind::Open),
            ')' => single(Kind::Close),
            '=' => single(Kind::Declare),
            ':' if chars.next() == Some('=') => Ok((Kind::Declare, 2)),
            ':' => self.fail("expected :="),
            '"' => self.quoted('"', "unterminated quoted string"),
            '\'' => self.quoted('\'', "unterminated character constant"),
            '`' => match self.rest[1..].find('`') {
                Some(end) => Ok((Kind::Literal, end + 2)),
                None => self.fail("unterminated raw quoted string"),
            },
            '$' => self.ended(Kind::Variable, name(1)),
            '.' if !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.ended(Kind::Field, name(1))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(),
            c if is_name(c) => self.ended(Kind::Word, name(0)),
            c => self.fail(format!("unexpected \"{c}\" in command")),
        }
    }

    /// A name must be followed by something that can follow one.
    fn ended(&self, kind: Kind, end: usize) -> Result<(Kind, usize), TemplateError> {
        let after = self.rest[end..].chars().next();
        match after {
            None | Some('.' | ',' | '|' | ':' | ')' | '(' | '}' | '=') => Ok((kind, end)),
            Some(c) if is_space(c) => Ok((kind, end)),
            Some(c) => self.fail(format!("bad character U+{:04X} '{c}'", u32::from(c))),
        }
    }

    fn quoted(&self, quote: char, problem: &str) -> Result<(Kind, usize), TemplateError> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return Ok((Kind::Literal, at + 1)),
                _ => {}
            }
        }
        self.fail(problem)
    }

    fn number(&self) -> Result<(Kind, usize), TemplateError> {
        let mut end = 0;
        let mut before = ' ';
        for c in self.rest.chars() {
            let sign = matches!(c, '+' | '-') && (end == 0 || matches!(before, 'e' | 'E' | 'p'));
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
                break;
            }
            before = c;
            end += 1;
        }
        let text = self.rest[..end].replace('_', "");
        let digits = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        let based = |prefix: &str, radix: u32| {
            let digits = digits.strip_prefix(prefix);
            digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
        };
        let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if starts
            && (text.parse::<f64>().is_ok() || based("0x", 16) || based("0o", 8) || based("0b", 2))
        {
            return Ok((Kind::Literal, end));
        }
        self.fail(format!("bad number syntax: \"{}\"", &self.rest[..end]))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
