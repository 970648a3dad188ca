//! Remote write 1.0 against an encoder that is not ours (`prost`), and against bodies that are cut off, flipped or hostile.

use super::*;
use crate::known::Known;
use crate::limits::LABEL_VALUE_BYTES_MAX;
use proptest::prelude::*;
use prost::Message;
use tidemark_core::head::details::SampleDetail;
use tidemark_core::model::histogram::ResetHint;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::{STALE_NAN, Sample, is_stale};

/// The schema as prost reads it: the other opinion on what bytes mean.
mod schema {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<MetricMetadata>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BucketSpan {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) count_float: f64,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        pub(super) zero_count: u64,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<BucketSpan>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<BucketSpan>,
        #[prost(sint64, repeated, packed = "false", tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "13")]
        pub(super) positive_counts: Vec<f64>,
        #[prost(int32, tag = "14")]
        pub(super) reset_hint: i32,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) name: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(string, tag = "2")]
        pub(super) family: String,
        #[prost(string, tag = "4")]
        pub(super) help: String,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> schema::TimeSeries {
    let label = |&(n, v): &(&str, &str)| schema::Label { name: n.into(), value: v.into() };
    schema::TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples
            .iter()
            .map(|&(timestamp, value)| schema::Sample { value, timestamp })
            .collect(),
        ..schema::TimeSeries::default()
    }
}

