//! What one target says of its metric families, and which of it storage has not been told yet.

use hashbrown::HashMap;
use tidemark_core::model::metadata::{Metadata, MetricType};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::{HELP_BYTES_MAX, METADATA_PER_BODY_MAX, truncated};
use crate::protocols::lines::{HelpText, MetricName};
use crate::rows::Rows;

/// Scrapes for which a family is remembered that does not come any more.
const SCRAPES_KEPT: u32 = 10;

/// The metric families of one target.
#[derive(Default)]
pub(super) struct Families {
    by_name: HashMap<String, Family>,
    scrape: u32,
    /// Where a name is put together for the look-up.
    name: String,
}

#[derive(Default)]
struct Family {
    metadata: Metadata,
    /// Hash of the help text as it is written, so that one that comes again is not unescaped again.
    help_hash: u64,
    seen: u32,
    /// Storage has not been told.
    changed: bool,
}

impl Families {
    /// Begins a scrape.
    pub(super) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
    }

    /// Notes the type of a family.
    pub(super) fn set_type(&mut self, name: MetricName<'_>, kind: MetricType) {
        let Some(family) = self.family(name) else { return };
        if family.metadata.kind != kind {
            family.metadata.kind = kind;
            family.changed = true;
        }
    }

    /// Notes the help text of a family.
    pub(super) fn set_help(&mut self, name: MetricName<'_>, text: HelpText<'_>) {
        let Some(family) = self.family(name) else { return };
        let hash = xxh3_64(text.raw.as_bytes());
        if family.help_hash != hash {
            family.help_hash = hash;
            truncated(&text.unescaped(), HELP_BYTES_MAX).clone_into(&mut family.metadata.help);
            family.changed = true;
        }
    }

    /// Notes the unit of a family.
    pub(super) fn set_unit(&mut self, name: MetricName<'_>, unit: &str) {
        let Some(family) = self.family(name) else { return };
        if family.metadata.unit != unit {
            truncated(unit, HELP_BYTES_MAX).clone_into(&mut family.metadata.unit);
            family.changed = true;
        }
    }

    /// Ends a scrape that succeeded: hands `rows` what is new and forgets families that are long gone.
    pub(super) fn commit(&mut self, rows: &mut Rows) {
        let scrape = self.scrape;
        self.by_name.retain(|_, family| scrape.wrapping_sub(family.seen) <= SCRAPES_KEPT);
        for (name, family) in self.by_name.iter_mut().filter(|(_, family)| family.changed) {
            family.changed = false;
            rows.push_metadata(name, family.metadata.clone());
        }
    }

    /// Storage did not take what it was told: tells it all again next time.
    pub(super) fn tell_again(&mut self) {
        self.by_name.values_mut().for_each(|family| family.changed = true);
    }

    /// Every family and what is said of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.by_name.iter().map(|(name, family)| (name.as_str(), &family.metadata))
    }

    fn family(&mut self, name: MetricName<'_>) -> Option<&mut Family> {
        self.name.clear();
        name.write(&mut self.name);
        if !self.by_name.contains_key(self.name.as_str()) {
            if self.by_name.len() == METADATA_PER_BODY_MAX {
                return None;
            }
            let new = Family { changed: true, ..Family::default() };
            self.by_name.insert(self.name.clone(), new);
        }
        let family = self.by_name.get_mut(self.name.as_str())?;
        family.seen = self.scrape;
        Some(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::text::{Entry, Parser};

    fn scrape(families: &mut Families, body: &str) -> Vec<(String, String)> {
        families.begin();
        let mut parser = Parser::new(body.as_bytes());
        while let Some(entry) = parser.next_entry().unwrap() {
            match entry {
                Entry::Type(name, kind) => families.set_type(name, kind),
                Entry::Help(name, text) => families.set_help(name, text),
                Entry::Unit(name, unit) => families.set_unit(name, unit),
                Entry::Sample(_) => {}
            }
        }
        let mut rows = Rows::new();
        families.commit(&mut rows);
        let told = rows.take_metadata().into_iter();
        told.map(|(name, m)| (name, format!("{} {}", m.kind.as_str(), m.help))).collect()
    }

    #[test]
    fn storage_is_told_what_is_new_and_only_that() {
        let mut families = Families::default();
        let body = "# TYPE a counter\n# HELP a old\n";
        let told = |text: &str| vec![("a".to_owned(), text.to_owned())];
        assert_eq!(scrape(&mut families, body), told("counter old"));
        assert_eq!(scrape(&mut families, body), []);
        assert_eq!(scrape(&mut families, "# HELP a new\n"), told("counter new"));
        families.tell_again();
        assert_eq!(scrape(&mut families, ""), told("counter new"));
        for _ in 0..SCRAPES_KEPT {
            assert_eq!(families.iter().count(), 1);
            scrape(&mut families, "");
        }
        assert_eq!(families.iter().count(), 0);
    }
}
