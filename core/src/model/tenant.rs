//! Tenants: teams that share a process without seeing each other.
//!
//! A series belongs to the tenant that its label [`TENANT_LABEL`] names. The label is added where samples come in and never
//! taken from outside; whoever looks as a tenant ([`Shards::seen_by`](crate::shards::Shards::seen_by)) has a matcher on it joined to
//! every selector and is never shown it. The [anonymous](Tenant::is_anonymous) tenant has what has no such label: all that
//! was stored before tenants were told apart.
//!
//! ```text
//! series           {__name__="up", __tenant_id__="team-a", job="node"}
//! metric family    team-a NUL up
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::labels::Labels;
use super::matcher::Matcher;

/// The label that says whose a series is. A name that begins with `__` never reaches a series from a target.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// The name of the tenant that has no label.
const ANONYMOUS: &str = "anonymous";

/// Longest name of a tenant, in bytes.
const NAME_BYTES_MAX: usize = 150;

/// Between a tenant and the name of a metric family.
const SEPARATOR: char = '\0';

/// Who is asking, or whose samples come. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

/// Why a text names no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Nothing.
    #[error("no org id")]
    Missing,
    /// Past the bound.
    #[error("tenant ID is too long: max {NAME_BYTES_MAX} characters")]
    TooLong,
    /// A character that is not allowed, such as the one between several tenants.
    #[error("tenant ID '{name}' contains unsupported character '{character}'")]
    Character {
        /// The whole.
        name: String,
        /// The first that is wrong.
        character: char,
    },
    /// A path.
    #[error("tenant ID is '.' or '..'")]
    Path,
}

impl Tenant {
    /// The tenant of this name: letters, digits and `!-_.*'()`, at most 150 of them, as Mimir takes them.
    pub fn parse(name: &str) -> Result<Self, TenantError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
        if name.is_empty() {
            return Err(TenantError::Missing);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(TenantError::TooLong);
        }
        if let Some(character) = name.chars().find(|c| !allowed(*c)) {
            return Err(TenantError::Character { name: name.to_owned(), character });
        }
        if name == "." || name == ".." {
            return Err(TenantError::Path);
        }
        Ok(Tenant(name.into()))
    }

    /// The tenant of whatever names none.
    pub fn anonymous() -> Self {
        Tenant(ANONYMOUS.into())
    }

    /// Whether it is the one without a label.
    pub fn is_anonymous(&self) -> bool {
        &*self.0 == ANONYMOUS
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The value of its label; empty, which is the same as none, for the anonymous one.
    pub fn label_value(&self) -> &str {
        if self.is_anonymous() { "" } else { &self.0 }
    }

    /// `family` as it is kept for this tenant; `None` for a name that could pass for another tenant's.
    pub fn family<'a>(&self, family: &'a str) -> Option<Cow<'a, str>> {
        if family.contains(SEPARATOR) {
            return None;
        }
        Some(match self.label_value() {
            "" => Cow::Borrowed(family),
            tenant => Cow::Owned(format!("{tenant}{SEPARATOR}{family}")),
        })
    }

    /// The name of a family as it is kept, if it is this tenant's.
    pub fn own_family<'a>(&self, kept: &'a str) -> Option<&'a str> {
        let (tenant, family) = kept.split_once(SEPARATOR).unwrap_or(("", kept));
        (tenant == self.label_value()).then_some(family)
    }

    /// `matchers`, and that a series is this tenant's.
    pub fn narrow(&self, matchers: &[Matcher]) -> Vec<Matcher> {
        let own = Matcher::equal(TENANT_LABEL, self.label_value());
        matchers.iter().cloned().chain([own]).collect()
    }

    /// `labels` as the tenant may see them.
    pub fn show(&self, labels: Labels) -> Labels {
        if self.is_anonymous() { labels } else { labels.filtered(|name| name != TENANT_LABEL) }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_mimir_takes() {
        for good in ["a", "team-a", "A!-_.*'()9", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(Tenant::parse(good).map(|t| t.name().to_owned()), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", "no org id"),
            ("a|b", "unsupported character '|'"),
            ("a/b", "unsupported character '/'"),
            ("ä", "unsupported character 'ä'"),
            ("a\0b", "unsupported character"),
            ("..", "is '.' or '..'"),
            (&"x".repeat(NAME_BYTES_MAX + 1), "too long"),
        ] {
            let error = Tenant::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }

    #[test]
    fn families_are_kept_apart() {
        let (a, b) = (Tenant::parse("a").unwrap(), Tenant::parse("b").unwrap());
        let anonymous = Tenant::anonymous();
        let kept = a.family("up").unwrap();
        assert_eq!((a.own_family(&kept), b.own_family(&kept)), (Some("up"), None));
        assert_eq!((anonymous.own_family(&kept), anonymous.own_family("up")), (None, Some("up")));
        assert_eq!(anonymous.family(&kept), None, "nobody writes another's by its name");
    }

    #[test]
    fn the_label_is_matched_and_not_shown() {
        let a = Tenant::parse("a").unwrap();
        let labels = Labels::from_pairs([("__name__", "up"), (TENANT_LABEL, "a"), ("job", "j")]);
        assert_eq!(a.show(labels).to_string(), r#"up{job="j"}"#);
        assert_eq!(a.narrow(&[]), [Matcher::equal(TENANT_LABEL, "a")]);
        assert!(Tenant::anonymous().narrow(&[])[0].matches(""));
    }
}
