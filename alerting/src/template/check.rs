//! Checks the actions of a template: which blocks they open and close, which names they use.

use std::fmt;

use super::scan::{Action, Kind, Token, actions};
use crate::limits::TEMPLATE_DEPTH_MAX;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line, from 1.
    pub line: usize,
    /// What, in Go's words.
    pub problem: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.problem)
    }
}

impl std::error::Error for TemplateError {}

/// Functions of Go's templates and of Prometheus', sorted.
const FUNCTIONS: &[&str] = &[
    "and",
    "args",
    "call",
    "eq",
    "externalURL",
    "first",
    "ge",
    "graphLink",
    "gt",
    "html",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "index",
    "js",
    "label",
    "le",
    "len",
    "lt",
    "match",
    "ne",
    "not",
    "now",
    "or",
    "parseDuration",
    "pathPrefix",
    "print",
    "printf",
    "println",
    "query",
    "reReplaceAll",
    "safeHtml",
    "slice",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "tmpl",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "urlquery",
    "value",
];

/// Variables that every template of an alert has.
const VARIABLES: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

/// Checks a template of an alerting rule's label or annotation.
pub fn check_template(template: &str) -> Result<(), TemplateError> {
    let mut checker = Checker { variables: VARIABLES.to_vec(), blocks: Vec::new() };
    for action in actions(template)? {
        checker.action(&action)?;
    }
    match checker.blocks.last() {
        None => Ok(()),
        Some(_) => fail(1 + template.matches('\n').count(), "unexpected EOF"),
    }
}

fn fail<T>(line: usize, problem: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError { line, problem: problem.into() })
}

/// A block that is open.
struct Block<'a> {
    word: &'a str,
    /// Variables declared outside of it.
    variables: usize,
    /// Whether its last `else` was seen.
    finished: bool,
}

struct Checker<'a> {
    variables: Vec<&'a str>,
    blocks: Vec<Block<'a>>,
}

type Checked = Result<(), TemplateError>;

impl<'a> Checker<'a> {
    fn action(&mut self, action: &Action<'a>) -> Checked {
        let line = action.line;
        let word = action.tokens.first().filter(|t| t.kind == Kind::Word).map(|t| t.text);
        let rest = action.tokens.get(1..).unwrap_or_default();
        match word {
            Some(word @ ("if" | "with" | "range" | "define" | "block")) => {
                self.open(word, rest, line)
            }
            Some("else") => self.otherwise(rest, line),
            Some("end") => match self.blocks.pop() {
                Some(block) => {
                    self.variables.truncate(block.variables);
                    Ok(())
                }
                None => fail(line, "unexpected {{end}}"),
            },
            Some(word @ ("break" | "continue")) => {
                if self.blocks.iter().any(|block| block.word == "range") {
                    Ok(())
                } else {
                    fail(line, format!("{{{{{word}}}}} outside {{{{range}}}}"))
                }
            }
            Some("template") => match rest {
                [name, pipeline @ ..] if name.kind == Kind::Literal => self.names(pipeline),
                _ => fail(line, "missing name in template clause"),
            },
            _ => self.pipeline("command", &action.tokens, line),
        }
    }

