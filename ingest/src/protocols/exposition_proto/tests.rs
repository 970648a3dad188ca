//! The protobuf exposition format against bodies that `prost` encodes, broken ones and arbitrary ones.

use super::*;
use proptest::prelude::*;
use prost::Message;

use crate::limits::BUCKETS_PER_METRIC_MAX;
use tidemark_core::model::histogram::ResetHint;
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
        pub(super) gauge: Option<Number>,
        #[prost(message, optional, tag = "3")]
        pub(super) counter: Option<Number>,
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
    pub(super) struct Number {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "2")]
        pub(super) exemplar: Option<ExemplarMessage>,
        #[prost(message, optional, tag = "3")]
        pub(super) created: Option<Time>,
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
        #[prost(sint32, tag = "5")]
        pub(super) schema: i32,
        #[prost(double, tag = "6")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "7")]
        pub(super) zero_count: u64,
        #[prost(message, repeated, tag = "12")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, packed = "false", tag = "13")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(message, optional, tag = "15")]
        pub(super) created: Option<Time>,
        #[prost(message, repeated, tag = "16")]
        pub(super) exemplars: Vec<ExemplarMessage>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Time {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExemplarMessage {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<LabelPair>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "3")]
        pub(super) time: Option<Time>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(super) cumulative_count: u64,
        #[prost(double, tag = "2")]
        pub(super) upper_bound: f64,
        #[prost(message, optional, tag = "3")]
        pub(super) exemplar: Option<ExemplarMessage>,
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
    read_with(body, Options::default())
}

fn read_with(body: &[u8], options: Options) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(body, options);
    let (mut set, mut read) = (LabelSet::new(), Vec::new());
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
                let start = sample.start_ms.map(|t| format!(" since {t}")).unwrap_or_default();
                let value = sample.histogram.map_or(sample.value.to_string(), ToString::to_string);
                let mut line = format!("{labels} {value}{time}{start}");
                let exemplars = sample.exemplars(5, |e| {
                    let undated = if e.dated { "" } else { "?" };
                    let text = format!(" # {} {} {}{undated}", e.labels, e.value, e.timestamp_ms);
                    line.push_str(&text);
                });
                exemplars.map_err(|e| e.to_string())?;
                read.push(line);
            }
        }
    }
    Ok(read)
}

