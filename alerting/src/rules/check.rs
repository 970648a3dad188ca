//! From the text of a file to checked groups. A file is accepted whole or not at all; all its errors are found, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_saphyr::{Location, Spanned};
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_query::parser::ast::Expr;
use tidemark_query::parser::duration::parse_duration_ms;
use tidemark_query::parser::quote::quoted;
use tidemark_query::parser::{ParserOptions, parse};

use super::file::{FileYaml, GroupYaml, RuleYaml, Texts};
use super::model::{Rule, RuleError, RuleFile, RuleGroup, RuleKind};
use crate::limits::{FILE_BYTES_MAX, RULES_MAX};
use crate::template::check_template;

/// Reads and checks a rule file.
pub fn load_rules(path: &Path, options: ParserOptions) -> Result<RuleFile, Vec<RuleError>> {
    let name = path.to_string_lossy();
    let fail = |message: String| {
        Err(vec![RuleError { file: name.clone().into_owned(), place: None, message }])
    };
    match std::fs::metadata(path) {
        Err(error) => return fail(error.to_string()),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return fail(format!("{} bytes, and at most {FILE_BYTES_MAX} are read", meta.len()));
        }
        Ok(_) => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => parse_rules(&name, &text, options),
        Err(error) => fail(error.to_string()),
    }
}

/// Checks the text of a rule file; `file` is its name in errors.
pub fn parse_rules(
    file: &str,
    text: &str,
    options: ParserOptions,
) -> Result<RuleFile, Vec<RuleError>> {
    let yaml: FileYaml = serde_saphyr::from_str(text).map_err(|error| {
        let whole = error.without_snippet().to_string();
        let place = error.location().map(|l| (l.line(), l.column()));
        let suffix = place.map(|(line, column)| format!(" at line {line}, column {column}"));
        let message = suffix.and_then(|s| whole.strip_suffix(&s)).unwrap_or(&whole).to_owned();
        vec![RuleError { file: file.to_owned(), place, message }]
    })?;
    let mut checker = Checker { file, options, errors: Vec::new() };
    let groups = checker.groups(yaml.groups.unwrap_or_default());
    if checker.errors.is_empty() {
        Ok(RuleFile { name: file.to_owned(), groups })
    } else {
        Err(checker.errors)
    }
}

/// Rules that give the same series or alerts: their name and labels, each once, in order.
pub fn duplicates(file: &RuleFile) -> Vec<(String, BTreeMap<String, String>)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for group in &file.groups {
        for rule in &group.rules {
            let mut labels = group.labels.clone();
            labels.extend(rule.labels.clone());
            let identity = (rule.name.clone(), labels);
            if !seen.insert(identity.clone()) {
                twice.insert(identity);
            }
        }
    }
    twice.into_iter().collect()
}

struct Checker<'a> {
    file: &'a str,
    options: ParserOptions,
    errors: Vec<RuleError>,
}

/// Which rule is being checked, for errors.
struct Subject<'a> {
    group: &'a str,
    number: usize,
    name: &'a str,
    place: Location,
}

fn place(location: Location) -> Option<(u64, u64)> {
    (location != Location::UNKNOWN).then(|| (location.line(), location.column()))
}

/// A text where there is one, with its place.
type Text<'a> = Option<&'a Spanned<String>>;

fn text(value: Text<'_>) -> &str {
    value.map_or("", |text| text.value.as_str())
}

