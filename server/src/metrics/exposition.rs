//! Prometheus text 0.0.4, written.

use std::fmt::{Display, Write as _};

/// Type of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Sum and count.
    Summary,
}

/// The text so far.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

/// Names and values of labels.
pub(crate) type LabelPairs<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample.
    pub(crate) fn sample(&mut self, name: &str, labels: LabelPairs<'_>, value: impl Display) {
        self.text.push_str(name);
        for (i, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if i == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// A family of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of one histogram; `buckets` are upper bounds and counts of their own, the last without bound.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: LabelPairs<'_>,
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let (bucket, mut total) = (format!("{name}_bucket"), 0);
        for (i, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(i).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.sample(&bucket, &with_bound, total);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_histograms() {
        let mut text = Exposition::default();
        text.single("up", Kind::Gauge, "Whether.", 1);
        text.family("h", Kind::Histogram, "How long.");
        text.histogram("h", &[("a", "x\"\\\n")], &[0.5, 1.0], &[1, 0, 2], 7.25);
        assert_eq!(
            text.finish(),
            "# HELP up Whether.\n# TYPE up gauge\nup 1\n# HELP h How long.\n# TYPE h histogram\n\
             h_bucket{a=\"x\\\"\\\\\\n\",le=\"0.5\"} 1\nh_bucket{a=\"x\\\"\\\\\\n\",le=\"1\"} 1\n\
             h_bucket{a=\"x\\\"\\\\\\n\",le=\"+Inf\"} 3\nh_sum{a=\"x\\\"\\\\\\n\"} 7.25\nh_count{a=\"x\\\"\\\\\\n\"} 3\n"
        );
    }
}