#[test]
fn a_value_with_labels_and_time() {
    let metric = Metric {
        labels: labels(&[("b", "2"), ("a", "1")]),
        gauge: Some(Number { value: 0.5, ..Number::default() }),
        timestamp_ms: 77,
        ..Metric::default()
    };
    assert_eq!(read(&family("g", 1, metric)).unwrap(), ["g gauge ", r#"g{a="1", b="2"} 0.5 @77"#]);
    let counter = Metric { counter: Some(Number::default()), ..Metric::default() };
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

const NATIVE: Options = Options { native: true, classic: false, convert: false };

fn example(id: &str, seconds: Option<i64>) -> ExemplarMessage {
    let time = seconds.map(|seconds| Time { seconds, nanos: 500_000_000 });
    ExemplarMessage { labels: labels(&[("trace_id", id)]), value: 0.25, time }
}

fn native_histogram() -> Histogram {
    let bucket = |upper_bound, cumulative_count, id| Bucket {
        cumulative_count,
        upper_bound,
        exemplar: Some(example(id, Some(9))),
        ..Bucket::default()
    };
    Histogram {
        count: 4,
        sum: 6.5,
        schema: 0,
        zero_threshold: 0.5,
        zero_count: 1,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
        positive_deltas: vec![1, 1],
        buckets: vec![bucket(1.0, 2, "a"), bucket(8.0, 4, "b")],
        created: Some(Time { seconds: 3, nanos: 0 }),
        ..Histogram::default()
    }
}

#[test]
fn native_buckets_or_classic_ones_or_both() {
    let of = |histogram: Histogram, kind| {
        family("h", kind, Metric { histogram: Some(histogram), ..Metric::default() })
    };
    let native = "h {count:4, sum:6.5, [-0.5,0.5]:1, (0.5,1]:1, (2,4]:2} since 3000";
    let of_buckets = r#" # {trace_id="a"} 0.25 9500 # {trace_id="b"} 0.25 9500"#;
    let classic = [
        r#"h_bucket{le="1.0"} 2 since 3000 # {trace_id="a"} 0.25 9500"#,
        r#"h_bucket{le="8.0"} 4 since 3000 # {trace_id="b"} 0.25 9500"#,
        r#"h_bucket{le="+Inf"} 4 since 3000"#,
        "h_count 4 since 3000",
        "h_sum 6.5 since 3000",
    ];
    let body = of(native_histogram(), 4);
    assert_eq!(read_with(&body, NATIVE).unwrap()[1..], [format!("{native}{of_buckets}")]);
    assert_eq!(read(&body).unwrap()[1..], classic);
    let both = read_with(&body, Options { classic: true, ..NATIVE }).unwrap();
    assert_eq!(both[1], format!("{native}{of_buckets}"));
    assert_eq!(both[2..], classic);
    let own = vec![example("c", None), example("d", Some(1))];
    let body = of(Histogram { exemplars: own, ..native_histogram() }, 4);
    let expected = format!(r#"{native} # {{trace_id="d"}} 0.25 1500"#);
    assert_eq!(read_with(&body, NATIVE).unwrap()[1..], [expected], "only those with a time");
}

#[test]
fn classic_buckets_become_custom_ones() {
    let mut histogram = native_histogram();
    histogram.positive_spans.clear();
    histogram.positive_deltas.clear();
    (histogram.zero_threshold, histogram.zero_count) = (0.0, 0);
    let of = |histogram: Histogram| {
        family("h", 4, Metric { histogram: Some(histogram), ..Metric::default() })
    };
    let convert = Options { convert: true, ..NATIVE };
    let read_one = |histogram: &Histogram| read_with(&of(histogram.clone()), convert).unwrap();
    let expected = r#"h {count:4, sum:6.5, [-Inf,1]:2, (1,8]:2} since 3000 # {trace_id="a"} 0.25 9500 # {trace_id="b"} 0.25 9500"#;
    assert_eq!(read_one(&histogram)[1..], [expected]);
    histogram.buckets[1].cumulative_count = 1;
    assert_eq!(read_one(&histogram).len(), 6, "what cannot be converted stays as it is");
    assert!(read_one(&native_histogram())[1].contains("(2,4]:2"), "native buckets win");
}

#[test]
fn gauges_and_counters_say_what_they_are() {
    let metric = Metric { histogram: Some(native_histogram()), ..Metric::default() };
    let body = family("h", 5, metric);
    let mut parser = Parser::new(&body, NATIVE);
    parser.next_entry().unwrap();
    let Ok(Some(Entry::Sample(sample))) = parser.next_entry() else { panic!() };
    assert_eq!(sample.histogram.unwrap().hint, ResetHint::Gauge);
    let counter = Number {
        value: 7.0,
        exemplar: Some(example("x", None)),
        created: Some(Time { seconds: 1, nanos: 2_000_000 }),
    };
    let body = family("c", 0, Metric { counter: Some(counter), ..Metric::default() });
    assert_eq!(read(&body).unwrap()[1], r#"c 7 since 1002 # {trace_id="x"} 0.25 5?"#);
}

#[test]
fn a_native_histogram_that_cannot_be_says_where() {
    let wrong = Histogram { count: 9, ..native_histogram() };
    let body = family("h", 4, Metric { histogram: Some(wrong), ..Metric::default() });
    let error = read_with(&body, NATIVE).unwrap_err();
    assert!(error.ends_with("the buckets do not add up to the count"), "{error}");
}

#[test]
fn broken_bodies_say_where() {
    let metric =
        Metric { gauge: Some(Number { value: 1.0, ..Number::default() }), ..Metric::default() };
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
        let _ = read_with(&bytes, Options { classic: true, convert: true, ..NATIVE });
    }

    #[test]
    fn flipped_bits_do_not_panic(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let histogram = native_histogram();
        let metric = Metric { labels: labels(&[("a", "b")]), histogram: Some(histogram), ..Metric::default() };
        let mut body = family("h", 4, metric);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let _ = read(&body);
        let _ = read_with(&body, Options { classic: true, convert: true, ..NATIVE });
    }
}