impl Checker<'_> {
    fn error(&mut self, at: Location, message: String) {
        self.errors.push(RuleError { file: self.file.to_owned(), place: place(at), message });
    }

    fn rule_error(&mut self, subject: &Subject<'_>, at: Option<Location>, problem: &str) {
        let message = format!(
            "group {}, rule {}, {}: {problem}",
            quoted(subject.group),
            subject.number,
            quoted(subject.name)
        );
        self.error(at.unwrap_or(subject.place), message);
    }

    fn groups(&mut self, groups: Vec<Spanned<GroupYaml>>) -> Vec<RuleGroup> {
        let mut names = BTreeSet::new();
        let mut rules = 0;
        let mut checked = Vec::with_capacity(groups.len());
        for Spanned { value: group, referenced: at, .. } in groups {
            let name = group.name.clone().unwrap_or_default();
            if name.is_empty() {
                self.error(at, "Groupname must not be empty".to_owned());
            }
            if !names.insert(name.clone()) {
                self.error(at, format!("groupname: \"{name}\" is repeated in the same file"));
            }
            rules += group.rules.as_ref().map_or(0, Vec::len);
            if rules > RULES_MAX {
                self.error(at, format!("more than {RULES_MAX} rules in one file"));
                break;
            }
            checked.push(self.group(name, group, at));
        }
        checked
    }

    fn group(&mut self, name: String, group: GroupYaml, at: Location) -> RuleGroup {
        let labels = plain(group.labels);
        for label in bad_labels(&labels) {
            self.error(at, format!("invalid label name: {label}"));
        }
        let limit = group.limit.as_ref().map_or(0, |limit| limit.value);
        let interval_ms = self.duration(group.interval.as_ref());
        let query_offset_ms = self.duration(group.query_offset.as_ref());
        let rules = group.rules.unwrap_or_default().into_iter().enumerate();
        let rules = rules.filter_map(|(i, rule)| self.rule(&name, i + 1, rule)).collect();
        RuleGroup {
            rules,
            interval_ms: interval_ms.filter(|ms| *ms > 0),
            query_offset_ms,
            limit: u64::try_from(limit).unwrap_or(0),
            labels,
            name,
        }
    }

    fn duration(&mut self, value: Text<'_>) -> Option<i64> {
        let Spanned { value, referenced, .. } = value?;
        parse_duration_ms(value).map_err(|problem| self.error(*referenced, problem)).ok()
    }

    fn rule(&mut self, group: &str, number: usize, rule: Spanned<RuleYaml>) -> Option<Rule> {
        let Spanned { value: rule, referenced: at, .. } = rule;
        let (record, alert) = (text(rule.record.as_ref()), text(rule.alert.as_ref()));
        let name = if alert.is_empty() { record } else { alert }.to_owned();
        let subject = Subject { group, number, name: &name, place: at };
        let errors_before = self.errors.len();
        let hold_ms = self.duration(rule.hold.as_ref()).unwrap_or(0);
        let keep_firing_for_ms = self.duration(rule.keep_firing_for.as_ref()).unwrap_or(0);
        match (record.is_empty(), alert.is_empty()) {
            (false, false) => {
                let problem = "only one of 'record' and 'alert' must be set";
                self.rule_error(&subject, None, problem);
            }
            (true, true) => {
                self.rule_error(&subject, None, "one of 'record' or 'alert' must be set");
            }
            _ => {}
        }
        let expr = self.expression(&subject, rule.expr.as_ref());
        if !record.is_empty() {
            let fields = [
                ("annotations", rule.annotations.as_ref().is_some_and(|a| !a.is_empty())),
                ("for", hold_ms != 0),
                ("keep_firing_for", keep_firing_for_ms != 0),
            ];
            self.recording(&subject, rule.record.as_ref(), &fields);
        }
        let is_alert = !alert.is_empty();
        let (labels, annotations) = (plain(rule.labels), plain(rule.annotations));
        self.texts(&subject, &labels, &annotations, is_alert);
        if self.errors.len() > errors_before {
            return None;
        }
        let kind = if is_alert {
            RuleKind::Alerting { for_ms: hold_ms, keep_firing_for_ms, annotations }
        } else {
            RuleKind::Recording
        };
        let expr_text = rule.expr.map(|expr| expr.value).unwrap_or_default();
        Some(Rule { expr_text, expr: expr?, labels, kind, name })
    }

    fn expression(&mut self, subject: &Subject<'_>, expr: Text<'_>) -> Option<Expr> {
        let at = expr.map(|expr| expr.referenced);
        let source = text(expr);
        if source.is_empty() {
            self.rule_error(subject, at, "field 'expr' must be set in rule");
            return None;
        }
        match parse(source, &self.options) {
            Ok(expr) => Some(expr),
            Err(error) => {
                let problem = format!("could not parse expression: {error}");
                self.rule_error(subject, at, &problem);
                None
            }
        }
    }

    /// What a recording rule may not have, and what its name may not hold.
    fn recording(&mut self, subject: &Subject<'_>, record: Text<'_>, set: &[(&str, bool)]) {
        let at = record.map(|record| record.referenced);
        for (field, _) in set.iter().filter(|(_, is_set)| *is_set) {
            let problem = format!("invalid field '{field}' in recording rule");
            self.rule_error(subject, at, &problem);
        }
        let name = text(record);
        // Such names are allowed, but most likely an expression stands in the wrong field.
        if name.contains(['{', '}']) {
            let problem =
                format!("braces present in the recording rule name; should it be in expr?: {name}");
            self.rule_error(subject, at, &problem);
        }
    }

    fn texts(
        &mut self,
        subject: &Subject<'_>,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        are_templates: bool,
    ) {
        for label in bad_labels(labels) {
            self.rule_error(subject, None, &format!("invalid label name: {label}"));
        }
        for name in annotations.keys().filter(|name| name.is_empty()) {
            self.rule_error(subject, None, &format!("invalid annotation name: {name}"));
        }
        if !are_templates {
            return;
        }
        for (kind, texts) in [("label", labels), ("annotation", annotations)] {
            for (name, template) in texts {
                if let Err(error) = check_template(template) {
                    let problem = format!(
                        "{kind} {}: template: __alert_{}:{error}",
                        quoted(name),
                        subject.name
                    );
                    self.rule_error(subject, None, &problem);
                }
            }
        }
    }
}

