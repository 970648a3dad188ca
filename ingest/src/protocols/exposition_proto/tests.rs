//! The protobuf exposition format against bodies that `prost` encodes, broken ones and arbitrary ones.

use super::*;
use proptest::prelude::*;
use prost::Message;
use tidemark_core::model::labels::Labels;

/// The schema as prost reads it, as far as it is used.
mod schema {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MetricFamily {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) help: String,
        #[prost(int32, tag = "3")]
        pub(super) kind: i32,
        #[prost(message, repeated, tag = "4")]
        pub(super) metrics: Vec<Metric>,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metric {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<LabelPair>,
        #[prost(message, optional, tag = "2")]
        pub(super) gauge: Option<Value>,
        #[prost(message, optional, tag = "3")]
        pub(super) counter: Option<Value>,
        #[prost(message, optional, tag = "4")]
        pub(super) summary: Option<Summary>,
        #[prost(int64, tag = "6")]
        pub(super) timestamp_ms: i64,
        #[prost(message, optional, tag = "7")]
        pub(super) histogram: Option<Histogram>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct LabelPair {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Summary {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) quantiles: Vec<Quantile>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Quantile {
        #[prost(double, tag = "1")]
        pub(super) quantile: f64,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) buckets: Vec<Bucket>,
        #[prost(double, tag = "4")]
        pub(super) count_float: f64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(super) cumulative_count: u64,
        #[prost(double, tag = "2")]
        pub(super) upper_bound: f64,
        #[prost(double, tag = "4")]
        pub(super) cumulative_count_float: f64,
    }
}

use schema::*;

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |&(n, v): &(&str, &str)| LabelPair { name: n.into(), value: v.into() };
    pairs.iter().map(pair).collect()
}

fn family(name: &str, kind: i32, metric: Metric) -> Vec<u8> {
    let family =
        MetricFamily { name: name.into(), kind, metrics: vec![metric], ..Default::default() };
    family.encode_length_delimited_to_vec()
}

/// Every entry in words, or the error; keys must tell exactly the series apart.
fn read(body: &[u8]) -> Result<Vec<String>, String> {
    let (mut parser, mut set, mut read) = (Parser::new(body), LabelSet::new(), Vec::new());
    let mut keys = std::collections::BTreeMap::new();
    while let Some(entry) = parser.next_entry().map_err(|e| e.to_string())? {
        match entry {
            Entry::Family(family) => {
                read.push(format!("{} {} {}", family.name, family.kind.as_str(), family.help));
            }
            Entry::Sample(sample) => {
                set.clear();
                sample.labels(&mut set).map_err(|e| e.to_string())?;
                let labels = Labels::from_pairs(set.iter()).to_string();
                let known = keys.insert(sample.key.to_vec(), labels.clone());
                assert!(known.is_none_or(|known| known == labels));
                let time = sample.timestamp_ms.map(|t| format!(" @{t}")).unwrap_or_default();
                read.push(format!("{labels} {}{time}", sample.value));
            }
        }
    }
    Ok(read)
}

#[test]
fn a_value_with_labels_and_time() {
    let metric = Metric {
        labels: labels(&[("b", "2"), ("a", "1")]),
        gauge: Some(Value { value: 0.5 }),
        timestamp_ms: 77,
        ..Metric::default()
    };
    assert_eq!(read(&family("g", 1, metric)).unwrap(), ["g gauge ", r#"g{a="1", b="2"} 0.5 @77"#]);
    let counter = Metric { counter: Some(Value { value: 0.0 }), ..Metric::default() };
    let both = [family("c", 0, counter.clone()), family("d", 0, counter)].concat();
    assert_eq!(read(&both).unwrap(), ["c counter ", "c 0", "d counter ", "d 0"]);
}

#[test]
fn a_summary_and_a_histogram_are_several_series() {
    let summary = Summary {
        count: 3,
        sum: 6.5,
        quantiles: vec![Quantile { quantile: 1.0, value: f64::NAN }],
    };
    let metric = Metric { summary: Some(summary), ..Metric::default() };
    assert_eq!(
        read(&family("s", 2, metric)).unwrap(),
        ["s summary ", r#"s{quantile="1.0"} NaN"#, "s_count 3", "s_sum 6.5"]
    );
    let bucket = |upper_bound, cumulative_count| Bucket {
        cumulative_count,
        upper_bound,
        ..Bucket::default()
    };
    let histogram = Histogram {
        count: 3,
        sum: 6.5,
        buckets: vec![bucket(1.0, 1), bucket(1e6, 2)],
        ..Histogram::default()
    };
    let metric = Metric {
        labels: labels(&[("x", "y")]),
        histogram: Some(histogram.clone()),
        ..Metric::default()
    };
    let expected = [
        "h histogram ",
        r#"h_bucket{le="1.0", x="y"} 1"#,
        r#"h_bucket{le="1e+06", x="y"} 2"#,
        r#"h_bucket{le="+Inf", x="y"} 3"#,
        r#"h_count{x="y"} 3"#,
        r#"h_sum{x="y"} 6.5"#,
    ];
    assert_eq!(read(&family("h", 4, metric.clone())).unwrap(), expected);
    let mut whole = histogram;
    whole.buckets.push(bucket(f64::INFINITY, 3));
    let metric = Metric { histogram: Some(whole), ..metric };
    assert_eq!(read(&family("h", 4, metric)).unwrap(), expected);
    let floats = Histogram {
        count_float: 1.5,
        buckets: vec![Bucket {
            cumulative_count_float: 0.5,
            upper_bound: 2.0,
            ..Bucket::default()
        }],
        ..Histogram::default()
    };
    let metric = Metric { histogram: Some(floats), ..Metric::default() };
    assert_eq!(
        read(&family("g", 5, metric)).unwrap()[1..4],
        [r#"g_bucket{le="2.0"} 0.5"#, r#"g_bucket{le="+Inf"} 1.5"#, "g_count 1.5"]
    );
}

#[test]
fn broken_bodies_say_where() {
    let metric = Metric { gauge: Some(Value { value: 1.0 }), ..Metric::default() };
    let body = family("g", 1, metric.clone());
    assert_eq!(
        read(&body[..body.len() - 1]).unwrap_err(),
        "protobuf, byte 1: length reaches past the end of the message"
    );
    assert_eq!(
        read(&family("", 1, metric)).unwrap_err(),
        "protobuf, byte 1: metric family without a name"
    );
    let late = Metric { timestamp_ms: i64::MAX, ..Metric::default() };
    assert!(read(&family("g", 1, late)).unwrap_err().ends_with("within the years 1 to 9999"));
    let buckets = vec![Bucket::default(); BUCKETS_PER_METRIC_MAX + 1];
    let histogram = Histogram { buckets, ..Histogram::default() };
    let many = Metric { histogram: Some(histogram), ..Metric::default() };
    assert!(read(&family("g", 4, many)).unwrap_err().ends_with("too many buckets or quantiles"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn flipped_bits_do_not_panic(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let histogram = Histogram { count: 1, buckets: vec![Bucket::default(); 3], ..Histogram::default() };
        let metric = Metric { labels: labels(&[("a", "b")]), histogram: Some(histogram), ..Metric::default() };
        let mut body = family("h", 4, metric);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let _ = read(&body);
    }
}
