//! The YAML of a rule file, as it is written. Every field may be absent or empty; unknown ones are errors.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A value that remembers where it stands.
pub(super) type Placed<T> = Option<Spanned<T>>;

/// Names and texts; a text left empty is `None`.
pub(super) type Texts = Option<BTreeMap<String, Option<String>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileYaml {
    #[serde(default)]
    pub groups: Option<Vec<Spanned<GroupYaml>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupYaml {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub interval: Placed<String>,
    #[serde(default)]
    pub query_offset: Placed<String>,
    #[serde(default)]
    pub limit: Placed<i64>,
    #[serde(default)]
    pub labels: Texts,
    #[serde(default)]
    pub rules: Option<Vec<Spanned<RuleYaml>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleYaml {
    #[serde(default)]
    pub record: Placed<String>,
    #[serde(default)]
    pub alert: Placed<String>,
    #[serde(default)]
    pub expr: Placed<String>,
    #[serde(default, rename = "for")]
    pub hold: Placed<String>,
    #[serde(default)]
    pub keep_firing_for: Placed<String>,
    #[serde(default)]
    pub labels: Texts,
    #[serde(default)]
    pub annotations: Texts,
}