fn request(timeseries: Vec<schema::TimeSeries>) -> Vec<u8> {
    schema::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

fn decoded(rows: &Rows) -> Vec<(String, Vec<Sample>)> {
    let labels = |bytes| Labels::from_encoded(bytes).expect("canonical").to_string();
    rows.iter().map(|r| (labels(r.labels), r.samples.to_vec())).collect()
}

#[test]
fn series_samples_and_metadata() {
    let mut body = request(vec![
        series(&[("__name__", "up"), ("job", "node")], &[(1, 1.0), (2, f64::INFINITY)]),
        series(&[("job", "x"), ("empty", ""), ("__name__", "late")], &[(5, 5.0), (4, -4.0)]),
    ]);
    let metadata = schema::MetricMetadata {
        kind: 1,
        family: "up".into(),
        help: "Is it up?".into(),
        unit: "bool".into(),
    };
    schema::WriteRequest { timeseries: vec![], metadata: vec![metadata] }
        .encode(&mut body)
        .unwrap();
    let mut rows = Rows::new();
    assert_eq!(decode(&body, &mut rows), Ok(Report::default()));
    let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
    assert_eq!(
        decoded(&rows),
        [
            (r#"up{job="node"}"#.to_owned(), vec![sample(1, 1.0), sample(2, f64::INFINITY)]),
            (r#"late{job="x"}"#.to_owned(), vec![sample(4, -4.0), sample(5, 5.0)]),
        ]
    );
    let (family, metadata) = &rows.metadata()[0];
    assert_eq!((family.as_str(), metadata.kind), ("up", MetricType::Counter));
    assert_eq!((metadata.help.as_str(), metadata.unit.as_str()), ("Is it up?", "bool"));
}

#[test]
fn a_bad_series_is_left_out_and_named() {
    let long = "x".repeat(LABEL_VALUE_BYTES_MAX + 1);
    let cases: [(schema::TimeSeries, &str); 6] = [
        (series(&[("a", "1")], &[(1, 1.0)]), r#"series {a="1"}: the series has no metric name"#),
        (
            series(&[("__name__", "m"), ("a", "1"), ("a", "2")], &[(1, 1.0)]),
            r#"series {__name__="m", a="1", a="2"}: label name "a" is not unique"#,
        ),
        (
            series(&[("__name__", "m"), ("", "2")], &[(1, 1.0)]),
            r#"series {__name__="m"}: label name is empty"#,
        ),
        (
            series(&[("__name__", "m"), ("a", &long)], &[(1, 1.0)]),
            r#"series {__name__="m"}: value of label "a" has 32769 bytes, more than the 32768 allowed"#,
        ),
        (
            schema::TimeSeries {
                labels: vec![schema::Label { name: b"a".into(), value: b"\xff".into() }],
                ..series(&[], &[(1, 1.0)])
            },
            "series {}: label value is not valid UTF-8",
        ),
        (
            series(&[("__name__", "m")], &[(i64::MAX, 1.0)]),
            r#"series {__name__="m"}: timestamp is not within the years 1 to 9999"#,
        ),
    ];
    for (bad, expected) in cases {
        let good = series(&[("__name__", "good")], &[(1, 1.0)]);
        let mut rows = Rows::new();
        let report = decode(&request(vec![good.clone(), bad, good]), &mut rows).unwrap();
        assert_eq!(report.first_refusal.as_deref(), Some(expected));
        assert_eq!(report.refused_samples, 1);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.sample_count(), 2);
    }
}

fn span(offset: i32, length: u32) -> schema::BucketSpan {
    schema::BucketSpan { offset, length }
}

fn histogram() -> schema::Histogram {
    schema::Histogram {
        count: 6,
        sum: 10.5,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 1,
        positive_spans: vec![span(0, 2)],
        positive_deltas: vec![1, 1],
        negative_spans: vec![span(-1, 1), span(1, 1)],
        negative_deltas: vec![1, 0],
        reset_hint: 3,
        timestamp: 77,
        ..schema::Histogram::default()
    }
}

#[test]
fn histograms_of_every_kind() {
    let floats = schema::Histogram {
        count_float: 1.5,
        positive_deltas: vec![],
        positive_counts: vec![0.5, 1.0],
        positive_spans: vec![span(3, 2)],
        timestamp: 78,
        ..schema::Histogram::default()
    };
    let custom = schema::Histogram {
        count: 3,
        schema: -53,
        positive_spans: vec![span(0, 1), span(1, 1)],
        positive_deltas: vec![1, 1],
        custom_values: vec![0.5, 1.0],
        timestamp: 79,
        ..schema::Histogram::default()
    };
    let stale = schema::Histogram { sum: STALE_NAN, timestamp: 80, ..schema::Histogram::default() };
    let body = request(vec![schema::TimeSeries {
        histograms: vec![floats, histogram(), custom, stale],
        ..series(&[("__name__", "h")], &[])
    }]);
    let mut rows = Rows::new();
    let report = decode(&body, &mut rows).unwrap();
    assert_eq!(report, Report { histograms: 3, ..Report::default() });
    let row = rows.iter().next().unwrap();
    let text = |(t, d): &(i64, SampleDetail)| format!("{t} {}", d.histogram.as_ref().unwrap());
    let read: Vec<_> = row.details.iter().map(text).collect();
    assert_eq!(
        read,
        [
            "77 {count:6, sum:10.5, [-1.4142135623730951,-1):1, [-0.7071067811865476,-0.5):1, [-0.001,0.001]:1, (0.7071067811865476,1]:1, (1,1.4142135623730951]:2}",
            "78 {count:1.5, sum:0, (4,8]:0.5, (8,16]:1}",
            "79 {count:3, sum:0, [-Inf,0.5]:1, (1,+Inf]:2}",
        ]
    );
    assert_eq!(row.details[0].1.histogram.as_ref().unwrap().hint, ResetHint::Gauge);
    assert_eq!(row.samples.len(), 4);
    assert!(is_stale(row.samples[3].value), "an end is an end, whatever it ends");
}

#[test]
fn a_bad_histogram_is_left_out_and_named() {
    let bad = schema::Histogram { count: 7, ..histogram() };
    let body = request(vec![schema::TimeSeries {
        histograms: vec![bad, histogram()],
        ..series(&[("__name__", "h")], &[])
    }]);
    let mut rows = Rows::new();
    let report = decode(&body, &mut rows).unwrap();
    assert_eq!((report.refused_samples, report.histograms, rows.sample_count()), (1, 1, 1));
    assert_eq!(
        report.first_refusal.as_deref(),
        Some(r#"series {__name__="h"}: the buckets do not add up to the count"#)
    );
}

#[test]
fn exemplars_stay_even_without_samples() {
    let label = |name: &str, value: &str| schema::Label { name: name.into(), value: value.into() };
    let exemplar = |id: &str| schema::Exemplar {
        labels: vec![label("trace_id", id)],
        value: 0.5,
        timestamp: 7,
    };
    let many = vec![exemplar("b"); EXEMPLARS_PER_SERIES_MAX + 1];
    let long = exemplar(&"x".repeat(200));
    let body = request(vec![
        schema::TimeSeries {
            exemplars: vec![exemplar("a"), long],
            ..series(&[("__name__", "m")], &[])
        },
        schema::TimeSeries { exemplars: many, ..series(&[("__name__", "n")], &[(1, 1.0)]) },
    ]);
    let mut rows = Rows::new();
    let report = decode(&body, &mut rows).unwrap();
    assert_eq!((report.exemplars, report.refused_exemplars), (65, 2));
    let all: Vec<_> = rows.iter().collect();
    let first = &all[0].exemplars[0];
    assert_eq!((first.labels.to_string().as_str(), first.timestamp_ms), (r#"{trace_id="a"}"#, 7));
    assert_eq!((all[0].samples.len(), all[1].exemplars.len()), (0, EXEMPLARS_PER_SERIES_MAX));
}

#[test]
fn a_body_of_empty_histograms_is_bounded() {
    let mut message = series(&[("__name__", "m")], &[]).encode_to_vec();
    message.extend([0x22, 0].repeat(SAMPLES_PER_BODY_MAX / 10));
    let mut body = vec![0x0a];
    prost::encode_length_delimiter(message.len(), &mut body).unwrap();
    body.extend(message);
    assert_eq!(decode(&body, &mut Rows::new()), Err(DecodeError::TooManySamples));
}

#[test]
fn samples_may_stand_before_labels() {
    let mut message = series(&[], &[(7, 7.0)]).encode_to_vec();
    series(&[("__name__", "m")], &[]).encode(&mut message).unwrap();
    let mut body = vec![0x0a, message.len() as u8];
    body.extend(message);
    let mut rows = Rows::new();
    decode(&body, &mut rows).unwrap();
    assert_eq!(decoded(&rows), [("m".to_owned(), vec![Sample { timestamp_ms: 7, value: 7.0 }])]);
}

#[test]
fn a_series_is_known_by_the_bytes_of_its_labels_alone() {
    let one = series(&[("__name__", "a"), ("b", "1")], &[(1_700_000_000_000, 1.0)]);
    let mut reordered = one.clone();
    reordered.labels.reverse();
    let mut with_exemplar = one.clone();
    with_exemplar.exemplars.push(schema::Exemplar::default());
    let early = series(&[("__name__", "a"), ("b", "1")], &[(i64::MIN, 1.0)]);
    let (mut known, mut names) = (KnownSeries::new(), Vec::new());
    let mut decoded = |body: Vec<schema::TimeSeries>| {
        decode_learning(&request(body), &mut known, &mut names);
        names.len()
    };
    assert_eq!(decoded(vec![one.clone()]), 1, "learned");
    assert_eq!(decoded(vec![one.clone(), one]), 1, "known");
    assert_eq!(decoded(vec![reordered]), 2, "other bytes");
    assert_eq!(decoded(vec![with_exemplar]), 3, "not samples alone: decoded, and learned again");
    assert_eq!(decoded(vec![early]), 3, "nothing left to learn");
}

#[test]
fn usual_samples_are_read_as_others() {
    for t in [1_i64 << 35, (1 << 42) - 1, 1_700_000_000_000, 0x2aa_aaaa_aaaa, 0x155_5555_5555] {
        let mut sample = vec![SAMPLE_TAG, 16, 0x09];
        sample.extend_from_slice(&(-1.5_f64).to_le_bytes());
        sample.push(0x10);
        let mut rest = t as u64;
        while rest >= 0x80 {
            sample.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        sample.push(rest as u8);
        let mut sample: [u8; USUAL_SAMPLE_BYTES] = sample.try_into().unwrap();
        assert_eq!(usual_sample(&sample), Some((t, -1.5)));
        assert_eq!(short_sample(&sample[2..]), Some((t, -1.5)));
        for byte in [0, 1, 2, 11, 17] {
            sample[byte] ^= 0x80;
            assert_eq!(usual_sample(&sample), None);
            sample[byte] ^= 0x80;
        }
    }
}

#[test]
fn a_declared_length_is_capped_before_memory_is_taken() {
    let mut out = Vec::new();
    let bomb = b"\xff\xff\xff\xff\x0f\x00";
    let error = decompress(bomb, usize::MAX, &mut out).unwrap_err();
    assert_eq!(
        error,
        DecodeError::TooLarge { bytes: u32::MAX as usize, limit: PUSH_BODY_BYTES_MAX }
    );
    assert_eq!(out.capacity(), 0);
    let body = snap::raw::Encoder::new().compress_vec(&[7; 100]).unwrap();
    assert_eq!(
        decompress(&body, 99, &mut out),
        Err(DecodeError::TooLarge { bytes: 100, limit: 99 })
    );
    assert_eq!(decompress(&body, 100, &mut out), Ok(()));
    assert_eq!(out, [7; 100]);
    for broken in [&b""[..], &body[..body.len() - 1], b"not snappy"] {
        let error = decompress(broken, 1000, &mut out).unwrap_err();
        assert_eq!(error.to_string().matches("snappy").count(), 1, "{error}");
    }
}

#[test]
fn a_body_of_empty_samples_is_bounded() {
    let mut message = series(&[("__name__", "m")], &[]).encode_to_vec();
    message.extend([0x12, 0].repeat(SAMPLES_PER_BODY_MAX + 1));
    let mut body = vec![0x0a];
    prost::encode_length_delimiter(message.len(), &mut body).unwrap();
    body.extend(message);
    assert_eq!(decode(&body, &mut Rows::new()), Err(DecodeError::TooManySamples));
}

fn any_series() -> impl Strategy<Value = schema::TimeSeries> {
    let labels = proptest::collection::btree_map("[a-zé]{1,4}", ".{0,150}", 0..6);
    // prost leaves out -0.0, as if it were the default.
    let value = any::<f64>().prop_map(|v| if v == 0.0 { 0.0 } else { v });
    let samples = proptest::collection::vec((-1000_i64..1000, value), 0..6);
    (labels, samples, any::<bool>()).prop_map(|(labels, samples, reversed)| {
        let mut pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        pairs.push(("__name__", "m"));
        if reversed {
            pairs.reverse();
        }
        series(&pairs, &samples)
    })
}

/// Decodes with what is known, and learns every row as if shard 1 had given it its place in `names`.
fn decode_learning(
    body: &[u8],
    known: &mut KnownSeries,
    names: &mut Vec<String>,
) -> (Report, Vec<(String, Vec<Sample>)>) {
    let mut rows = Rows::new();
    let mut decoder = Decoder::new(body);
    while decoder.step(&mut rows, known).unwrap() {}
    let mut keyed = rows.keyed().iter().peekable();
    let mut seen = Vec::new();
    for (n, row) in (0..).zip(rows.iter()) {
        let name = match row.known {
            Some(Known { shard: 1, number }) => names[number as usize].clone(),
            Some(other) => panic!("{other:?} was not learned"),
            None => Labels::from_encoded(row.labels).unwrap().to_string(),
        };
        if let Some((_, key)) = keyed.next_if(|(at, _)| *at == n) {
            known.learn(*key, Known { shard: 1, number: names.len() as u32 });
            names.push(name.clone());
        }
        seen.push((name, row.samples.to_vec()));
    }
    (decoder.finish(), seen)
}

proptest! {
    #[test]
    fn what_is_known_changes_nothing(bodies in proptest::collection::vec(
        proptest::collection::vec(any_series(), 0..5), 1..4)) {
        let (mut known, mut names) = (KnownSeries::new(), Vec::new());
        for body in bodies.iter().chain(&bodies) {
            let body = request(body.clone());
            let mut rows = Rows::new();
            let report = decode(&body, &mut rows).unwrap();
            let learning = decode_learning(&body, &mut known, &mut names);
            prop_assert_eq!(learning, (report, decoded(&rows)));
        }
    }

    #[test]
    fn agrees_with_prost(timeseries in proptest::collection::vec(any_series(), 0..5)) {
        let expected: Vec<_> = timeseries.iter().filter(|s| !s.samples.is_empty()).map(|s| {
            let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
            let pairs: Vec<_> = s.labels.iter().map(|l| (text(&l.name), text(&l.value))).collect();
            let labels: Labels = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let sample = |s: &schema::Sample| Sample { timestamp_ms: s.timestamp, value: s.value };
            let mut samples: Vec<_> = s.samples.iter().map(sample).collect();
            samples.sort_by_key(|s| s.timestamp_ms);
            (labels.to_string(), samples)
        }).collect();
        let body = request(timeseries);
        let mut rows = Rows::new();
        prop_assert_eq!(decode(&body, &mut rows).unwrap(), Report::default());
        prop_assert_eq!(decoded(&rows), expected);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &mut Rows::new());
        let _ = decompress(&bytes, 1 << 16, &mut Vec::new());
    }

    #[test]
    fn cut_off_or_flipped_bodies_do_not_panic(
        timeseries in proptest::collection::vec(any_series(), 1..4),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut body = request(timeseries);
        let mut packed = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        let _ = decode(&body[..cut.index(body.len())], &mut Rows::new());
        let at = flip.index(body.len());
        body[at] ^= 1 << bit;
        let mut rows = Rows::new();
        if decode(&body, &mut rows).is_ok() {
            for row in rows.iter() {
                prop_assert!(Labels::from_encoded(row.labels).is_some());
            }
        }
        let at = flip.index(packed.len());
        packed[at] ^= 1 << bit;
        let _ = decompress(&packed, 1 << 20, &mut Vec::new());
    }
}
