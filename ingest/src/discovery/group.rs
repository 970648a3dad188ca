//! Lists of target groups as people and programs write them: JSON from URLs, JSON and YAML in files.
//!
//! ```text
//! [{"targets": ["host:9100"], "labels": {"env": "prod"}}, ...]
//! ```
//!
//! Read as strictly as Prometheus does: an unknown field, a group that is `null` or a label without a name make the whole
//! list bad, so that a typing error takes no targets away.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::scrape::TargetGroup;

/// A group as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// The groups of a JSON list; `source_of` names the group of a number, `label` is added to each.
pub fn from_json(
    bytes: &[u8],
    source_of: impl Fn(usize) -> String,
    label: (&str, &str),
) -> Result<Vec<TargetGroup>, String> {
    let written: Option<Vec<Option<Written>>> =
        serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    groups(written, source_of, label)
}

/// The same of a YAML list.
pub fn from_yaml(
    text: &str,
    source_of: impl Fn(usize) -> String,
    label: (&str, &str),
) -> Result<Vec<TargetGroup>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let written: Option<Vec<Option<Written>>> =
        serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
    groups(written, source_of, label)
}

fn groups(
    written: Option<Vec<Option<Written>>>,
    source_of: impl Fn(usize) -> String,
    (name, value): (&str, &str),
) -> Result<Vec<TargetGroup>, String> {
    let group = |(i, written): (usize, Option<Written>)| {
        let written = written.ok_or("nil target group item found")?;
        let mut labels = written.labels.unwrap_or_default();
        if labels.contains_key("") {
            return Err(format!("group {i}: a label without a name"));
        }
        labels.insert(name.to_owned(), value.to_owned());
        let targets = written.targets.unwrap_or_default();
        let targets = targets.iter().map(String::as_str);
        Ok(TargetGroup::of_addresses(&source_of(i), targets, labels))
    };
    written.unwrap_or_default().into_iter().enumerate().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Vec<TargetGroup>, String> {
        from_json(text.as_bytes(), |i| format!("s:{i}"), ("__meta_x", "y"))
    }

    fn yaml(text: &str) -> Result<Vec<TargetGroup>, String> {
        from_yaml(text, |i| format!("s:{i}"), ("__meta_x", "y"))
    }

    #[test]
    fn both_notations_give_the_same() {
        let written =
            r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "prod"}}, {"targets": ["c"]}]"#;
        let groups = json(written).unwrap();
        assert_eq!(groups, yaml(written).unwrap());
        assert_eq!(
            groups,
            yaml("- targets:\n  - a:1\n  - 'b:2'\n  labels:\n    env: prod\n- targets: [c]\n  labels:\n").unwrap()
        );
        assert_eq!((groups[0].source.as_str(), groups[1].source.as_str()), ("s:0", "s:1"));
        assert_eq!(groups[0].labels["env"], "prod");
        assert_eq!(groups[1].labels["__meta_x"], "y");
        assert_eq!(groups[1].targets[0]["__address__"], "c");
        for empty in ["[]", "null"] {
            assert!(json(empty).unwrap().is_empty() && yaml(empty).unwrap().is_empty());
        }
        assert!(yaml("# nothing yet\n").unwrap().is_empty());
        assert_eq!(yaml("- labels: {n: 1, b: yes}").unwrap()[0].labels["n"], "1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("[null]", "nil target group item found"),
            ("[{\"target\": []}]", "unknown field `target`"),
            ("[{\"targets\": [1]}]", "expected a string"),
            ("[{\"labels\": {\"\": \"x\"}}]", "group 0: a label without a name"),
            ("{}", "expected a sequence"),
            ("[", "EOF"),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in
            ["- targets: a", "- x: 1", "targets: []", "- [", "- targets: [a]\n  targets: [b]"]
        {
            assert!(yaml(text).is_err(), "{text}");
        }
    }
}
