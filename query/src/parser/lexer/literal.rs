//! Strings, numbers and durations: where each ends, and whether its escapes make sense.

use super::{Lexed, Lexer, is_alphanumeric, is_digit};
use crate::parser::quote::{code_point, quoted};
use crate::parser::token::TokenKind;

impl Lexer<'_> {
    /// Reads on behind the opening quote.
    pub(super) fn string(&mut self, quote: char) -> Lexed<TokenKind> {
        loop {
            match self.bump() {
                None | Some('\n') => return self.error("unterminated quoted string"),
                Some(char::REPLACEMENT_CHARACTER) => return self.error("invalid UTF-8 rune"),
                Some('\\') => self.escape(quote)?,
                Some(c) if c == quote => return Ok(TokenKind::String),
                Some(_) => {}
            }
        }
    }

    pub(super) fn raw_string(&mut self) -> Lexed<TokenKind> {
        loop {
            match self.bump() {
                None => return self.error("unterminated raw string"),
                Some(char::REPLACEMENT_CHARACTER) => return self.error("invalid UTF-8 rune"),
                Some('`') => return Ok(TokenKind::String),
                Some(_) => {}
            }
        }
    }

    /// Checks an escape behind its backslash.
    fn escape(&mut self, quote: char) -> Lexed<()> {
        let unterminated = "escape sequence not terminated";
        let Some(kind) = self.peek() else {
            return self.error(unterminated);
        };
        let (digits, radix, max) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => (0, 0, 0),
            c if c == quote => (0, 0, 0),
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            c => return self.error(format!("unknown escape sequence {}", code_point(c))),
        };
        if radix != 8 {
            self.at += 1;
        }
        let mut value = 0_u32;
        for _ in 0..digits {
            let Some(c) = self.bump() else {
                return self.error(unterminated);
            };
            let Some(digit) = c.to_digit(radix) else {
                return self
                    .error(format!("illegal character {} in escape sequence", code_point(c)));
            };
            value = value.wrapping_mul(radix).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return self.error("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    /// Reads a number or a duration from its first character on, which was taken already.
    pub(super) fn number_or_duration(&mut self) -> Lexed<TokenKind> {
        self.at = self.start;
        if self.number() {
            return Ok(TokenKind::Number);
        }
        if self.rest_of_duration() {
            return Ok(TokenKind::Duration);
        }
        // The character that is wrong belongs to the message.
        let text = &self.source[self.start..self.at];
        self.error(format!("bad number or duration syntax: {}", quoted(text)))
    }

    fn accept(&mut self, set: &str) -> bool {
        self.bump_if(|c| set.contains(c))
    }

    fn is(&self, set: &str) -> bool {
        self.peek().is_some_and(|c| set.contains(c))
    }

    /// Takes what looks like a number; whether it is one is seen when its value is read. False when it cannot be one; then
    /// the digits taken may be those of a duration.
    fn number(&mut self) -> bool {
        const EXPONENT: &str = "eE";
        let mut digits = "0123456789";
        let hexadecimal = self.accept("0") && self.accept("xX");
        if hexadecimal {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        self.accept(".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        loop {
            if (self.is(".") && dot) || (self.is(EXPONENT) && exponent) {
                self.bump();
                return false;
            }
            if self.accept(".") {
                dot = true;
                if self.accept("_.") || hexadecimal {
                    return false;
                }
            } else if self.accept(EXPONENT) {
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.is(digits) {
                self.skip_while(|c| digits.contains(c));
            } else {
                break;
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// Takes the units of a duration whose first digits were taken, and further pairs of digits and unit.
    fn rest_of_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept("0123456789") {
            self.skip_while(is_digit);
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        !self.bump_if(is_alphanumeric)
    }
}
