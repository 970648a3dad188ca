//! The data set that every system is measured on: hosts that each expose the same `catalogue`, deterministic but for the
//! wall-clock time at which it begins.
//!
//! Series `n` belongs to host `n / SERIES_PER_HOST`; neighbours in a request are neighbours in a scrape.

mod catalogue;
mod values;

use catalogue::{BOUNDS, CATALOGUE, Group, Values};
pub use values::Walk;

/// Milliseconds between two samples of a series.
pub const STEP_MS: i64 = 15_000;

/// One series: its labels in order of their names, and its values.
pub struct Series {
    /// Label names and values, sorted by name.
    pub labels: Vec<(&'static str, String)>,
    /// The values from step 0.
    pub walk: Walk,
}

/// One family's place in the catalogue, with a combination of its labels' values.
struct Template {
    name: &'static str,
    values: Values,
    /// Identifies the family and the combination; parts of one histogram share it.
    seed: u64,
    bucket: Option<(usize, usize)>,
    labels: Vec<(&'static str, &'static str)>,
}

/// The data set.
pub struct Dataset {
    templates: Vec<Template>,
}

impl Default for Dataset {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset {
    /// Lays out one host's series.
    pub fn new() -> Self {
        let mut templates = Vec::new();
        for group in CATALOGUE {
            for name in group.names {
                combinations(group, name, &mut templates);
            }
        }
        Self { templates }
    }

    /// The part of it that is one metric, if there is such a metric: hosts have its series alone.
    pub fn of(metric: &str) -> Option<Self> {
        let Self { mut templates } = Self::new();
        templates.retain(|template| template.name == metric);
        (!templates.is_empty()).then_some(Self { templates })
    }

    /// How many series a host has.
    pub fn series_per_host(&self) -> usize {
        self.templates.len()
    }

    /// Every metric name, sorted.
    pub fn metric_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.templates.iter().map(|template| template.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The `n`-th series.
    pub fn series(&self, n: usize) -> Series {
        let template = &self.templates[n % self.templates.len()];
        let host = n / self.templates.len();
        let mut labels = vec![
            ("__name__", template.name.to_owned()),
            ("cluster", format!("prod-{}", ["fra", "ams", "iad", "sin"][host % 4])),
            ("datacenter", format!("region-{}-{}", host % 4 + 1, ["a", "b", "c"][host / 4 % 3])),
            ("environment", "production".to_owned()),
            ("instance", format!("host-{host:05}.prod.example.net:9100")),
            ("job", "node-exporter".to_owned()),
            ("rack", format!("r{:02}-u{:02}", host / 40 % 100, host % 40)),
        ];
        labels.extend(template.labels.iter().map(|(name, value)| (*name, (*value).to_owned())));
        labels.sort_unstable();
        let host_seed = values::mix(host as u64 + 1);
        let seed = values::mix(template.seed ^ host_seed);
        let walk = Walk::new(template.values, seed, host_seed >> 32, template.bucket);
        Series { labels, walk }
    }
}

/// A histogram's parts have their name's stem in common; everything else is its own.
fn stem(name: &'static str, values: Values) -> &'static str {
    match values {
        Values::Bucket => name.trim_end_matches("_bucket"),
        Values::Count => name.trim_end_matches("_count"),
        Values::Sum => name.trim_end_matches("_sum"),
        _ => name,
    }
}

/// Adds a template for each combination of the group's label values.
fn combinations(group: &Group, name: &'static str, templates: &mut Vec<Template>) {
    let count: usize = group.labels.iter().map(|(_, values)| values.len()).product();
    for mut rest in 0..count {
        let mut labels = Vec::new();
        let mut bucket = None;
        let mut seed = fold(0, stem(name, group.values));
        for (label, choices) in group.labels.iter().rev() {
            let value = choices[rest % choices.len()];
            if *label == "le" {
                bucket = Some((rest % choices.len(), BOUNDS.len()));
            } else {
                seed = fold(seed, value);
            }
            labels.push((*label, value));
            rest /= choices.len();
        }
        templates.push(Template { name, values: group.values, seed, bucket, labels });
    }
}

fn fold(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |seed, byte| values::mix(seed.wrapping_add(u64::from(byte) + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_have_their_documented_size() {
        let dataset = Dataset::new();
        let series: Vec<_> = (0..dataset.series_per_host()).map(|n| dataset.series(n)).collect();
        let bytes: usize =
            series.iter().flat_map(|s| &s.labels).map(|(n, v)| n.len() + v.len()).sum();
        let mean = bytes / series.len();
        assert!((165..=185).contains(&mean), "{mean} bytes");
        assert!(series.iter().all(|s| (7..=10).contains(&s.labels.len())));
        assert!(series.iter().all(|s| s.labels.is_sorted_by(|a, b| a.0 < b.0)));
    }

    #[test]
    fn no_two_series_are_the_same() {
        let dataset = Dataset::new();
        let mut all: Vec<_> = (0..3_000).map(|n| dataset.series(n).labels).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3_000);
    }

    #[test]
    fn parts_of_a_histogram_move_together() {
        let dataset = Dataset::new();
        let mut bound = Vec::new();
        for n in 0..dataset.series_per_host() {
            let mut series = dataset.series(n);
            let is = |name: &str, value: &str| {
                series.labels.iter().any(|(n, v)| *n == name && v == value)
            };
            if is("handler", "/login")
                && (is("__name__", "http_request_duration_seconds_count") || is("le", "+Inf"))
            {
                bound.push((0..20).map(|_| series.walk.advance()).collect::<Vec<_>>());
            }
        }
        assert_eq!(bound.len(), 2);
        assert_eq!(bound[0], bound[1]);
    }
}