/// Texts that were left empty are empty.
fn plain(texts: Texts) -> BTreeMap<String, String> {
    let texts = texts.unwrap_or_default().into_iter();
    texts.map(|(name, text)| (name, text.unwrap_or_default())).collect()
}

fn bad_labels(labels: &BTreeMap<String, String>) -> impl Iterator<Item = &String> {
    labels.keys().filter(|name| name.is_empty() || *name == METRIC_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<RuleFile, Vec<String>> {
        parse_rules("r.yml", text, ParserOptions::default())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_good_file() {
        let file = check(
            r#"groups:
- name: node
  interval: 30s
  query_offset: 1m
  limit: 10
  labels: {team: infra, level: 1.10}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels:
  - alert: Down
    expr: |
      up
        == 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: "{{ $labels.job | toUpper }}"}
    annotations: {summary: "{{ if gt $value 1.0 }}{{ $value | humanize }}{{ end }}"}
- name: empty
"#,
        )
        .unwrap();
        assert_eq!(file.rule_count(), 2);
        let group = &file.groups[0];
        assert_eq!((group.interval_ms, group.query_offset_ms), (Some(30_000), Some(60_000)));
        assert_eq!((group.limit, group.labels["level"].as_str()), (10, "1.10"));
        assert_eq!(group.rules[0].kind, RuleKind::Recording);
        let RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } = &group.rules[1].kind
        else {
            panic!("an alert");
        };
        assert_eq!((*for_ms, *keep_firing_for_ms, annotations.len()), (300_000, 60_000, 1));
        assert_eq!(group.rules[1].expr.to_string(), "up == 0");
        assert_eq!(check("").unwrap().groups.len(), 0);
    }

    #[test]
    fn errors_say_where() {
        for (text, expected) in [
            (
                "groups:\n- name: a\n  rulez: []\n",
                "r.yml:3:3: unknown field `rulez`, expected one of name, interval, query_offset, limit, labels, rules",
            ),
            ("groups:\n- name: ''\n", "r.yml:2:3: Groupname must not be empty"),
            (
                "groups:\n- name: a\n- name: a\n",
                "r.yml:3:3: groupname: \"a\" is repeated in the same file",
            ),
            (
                "groups:\n- name: a\n  interval: 5x\n",
                "r.yml:3:13: unknown unit \"x\" in duration \"5x\"",
            ),
            (
                "groups:\n- name: a\n  labels: {__name__: x}\n",
                "r.yml:2:3: invalid label name: __name__",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - expr: up\n",
                "r.yml:4:5: group \"a\", rule 1, \"\": one of 'record' or 'alert' must be set",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - expr: up\n    record: b\n    alert: c\n",
                "r.yml:4:5: group \"a\", rule 1, \"c\": only one of 'record' and 'alert' must be set",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - record: b\n",
                "r.yml:4:5: group \"a\", rule 1, \"b\": field 'expr' must be set in rule",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up +\n",
                "r.yml:5:11: group \"a\", rule 1, \"b\": could not parse expression: 1:5: parse error: unexpected end of input",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - record: b\n    expr: up\n    for: 1m\n",
                "r.yml:4:13: group \"a\", rule 1, \"b\": invalid field 'for' in recording rule",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - record: 'b{c=\"d\"}'\n    expr: up\n",
                "r.yml:4:13: group \"a\", rule 1, \"b{c=\\\"d\\\"}\": braces present in the recording rule name; should it be in expr?: b{c=\"d\"}",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    labels: {c: '{{ foo }}'}\n",
                "r.yml:4:5: group \"a\", rule 1, \"b\": label \"c\": template: __alert_b:1: function \"foo\" not defined",
            ),
            (
                "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: up\n    annotations: {c: '{{ $value'}\n",
                "r.yml:4:5: group \"a\", rule 1, \"b\": annotation \"c\": template: __alert_b:1: unclosed action",
            ),
        ] {
            assert_eq!(
                check(text).map(|file| file.rule_count()),
                Err(vec![expected.to_owned()]),
                "{text}"
            );
        }
    }

    #[test]
    fn all_errors_are_found() {
        let text = "groups:\n- name: a\n  rules:\n  - record: b\n    expr: 1+\n  - record: c\n    expr: 2+\n";
        assert_eq!(check(text).unwrap_err().len(), 2);
    }

    #[test]
    fn the_same_series_twice() {
        let text = "groups:\n- name: a\n  rules:\n  - &r {record: b, expr: up}\n  - *r\n  - {record: b, expr: up, labels: {x: y}}\n  - *r\n";
        let file = check(text).unwrap();
        assert_eq!(duplicates(&file), [("b".to_owned(), BTreeMap::new())]);
    }
}
