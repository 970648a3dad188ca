//! What is known about metric families: the newest type, help and unit of each, for `/api/v1/metadata`.

use hashbrown::HashMap;

use crate::limits::{METADATA_FAMILIES_MAX, METADATA_HELP_BYTES_MAX, METADATA_NAME_BYTES_MAX};
use crate::model::metadata::Metadata;

/// Metadata by metric family, bounded in number and in length.
#[derive(Debug, Default)]
pub struct MetadataTable {
    families: HashMap<Box<str>, Metadata>,
}

impl MetadataTable {
    /// Whether storing `metadata` would change anything: it is new and there is room for it.
    pub fn would_change(&self, family: &str, metadata: &Metadata) -> bool {
        if family.is_empty() || family.len().max(metadata.unit.len()) > METADATA_NAME_BYTES_MAX {
            return false;
        }
        match self.families.get(family) {
            Some(known) => {
                known.kind != metadata.kind
                    || known.unit != metadata.unit
                    || known.help != cut(&metadata.help)
            }
            None => self.families.len() < METADATA_FAMILIES_MAX,
        }
    }

    /// Stores it, in place of what was known.
    pub(super) fn insert(&mut self, family: &str, metadata: &Metadata) {
        if self.would_change(family, metadata) {
            let Metadata { kind, help, unit } = metadata;
            let kept = Metadata { kind: *kind, help: cut(help).to_owned(), unit: unit.clone() };
            self.families.insert(family.into(), kept);
        }
    }

    /// Every family, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.families.iter().map(|(family, metadata)| (&**family, metadata))
    }

    /// One family.
    pub fn get(&self, family: &str) -> Option<&Metadata> {
        self.families.get(family)
    }

    /// How many families.
    pub fn len(&self) -> usize {
        self.families.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }
}

/// As much of `help` as is kept, cut between characters.
fn cut(help: &str) -> &str {
    &help[..help.floor_char_boundary(METADATA_HELP_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::MetricType;

    #[test]
    fn the_newest_counts_and_length_is_bounded() {
        let metadata =
            |help: String| Metadata { kind: MetricType::Gauge, help, unit: String::new() };
        let mut table = MetadataTable::default();
        table.insert("up", &metadata("old".into()));
        let long = metadata("é".repeat(METADATA_HELP_BYTES_MAX));
        assert!(table.would_change("up", &long));
        table.insert("up", &long);
        assert!(!table.would_change("up", &long));
        assert_eq!(table.get("up").unwrap().help.len(), METADATA_HELP_BYTES_MAX);
        assert!(!table.would_change(&"x".repeat(METADATA_NAME_BYTES_MAX + 1), &long));
        assert_eq!(table.len(), 1);
    }
}
