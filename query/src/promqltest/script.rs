//! Reading scripts: lines into commands.

use regex::Regex;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::time::TimestampMs;

use super::series::{SequenceValue, parse_line, parse_start_line};
use crate::parser::duration::parse_duration_ms;
use crate::parser::number::parse_number;

/// One command of a script.
#[derive(Clone, Debug)]
pub enum Command {
    /// `clear`: an empty storage.
    Clear,
    /// `load`: samples.
    Load(Load),
    /// `eval`: a query and what it must give.
    Eval(Box<Eval>),
}

/// `load [with_nhcb] step` and its series.
#[derive(Clone, Debug)]
pub struct Load {
    /// Distance of the samples.
    pub step_ms: i64,
    /// Classic histograms are stored as native ones too.
    pub with_native: bool,
    /// The series; a later line with the same labels replaces an earlier one.
    pub series: Vec<LoadSeries>,
}

/// One series of a `load`.
#[derive(Clone, Debug)]
pub struct LoadSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its values, one a step.
    pub values: Vec<Option<SequenceValue>>,
    /// How far before each sample its start timestamp lies, in ms; `None` where unknown.
    pub starts: Vec<Option<i64>>,
}

/// The moments of an evaluation.
#[derive(Clone, Copy, Debug)]
pub enum Moments {
    /// `eval instant at`
    Instant(TimestampMs),
    /// `eval range from to step`
    Range {
        /// First step.
        start_ms: TimestampMs,
        /// Last step.
        end_ms: TimestampMs,
        /// Distance.
        step_ms: i64,
    },
}

/// How a text must look.
#[derive(Clone, Debug)]
pub enum TextMatch {
    /// Anything.
    Any,
    /// Exactly this.
    Message(String),
    /// Found somewhere in it.
    Regex(Regex),
}

impl TextMatch {
    /// Whether a text looks so.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            TextMatch::Any => true,
            TextMatch::Message(message) => message == text,
            TextMatch::Regex(regex) => regex.is_match(text),
        }
    }
}

/// What an evaluation must give.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// It fails, with one of these texts.
    pub fail: Vec<TextMatch>,
    /// Warnings.
    pub warnings: Vec<TextMatch>,
    /// Infos.
    pub infos: Vec<TextMatch>,
    /// No warnings.
    pub no_warnings: bool,
    /// No infos.
    pub no_infos: bool,
    /// The series come in the order of the lines.
    pub ordered: bool,
    /// The result is this number.
    pub scalar: Option<f64>,
    /// The result is this string.
    pub string: Option<String>,
    /// Moments of the points of a range vector.
    pub range_vector: Option<(TimestampMs, TimestampMs, i64)>,
    /// Series and their values.
    pub series: Vec<(Labels, Vec<Option<SequenceValue>>)>,
}

/// A query and what it must give.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The query.
    pub query: String,
    /// When.
    pub moments: Moments,
    /// What.
    pub expected: Expectations,
    /// Its line, from 1.
    pub line: usize,
}

type Result<T> = std::result::Result<T, String>;

/// Reads a script.
pub fn parse(text: &str) -> Result<Vec<Command>> {
    let lines: Vec<&str> = text
        .split('\n')
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let patterns = Patterns::new();
    let mut commands = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        let word = line.split([' ', '\t']).next().unwrap_or("").to_lowercase();
        let block_end = lines[i..].iter().position(|l| l.is_empty()).map_or(lines.len(), |n| i + n);
        let block = &lines[(i + 1).min(block_end)..block_end];
        let at_line = |e: String| format!("line {}: {e}", i + 1);
        match word.as_str() {
            "" => i += 1,
            "clear" => {
                commands.push(Command::Clear);
                i += 1;
            }
            w if w.starts_with("load") => {
                commands.push(Command::Load(patterns.load(line, block).map_err(at_line)?));
                i = block_end;
            }
            w if w.starts_with("eval") => {
                let eval = patterns.eval(line, block, i + 1).map_err(at_line)?;
                commands.push(Command::Eval(Box::new(eval)));
                i = block_end;
            }
            _ => return Err(at_line(format!("invalid command {line:?}"))),
        }
    }
    Ok(commands)
}

struct Patterns {
    load: Regex,
    instant: Regex,
    range: Regex,
    expect: Regex,
    range_vector: Regex,
}

fn regex(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is a constant")
}

