//! Relabelling: rules that rewrite, keep or drop a label set, as Prometheus defines them.
//!
//! A rule joins the values of its source labels, matches them with its regular expression (anchored at both ends) and
//! then acts. Rules are applied in turn, each to what the one before left; one may drop the set, which ends it. Used for
//! targets (`relabel_configs`), for scraped series (`metric_relabel_configs`) and for whatever else takes such rules.

mod case;
mod template;

use md5::{Digest, Md5};
use regex::Regex;
use tidemark_core::model::labels::is_legacy_label_name;
use tidemark_core::model::matcher::{BadRegex, anchored};

use crate::label_set::LabelSet;
use template::Template;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label to the replacement if the expression matches.
    #[default]
    Replace,
    /// Drops the set unless the expression matches.
    Keep,
    /// Drops the set if the expression matches.
    Drop,
    /// Sets the target label to the hash of the source, modulo a number.
    HashMod,
    /// Copies each label whose name matches to the name that the replacement makes of it.
    LabelMap,
    /// Removes each label whose name matches.
    LabelDrop,
    /// Removes each label whose name does not match.
    LabelKeep,
    /// Sets the target label to the source in lower case.
    Lowercase,
    /// Sets the target label to the source in upper case.
    Uppercase,
    /// Drops the set unless source and target label are equal.
    KeepEqual,
    /// Drops the set if source and target label are equal.
    DropEqual,
}

/// Every action and its name in configuration files.
const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
];

impl Action {
    /// The action called `name`, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        ACTIONS.iter().find(|(n, _)| *n == name).map(|&(_, action)| action)
    }

    /// Its name in configuration files.
    pub fn as_str(self) -> &'static str {
        ACTIONS[self as usize].0
    }
}

/// What a rule is made of; the fields are those of a configuration file and have the same defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOptions {
    /// Whose values are joined.
    pub source_labels: Vec<String>,
    /// What stands between them.
    pub separator: String,
    /// What they are matched with; for the actions on names, what the names are matched with.
    pub regex: String,
    /// Of [`Action::HashMod`]; not zero there.
    pub modulus: u64,
    /// What is set or compared; of [`Action::Replace`] it may refer to groups of the expression.
    pub target_label: String,
    /// What it is set to; may refer to groups of the expression.
    pub replacement: String,
    /// What is done.
    pub action: Action,
    /// Whether a label name that [`Action::Replace`] makes must be one that needs no quotes.
    pub legacy_names: bool,
}

impl Default for RuleOptions {
    fn default() -> Self {
        RuleOptions {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: DEFAULT_REGEX.to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
            legacy_names: false,
        }
    }
}

/// The expression that matches everything and captures it; by far the most frequent.
const DEFAULT_REGEX: &str = "(.*)";

/// Why a rule cannot be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelabelError {
    /// Its expression is none.
    #[error(transparent)]
    Regex(#[from] BadRegex),
    /// Division by zero.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    ZeroModulus,
}

/// A rule ready to be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    options: RuleOptions,
    regex: Regex,
    target_label: Template,
    replacement: Template,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl Rule {
    /// Compiles the expression and the templates.
    pub fn new(options: RuleOptions) -> Result<Self, RelabelError> {
        if options.action == Action::HashMod && options.modulus == 0 {
            return Err(RelabelError::ZeroModulus);
        }
        let regex = anchored(&options.regex)?;
        let target_label = Template::new(&options.target_label, &regex);
        let replacement = Template::new(&options.replacement, &regex);
        Ok(Rule { options, regex, target_label, replacement })
    }

    /// What it was made of.
    pub fn options(&self) -> &RuleOptions {
        &self.options
    }

    /// Applies the rule; `false` says that the set is dropped.
    fn apply(&self, set: &mut LabelSet) -> bool {
        let target = self.options.target_label.as_str();
        match self.options.action {
            Action::Keep => return self.is_match(&self.source(set)),
            Action::Drop => return !self.is_match(&self.source(set)),
            Action::KeepEqual => return set.get(target) == self.source(set),
            Action::DropEqual => return set.get(target) != self.source(set),
            Action::Replace => self.replace(set),
            Action::HashMod => {
                let hash = hash(&self.source(set)) % self.options.modulus;
                set.set(target, &hash.to_string());
            }
            Action::Lowercase => set.set(target, &case::lower(&self.source(set))),
            Action::Uppercase => set.set(target, &case::upper(&self.source(set))),
            Action::LabelMap => self.map_names(set),
            Action::LabelDrop => set.retain(|name| !self.is_match(name)),
            Action::LabelKeep => set.retain(|name| self.is_match(name)),
        }
        true
    }

    fn matches_all(&self) -> bool {
        self.options.regex == DEFAULT_REGEX
    }

    fn is_match(&self, value: &str) -> bool {
        self.matches_all() || self.regex.is_match(value)
    }

    fn source(&self, set: &LabelSet) -> String {
        let mut joined = String::new();
        for (i, name) in self.options.source_labels.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.options.separator);
            }
            joined.push_str(set.get(name));
        }
        joined
    }

    fn replace(&self, set: &mut LabelSet) {
        let source = self.source(set);
        let Some(captures) = self.regex.captures(&source) else { return };
        let target = self.target_label.expand(&captures);
        let valid =
            !target.is_empty() && (!self.options.legacy_names || is_legacy_label_name(&target));
        if valid {
            set.set(&target, &self.replacement.expand(&captures));
        }
    }

    fn map_names(&self, set: &mut LabelSet) {
        let mapped: Vec<(String, String)> = set
            .iter()
            .filter_map(|(name, value)| {
                let captures = self.regex.captures(name)?;
                Some((self.replacement.expand(&captures).into_owned(), value.to_owned()))
            })
            .collect();
        for (name, value) in mapped.iter().filter(|(name, _)| !name.is_empty()) {
            set.set(name, value);
        }
    }
}

/// Applies `rules` in turn. Returns `false` if one of them drops the set; what is then left in it means nothing.
pub fn apply(rules: &[Rule], set: &mut LabelSet) -> bool {
    rules.iter().all(|rule| rule.apply(set))
}

/// What each rule in turn makes of `set`, and whether the set is still kept; after one that drops it there is nothing.
pub fn steps(rules: &[Rule], set: &LabelSet) -> Vec<Option<LabelSet>> {
    let (mut set, mut kept) = (set.clone(), true);
    let mut step = |rule: &Rule| {
        kept = kept && rule.apply(&mut set);
        kept.then(|| set.clone())
    };
    rules.iter().map(&mut step).collect()
}

/// The last eight bytes of the MD5 sum, most significant first: the hash by which `hashmod` has always dealt targets.
fn hash(source: &str) -> u64 {
    let sum: [u8; 16] = Md5::digest(source.as_bytes()).into();
    let [.., a, b, c, d, e, f, g, h] = sum;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
