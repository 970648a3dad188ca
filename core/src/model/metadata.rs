//! What an exporter says about a metric family: type, help and unit.

/// The type of a metric family, as Prometheus names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown = 0,
    /// Only goes up, but for resets.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Buckets, sum and count.
    Histogram = 3,
    /// Like a histogram whose buckets are gauges.
    GaugeHistogram = 4,
    /// Client-side quantiles, sum and count.
    Summary = 5,
    /// Constant 1 with labels that inform.
    Info = 6,
    /// One series a state.
    StateSet = 7,
}

/// Name and value of every type, in the order of the discriminants.
const NAMES: [(&str, MetricType); 8] = [
    ("unknown", MetricType::Unknown),
    ("counter", MetricType::Counter),
    ("gauge", MetricType::Gauge),
    ("histogram", MetricType::Histogram),
    ("gaugehistogram", MetricType::GaugeHistogram),
    ("summary", MetricType::Summary),
    ("info", MetricType::Info),
    ("stateset", MetricType::StateSet),
];

impl MetricType {
    /// The name as the API and the text format write it.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].0
    }

    /// The type called `name`; `untyped` is the text format's word for unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "untyped" {
            return Some(MetricType::Unknown);
        }
        NAMES.iter().find(|(n, _)| *n == name).map(|&(_, t)| t)
    }

    /// The type with this discriminant.
    pub fn from_u8(tag: u8) -> Option<Self> {
        NAMES.get(usize::from(tag)).map(|&(_, t)| t)
    }
}

/// Type, help and unit of one metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Its type.
    pub kind: MetricType,
    /// One line for humans, unescaped.
    pub help: String,
    /// Base unit such as `seconds`, or empty.
    pub unit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_round() {
        for (i, (name, kind)) in NAMES.iter().enumerate() {
            assert_eq!(kind.as_str(), *name);
            assert_eq!(MetricType::from_name(name), Some(*kind));
            assert_eq!(MetricType::from_u8(i as u8), Some(*kind));
        }
        assert_eq!(MetricType::from_name("untyped"), Some(MetricType::Unknown));
        assert_eq!(MetricType::from_u8(8), None);
    }
}