impl Patterns {
    fn new() -> Self {
        Patterns {
            load: regex(r"^load(?:_(with_nhcb))?\s+(.+?)$"),
            instant: regex(
                r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$",
            ),
            range: regex(
                r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$",
            ),
            expect: regex(
                r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$",
            ),
            range_vector: regex(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$"),
        }
    }

    fn load(&self, line: &str, block: &[&str]) -> Result<Load> {
        let head = self.load.captures(line).ok_or("invalid load command")?;
        let step_ms = parse_duration_ms(&head[2])?;
        let mut series: Vec<LoadSeries> = Vec::new();
        let mut starts = None;
        for line in block {
            if let Some(pending) = parse_start_line(line)? {
                starts = Some(pending);
                continue;
            }
            let (labels, values) = parse_line(line)?;
            let starts = match starts.take() {
                None => vec![None; values.len()],
                Some((of, starts)) if of == labels && starts.len() == values.len() => starts,
                Some(_) => return Err(format!("the @st line before {line:?} does not fit it")),
            };
            series.retain(|known| known.labels != labels);
            series.push(LoadSeries { labels, values, starts });
        }
        Ok(Load { step_ms, with_native: head.get(1).is_some(), series })
    }

    fn eval(&self, line: &str, block: &[&str], number: usize) -> Result<Eval> {
        let (suffix, moments, query) = if let Some(c) = self.instant.captures(line) {
            let t = parse_duration_ms(c.get(2).map_or("", |m| m.as_str()))?;
            (c.get(1), Moments::Instant(t), c[3].to_owned())
        } else {
            let c = self.range.captures(line).ok_or("invalid eval command")?;
            let moments = Moments::Range {
                start_ms: parse_duration_ms(&c[2])?,
                end_ms: parse_duration_ms(&c[3])?,
                step_ms: parse_duration_ms(&c[4])?,
            };
            (c.get(1), moments, c[5].to_owned())
        };
        let mut expected = Expectations::default();
        match suffix.map(|m| m.as_str()) {
            Some("fail") => expected.fail.push(TextMatch::Any),
            Some("warn") => expected.warnings.push(TextMatch::Any),
            Some("info") => expected.infos.push(TextMatch::Any),
            Some("ordered") => expected.ordered = true,
            _ => {}
        }
        for line in block {
            if !self.expectation(line, &mut expected)? {
                break;
            }
        }
        Ok(Eval { query, moments, expected, line: number })
    }

    /// Reads one line of an `eval` block; false if it ends the block.
    fn expectation(&self, line: &str, expected: &mut Expectations) -> Result<bool> {
        if let Some(text) = line.strip_prefix("expected_fail_message") {
            expected.fail = vec![TextMatch::Message(text.trim().to_owned())];
            return Ok(false);
        }
        if let Some(text) = line.strip_prefix("expected_fail_regexp") {
            expected.fail = vec![TextMatch::Regex(user_regex(text.trim())?)];
            return Ok(false);
        }
        if let Some(c) = self.range_vector.captures(line) {
            let [start, end, step] = [&c[1], &c[2], &c[3]].map(parse_duration_ms);
            expected.range_vector = Some((start?, end?, step?));
            return Ok(true);
        }
        if let Some(text) = line.strip_prefix("expect string ") {
            expected.string = Some(unquoted(text.trim())?);
            return Ok(true);
        }
        if line.split(' ').next() == Some("expect") {
            let c = self
                .expect
                .captures(line)
                .ok_or_else(|| format!("invalid expectation {line:?}"))?;
            let text = match (c.get(2).map(|m| m.as_str()), c.get(3).map(|m| m.as_str().trim())) {
                (Some("msg"), Some(text)) => TextMatch::Message(text.to_owned()),
                (Some("regex"), Some(text)) => TextMatch::Regex(user_regex(text)?),
                _ => TextMatch::Any,
            };
            match &c[1] {
                "fail" => expected.fail.push(text),
                "warn" => expected.warnings.push(text),
                "info" => expected.infos.push(text),
                "no_warn" => expected.no_warnings = true,
                "no_info" => expected.no_infos = true,
                _ => expected.ordered = true,
            }
            return Ok(true);
        }
        if let Some(number) = lone_number(line) {
            expected.scalar = Some(number);
            return Ok(false);
        }
        let (labels, values) = parse_line(line)?;
        match expected.series.iter_mut().find(|(known, _)| *known == labels) {
            Some(known) => known.1 = values,
            None => expected.series.push((labels, values)),
        }
        Ok(true)
    }
}

fn user_regex(source: &str) -> Result<Regex> {
    Regex::new(source).map_err(|e| e.to_string())
}

fn lone_number(line: &str) -> Option<f64> {
    let (sign, digits) = match line.strip_prefix(['-', '+']) {
        Some(rest) => (if line.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, line),
    };
    parse_number(digits).ok().map(|v| sign * v)
}

/// A string in any of PromQL's quotes.
fn unquoted(text: &str) -> Result<String> {
    use crate::parser::ast::Expr;
    match crate::parser::parse(text, &crate::parser::ParserOptions::ALL) {
        Ok(Expr::String(literal)) => Ok(literal.value),
        _ => Err(format!("not a string: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let script = "
            # a comment
            load 5m
                m{a=\"1\"} 1 2 3
            clear
            eval instant at 5m m
                expect no_warn
                {a=\"1\"} 2

            eval_fail range from 0 to 10m step 5m m[5m]
            eval instant at 1s 1 + 1
              2
        ";
        let error = parse(script).unwrap_err();
        assert!(error.starts_with("line 3"), "{error}");
        let script = script.replace("clear", "\n clear");
        let commands = parse(&script.replace("m[5m]\n", "m[5m]\n\n")).unwrap();
        assert_eq!(commands.len(), 5);
        let Command::Eval(first) = &commands[2] else { panic!() };
        assert!(first.expected.no_warnings && first.expected.series.len() == 1);
        let Command::Eval(last) = &commands[4] else { panic!() };
        assert_eq!(last.expected.scalar, Some(2.0));
    }
}
