//! `relabel_configs`: rules that rewrite, keep or drop label sets; only read and checked here, carried out by ingest.

use tidemark_core::model::labels::is_legacy_label_name;

use super::scalars::Pattern;
use super::section::{Checked, ensure, fault, section};

section! {
    /// One rule.
    RelabelConfig {
        source_labels: Vec<String>,
        separator: String = ";".to_owned(),
        regex: Pattern,
        modulus: u64,
        target_label: String,
        replacement: String = "$1".to_owned(),
        action: String = "replace".to_owned(),
    }
    check = Self::complete
}

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
    "keepequal",
    "dropequal",
];

impl RelabelConfig {
    /// What holds whatever the naming scheme is.
    fn complete(&mut self) -> Checked {
        self.action.make_ascii_lowercase();
        let action = self.action.clone();
        ensure(!action.is_empty(), "action", || "relabel action cannot be empty".to_owned())?;
        ensure(ACTIONS.contains(&action.as_str()), "action", || {
            format!("unknown relabel action {action:?}")
        })?;
        ensure(action != "hashmod" || self.modulus > 0, "action", || {
            "relabel configuration for hashmod requires non-zero modulus".to_owned()
        })?;
        let writes_label =
            !matches!(&*action, "keep" | "drop" | "labelmap" | "labeldrop" | "labelkeep");
        ensure(!writes_label || !self.target_label.is_empty(), "action", || {
            format!("relabel configuration for {action} action requires 'target_label' value")
        })?;
        self.nothing_idle(&action)
    }

    /// Fields that an action does not use may not be set.
    fn nothing_idle(&self, action: &str) -> Checked {
        let default = RelabelConfig::default();
        let replacement = self.replacement == default.replacement;
        let plain = self.modulus == 0 && self.separator == default.separator && replacement;
        match action {
            "lowercase" | "uppercase" => ensure(replacement, "replacement", || {
                format!("'replacement' can not be set for {action} action")
            }),
            "dropequal" | "keepequal" => {
                ensure(plain && self.regex == default.regex, "action", || {
                    format!(
                        "{action} action requires only 'source_labels' and `target_label`, and no other fields"
                    )
                })
            }
            "labeldrop" | "labelkeep" => {
                let unused = self.source_labels.is_empty() && self.target_label.is_empty();
                ensure(plain && unused, "action", || {
                    format!("{action} action requires only 'regex', and no other fields")
                })
            }
            _ => Ok(()),
        }
    }

    /// What holds under a naming scheme.
    pub(crate) fn check_names(&self, legacy: bool) -> Checked {
        let action = self.action.as_str();
        let template = self.target_label.contains('$');
        let good_target = match (action, legacy) {
            ("replace", true) if template => is_legacy_template(&self.target_label),
            (
                "replace" | "hashmod" | "lowercase" | "uppercase" | "keepequal" | "dropequal",
                true,
            ) => is_legacy_label_name(&self.target_label),
            _ => true,
        };
        ensure(good_target, "target_label", || {
            format!("{:?} is invalid 'target_label' for {action} action", self.target_label)
        })?;
        if action == "labelmap" {
            let good = if legacy {
                is_legacy_template(&self.replacement)
            } else {
                !self.replacement.is_empty()
            };
            ensure(good, "replacement", || {
                format!("{:?} is invalid 'replacement' for {action} action", self.replacement)
            })?;
        }
        if legacy
            && let Some(bad) = self.source_labels.iter().find(|name| !is_legacy_label_name(name))
        {
            return Err(fault("source_labels", format!("{bad:?} is not a valid label name")));
        }
        Ok(())
    }
}

/// Whether it is a legacy label name in which `$1`, `$name`, `${1}` and `${name}` may stand.
fn is_legacy_template(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('$') {
            let (name, tail) = match after.strip_prefix('{') {
                Some(inner) => match inner.split_once('}') {
                    Some(parts) => parts,
                    None => return false,
                },
                None => after.split_at(after.find(|c| !word(c)).unwrap_or(after.len())),
            };
            if name.is_empty() || !name.chars().all(word) {
                return false;
            }
            rest = tail;
        } else {
            let mut chars = rest.chars();
            match chars.next() {
                Some(c) if word(c) && !(first && c.is_ascii_digit()) => rest = chars.as_str(),
                _ => return false,
            }
        }
        first = false;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RelabelConfig, String> {
        let rule: RelabelConfig =
            serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
        rule.check_names(true).map_err(|f| f.message)?;
        Ok(rule)
    }

    #[test]
    fn good_and_bad_rules() {
        for good in [
            "{target_label: a}",
            "{action: KEEP, regex: 'a|b'}",
            "{action: hashmod, modulus: 8, target_label: t, source_labels: [a]}",
            "{action: labelmap, regex: 'x_(.*)', replacement: 'y_${1}'}",
            "{target_label: '${1}_x$2'}",
            "{action: labeldrop, regex: a}",
            "{action: dropequal, source_labels: [a], target_label: b}",
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        for (bad, part) in [
            ("{}", "requires 'target_label'"),
            ("{action: nope}", "unknown relabel action \"nope\""),
            ("{action: ''}", "cannot be empty"),
            ("{action: hashmod, target_label: t}", "non-zero modulus"),
            ("{regex: '(', target_label: a}", "error parsing regexp"),
            ("{action: labeldrop, regex: a, target_label: b}", "requires only 'regex'"),
            ("{action: labelkeep, regex: a, separator: ','}", "requires only 'regex'"),
            (
                "{action: dropequal, source_labels: [a], target_label: b, regex: x}",
                "no other fields",
            ),
            (
                "{action: lowercase, source_labels: [a], target_label: b, replacement: x}",
                "'replacement' can not",
            ),
            ("{action: replace, target_label: 'a-b'}", "invalid 'target_label'"),
            ("{action: replace, target_label: '${1'}", "invalid 'target_label'"),
            ("{action: labelmap, regex: a, replacement: 'a-b'}", "invalid 'replacement'"),
            ("{source_labels: ['a-b'], target_label: a}", "not a valid label name"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
