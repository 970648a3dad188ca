//! `file_sd`: files of target groups, in JSON or YAML by their ending.
//!
//! Which files there are and what they hold is handed in; here it is decided what follows from it. A file that cannot be
//! read keeps the groups it had: it may be half written.

use std::collections::BTreeMap;

use super::group;
use crate::scrape::TargetGroup;

/// The groups of each file as it was last read well.
#[derive(Debug, Default)]
pub struct Files {
    known: BTreeMap<String, Vec<TargetGroup>>,
}

/// What a look at the files came to.
#[derive(Debug, Default, PartialEq)]
pub struct Look {
    /// All groups of all files.
    pub groups: Vec<TargetGroup>,
    /// Files that could not be read, each with the reason.
    pub failures: Vec<String>,
}

impl Files {
    /// Takes the files that are there now, with their content or the reason why there is none.
    pub fn take(&mut self, found: Vec<(String, Result<Vec<u8>, String>)>) -> Look {
        let mut known = BTreeMap::new();
        let mut failures = Vec::new();
        for (path, content) in found {
            let before = self.known.remove(&path);
            let groups = match content.and_then(|bytes| parse(&path, &bytes)) {
                Ok(groups) => groups,
                Err(reason) => {
                    failures.push(format!("{path}: {reason}"));
                    before.unwrap_or_default()
                }
            };
            known.insert(path, groups);
        }
        self.known = known;
        Look { groups: self.known.values().flatten().cloned().collect(), failures }
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<Vec<TargetGroup>, String> {
    let source = |i| format!("{path}:{i}");
    let label = ("__meta_filepath", path);
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    if ending.eq_ignore_ascii_case("json") {
        return group::from_json(bytes, source, label);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 text: {e}"))?;
    group::from_yaml(text, source, label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> (String, Result<Vec<u8>, String>) {
        (path.to_owned(), Ok(content.as_bytes().to_vec()))
    }

    fn sources(look: &Look) -> Vec<&str> {
        look.groups.iter().map(|group| group.source.as_str()).collect()
    }

    #[test]
    fn a_bad_file_keeps_its_groups_and_a_missing_one_does_not() {
        let mut files = Files::default();
        let good = r#"[{"targets": ["a"]}, {"targets": ["b"]}]"#;
        let look = files.take(vec![file("d/x.json", good), file("d/y.yml", "- targets: [c]")]);
        assert_eq!(sources(&look), ["d/x.json:0", "d/x.json:1", "d/y.yml:0"]);
        assert_eq!(look.groups[2].labels["__meta_filepath"], "d/y.yml");

        let gone = ("d/y.yml".to_owned(), Err("Permission denied".to_owned()));
        let look = files.take(vec![file("d/x.json", "[{"), gone]);
        assert_eq!(sources(&look), ["d/x.json:0", "d/x.json:1", "d/y.yml:0"]);
        assert!(look.failures[0].starts_with("d/x.json: EOF"), "{:?}", look.failures);
        assert_eq!(look.failures[1], "d/y.yml: Permission denied");

        let look = files.take(vec![file("d/x.json", r#"[{"targets": ["a"]}]"#)]);
        assert_eq!(sources(&look), ["d/x.json:0"]);
        assert_eq!(look.failures, [""; 0]);
    }
}
