//! Metric families, written as Prometheus text 0.0.4 or as the JSON of their protobuf messages.

use std::fmt::{Display, Write as _};

use serde_json::{Map, Value, json};

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// The families so far.
#[derive(Default)]
pub(crate) struct Exposition {
    families: Vec<Family>,
}

struct Family {
    name: String,
    kind: Kind,
    help: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: String,
}

/// Names and values of labels.
pub(crate) type LabelPairs<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.families.push(Family { name, kind, help, samples: Vec::new() });
    }

    /// One sample of the family that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: LabelPairs<'_>, value: impl Display) {
        let family = self.families.last_mut().expect("a family begins before its samples");
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        family.samples.push(Sample { name: name.to_owned(), labels, value: value.to_string() });
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

    /// Adds the families of another.
    pub(crate) fn append(&mut self, other: Exposition) {
        self.families.extend(other.families);
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for Family { name, kind, help, samples } in &self.families {
            // Writing to a string cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
            for sample in samples {
                sample.write(&mut out);
            }
        }
        out
    }

    /// The families that `wanted` takes by their names, each as `io.prometheus.client.MetricFamily`.
    pub(crate) fn messages(&self, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        self.families.iter().filter(|family| wanted(&family.name)).map(Family::message).collect()
    }
}

impl Sample {
    fn write(&self, out: &mut String) {
        out.push_str(&self.name);
        for (i, (label, value)) in self.labels.iter().enumerate() {
            let _ = write!(out, "{}{label}=\"", if i == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    c => out.push(c),
                }
            }
            out.push('"');
        }
        let close = if self.labels.is_empty() { "" } else { "}" };
        let _ = writeln!(out, "{close} {}", self.value);
    }

    /// The labels but the bound of a bucket, and that.
    fn metric(&self) -> (Value, Option<&str>) {
        let bound = self.labels.iter().find(|(name, _)| name == "le").map(|(_, v)| v.as_str());
        let own = self.labels.iter().filter(|(name, _)| name != "le");
        let labels = own.map(|(name, value)| json!({ "name": name, "value": value }));
        (labels.collect(), bound)
    }
}

impl Family {
    fn message(&self) -> Value {
        let kind = self.kind.name();
        let mut metrics: Vec<Map<String, Value>> = Vec::new();
        for sample in &self.samples {
            let (labels, bound) = sample.metric();
            if !self.is_composite() || metrics.last().is_none_or(|last| last["label"] != labels) {
                let metric = [("label".to_owned(), labels), (kind.to_owned(), json!({}))];
                metrics.push(Map::from_iter(metric));
            }
            let Some(metric) = metrics.last_mut().map(|last| &mut last[kind]) else { continue };
            let part = sample.name.strip_prefix(&self.name).unwrap_or_default();
            match (part, bound) {
                ("_sum", _) => metric["sampleSum"] = number(&sample.value),
                // 64-bit integers are texts in this JSON.
                ("_count", _) => metric["sampleCount"] = Value::from(&*sample.value),
                ("_bucket", Some(bound)) => {
                    let bucket =
                        json!({ "cumulativeCount": sample.value, "upperBound": number(bound) });
                    match metric["bucket"].as_array_mut() {
                        Some(buckets) => buckets.push(bucket),
                        None => metric["bucket"] = json!([bucket]),
                    }
                }
                _ => metric["value"] = number(&sample.value),
            }
        }
        json!({
            "name": self.name,
            "help": self.help,
            "type": kind.to_uppercase(),
            "metric": metrics,
        })
    }

    /// Whether several samples make a metric.
    fn is_composite(&self) -> bool {
        matches!(self.kind, Kind::Histogram | Kind::Summary)
    }
}

/// A number, or the word for what is none in JSON.
fn number(text: &str) -> Value {
    match text.parse::<f64>() {
        Ok(value) if value == f64::INFINITY => Value::from("Infinity"),
        Ok(value) if value == f64::NEG_INFINITY => Value::from("-Infinity"),
        Ok(value) if value.is_finite() => Value::from(value),
        _ => Value::from("NaN"),
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
            text.text(),
            "# HELP up Whether.\n# TYPE up gauge\nup 1\n# HELP h How long.\n# TYPE h histogram\n\
             h_bucket{a=\"x\\\"\\\\\\n\",le=\"0.5\"} 1\nh_bucket{a=\"x\\\"\\\\\\n\",le=\"1\"} 1\n\
             h_bucket{a=\"x\\\"\\\\\\n\",le=\"+Inf\"} 3\nh_sum{a=\"x\\\"\\\\\\n\"} 7.25\nh_count{a=\"x\\\"\\\\\\n\"} 3\n"
        );
    }

    #[test]
    fn families_as_messages() {
        let mut all = Exposition::default();
        all.family("g", Kind::Gauge, "Whether.");
        all.sample("g", &[("a", "x")], 1);
        all.sample("g", &[("a", "y")], f64::INFINITY);
        all.family("h", Kind::Histogram, "How long.");
        all.histogram("h", &[("a", "x")], &[0.5], &[1, 2], 7.25);
        all.histogram("h", &[("a", "y")], &[0.5], &[0, 0], 0.0);
        let gauge = json!({"name": "g", "help": "Whether.", "type": "GAUGE", "metric": [
            {"label": [{"name": "a", "value": "x"}], "gauge": {"value": 1.0}},
            {"label": [{"name": "a", "value": "y"}], "gauge": {"value": "Infinity"}},
        ]});
        assert_eq!(all.messages(|name| name == "g"), [gauge]);
        let histograms = &all.messages(|_| true)[1]["metric"];
        assert_eq!(histograms.as_array().map(Vec::len), Some(2));
        let first = json!({"sampleCount": "3", "sampleSum": 7.25, "bucket": [
            {"cumulativeCount": "1", "upperBound": 0.5},
            {"cumulativeCount": "3", "upperBound": "Infinity"},
        ]});
        assert_eq!(histograms[0]["histogram"], first);
    }
}