    fn open(&mut self, word: &'a str, rest: &[Token<'a>], line: usize) -> Checked {
        if self.blocks.len() == TEMPLATE_DEPTH_MAX {
            return fail(line, format!("blocks nested deeper than {TEMPLATE_DEPTH_MAX}"));
        }
        self.blocks.push(Block { word, variables: self.variables.len(), finished: false });
        match (word, rest) {
            ("define" | "block", [name, pipeline @ ..]) if name.kind == Kind::Literal => {
                self.names(pipeline)
            }
            ("define" | "block", _) => fail(line, format!("missing name in {word} clause")),
            _ => self.pipeline(word, rest, line),
        }
    }

    /// `else`, `else if` in an `if`, `else with` in a `with`.
    fn otherwise(&mut self, rest: &[Token<'a>], line: usize) -> Checked {
        let Some(block) = self.blocks.last_mut() else {
            return fail(line, "unexpected {{else}}");
        };
        if block.finished {
            return fail(line, "expected end; found {{else}}");
        }
        if !matches!(block.word, "if" | "with" | "range") {
            return fail(line, "unexpected {{else}}");
        }
        let word = block.word;
        match rest {
            [] => {
                block.finished = true;
                Ok(())
            }
            [next, pipeline @ ..] if next.text == word && word != "range" => {
                self.pipeline(word, pipeline, line)
            }
            [next, ..] => fail(next.line, format!("unexpected <{}> in input", next.text)),
        }
    }

    /// Commands between pipes, behind an optional declaration.
    fn pipeline(&mut self, place: &str, tokens: &[Token<'a>], line: usize) -> Checked {
        let declared = declaration(tokens);
        let (names, commands) = tokens.split_at(declared);
        // The value is read before its name exists.
        let empty = commands.is_empty();
        if empty {
            return fail(line, format!("missing value for {place}"));
        }
        if let Some(stray) = commands.first().filter(|t| t.kind == Kind::Pipe) {
            return fail(stray.line, format!("unexpected \"|\" in {place}"));
        }
        self.names(commands)?;
        self.variables.extend(names.iter().filter(|t| t.kind == Kind::Variable).map(|t| t.text));
        Ok(())
    }

    /// Every function and variable must exist.
    fn names(&self, tokens: &[Token<'a>]) -> Checked {
        for token in tokens {
            let known = match token.kind {
                Kind::Variable => self.variables.contains(&token.text),
                Kind::Word => {
                    matches!(token.text, "true" | "false" | "nil")
                        || FUNCTIONS.binary_search(&token.text).is_ok()
                }
                Kind::Declare | Kind::Comma => {
                    return fail(token.line, format!("unexpected {:?} in operand", token.text));
                }
                _ => true,
            };
            let text = token.text;
            match token.kind {
                _ if known => {}
                Kind::Variable => return fail(token.line, format!("undefined variable {text:?}")),
                _ => return fail(token.line, format!("function {text:?} not defined")),
            }
        }
        Ok(())
    }
}

/// How many tokens declare variables: `$a :=`, `$a =`, `$a, $b :=`.
fn declaration(tokens: &[Token<'_>]) -> usize {
    use Kind::{Comma, Declare, Variable};
    let kinds: Vec<Kind> = tokens.iter().take(4).map(|token| token.kind).collect();
    match kinds.as_slice() {
        [Variable, Declare, ..] => 2,
        [Variable, Comma, Variable, Declare] => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_sorted() {
        assert!(FUNCTIONS.is_sorted());
    }

    #[test]
    fn good_templates() {
        for template in [
            "",
            "plain }} text",
            "{{ $labels.instance }} is {{ $value | humanize }}",
            "{{- $value -}}",
            "{{/* comment */}}{{- /* and \n another */ -}}",
            r#"{{ range $i, $x := query "up" }}{{ $x | value }}{{ $i }}{{ break }}{{ end }}"#,
            "{{ with $x := 1 }}{{ $x }}{{ else }}{{ $x }}{{ end }}",
            "{{ if $value }}{{ else if gt $value 1.0 }}{{ else }}{{ end }}",
            r#"{{ printf "%.2f \"quoted\"" $value }}{{ `raw` }}{{ 'c' }}{{ -1.5e3 }}{{ 0x1F }}"#,
            r#"{{ (query "up").x }}{{ . }}{{ .Labels.foo.bar }}{{ $ }}{{ true }}"#,
            r#"{{ define "x" }}{{ end }}{{ template "x" . }}"#,
            "{{ $x := 1 }}{{ $x }}",
        ] {
            assert_eq!(check_template(template), Ok(()), "{template}");
        }
    }

    #[test]
    fn bad_templates() {
        for (template, expected) in [
            ("{{ $labels.instance", "1: unclosed action"),
            ("{{\n foo }}", "2: function \"foo\" not defined"),
            ("{{ $foo }}", "1: undefined variable \"$foo\""),
            ("{{ if $value }}x", "1: unexpected EOF"),
            ("{{ end }}", "1: unexpected {{end}}"),
            ("{{ else }}", "1: unexpected {{else}}"),
            ("{{ if $value }}{{ else }}{{ else }}{{ end }}", "1: expected end; found {{else}}"),
            (r#"{{ range $x := query "up" }}{{ end }}{{ $x }}"#, "1: undefined variable \"$x\""),
            ("{{ \"abc }}", "1: unterminated quoted string"),
            ("{{ `abc }}", "1: unterminated raw quoted string"),
            ("{{ ( 1 }}", "1: unclosed left paren"),
            ("{{ 1 ) }}", "1: unexpected right paren"),
            ("{{ }}", "1: missing value for command"),
            ("{{/* c }}", "1: unclosed comment"),
            ("{{ | humanize }}", "1: unexpected \"|\" in command"),
            ("{{ $labels.foo-bar }}", "1: bad character U+002D '-'"),
            ("{{ if }}{{ end }}", "1: missing value for if"),
            ("{{ break }}", "1: {{break}} outside {{range}}"),
            ("{{ humanize $value, 1 }}", "1: unexpected \",\" in operand"),
            ("{{ $value := }}", "1: missing value for command"),
            ("{{ # }}", "1: unexpected \"#\" in command"),
        ] {
            assert_eq!(
                check_template(template).map_err(|e| e.to_string()),
                Err(expected.to_owned()),
                "{template}"
            );
        }
    }
}
