//! Query results as JSON: `{"resultType":...,"result":...}` and, when asked for, what the query cost and what its parts did.

use std::sync::Arc;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::sample::Sample;
use tidemark_core::model::time::TimestampMs;

use super::json;
use crate::limits::PIECE_BYTES;
use crate::parser::ast::ValueType;
use crate::parser::number::Plain;
use crate::value::{Explain, QueryStats, SampleValue, Series, Value, VectorSample};

/// The `data` of an answer to a query, written piece by piece; what is written is let go of.
pub(super) struct QueryData {
    kind: ValueType,
    begun: bool,
    value: Unwritten,
    stats: Option<QueryStats>,
    explain: Option<Box<Explain>>,
}

/// What is to be written of a value.
enum Unwritten {
    /// A scalar or a string.
    Plain(Value),
    Vector(List<VectorSample>),
    Matrix(List<Series>, Option<OpenSeries>),
}

/// A series whose labels are written.
struct OpenSeries {
    floats: List<Sample>,
    histograms: List<(TimestampMs, Arc<FloatHistogram>)>,
}

/// A list of which a part is written.
struct List<T> {
    items: std::vec::IntoIter<T>,
    /// What stands before the next item.
    before: &'static str,
}

impl<T> List<T> {
    fn new(items: Vec<T>, open: &'static str) -> Self {
        List { items: items.into_iter(), before: open }
    }

    /// Writes items until a piece is full or all are written, and then the end of the list; whether it is over. One without items
    /// is not written.
    fn write(&mut self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, T)) -> bool {
        while out.len() < PIECE_BYTES
            && let Some(item) = self.items.next()
        {
            json::raw(out, std::mem::replace(&mut self.before, ","));
            write(out, item);
            if self.items.len() == 0 {
                out.push(b']');
            }
        }
        self.items.len() == 0
    }
}

impl QueryData {
    /// Nothing of it is written yet.
    pub(super) fn new(
        value: Value,
        stats: Option<QueryStats>,
        explain: Option<Box<Explain>>,
    ) -> Self {
        let kind = value.value_type();
        let value = match value {
            Value::Vector(samples) => Unwritten::Vector(List::new(samples, "[")),
            Value::Matrix(series) => Unwritten::Matrix(List::new(series, "["), None),
            plain => Unwritten::Plain(plain),
        };
        QueryData { kind, begun: false, value, stats, explain }
    }

    /// Appends the next piece; whether there is more.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            json::raw(out, r#"{"resultType":""#);
            json::raw(out, self.kind.as_str());
            json::raw(out, r#"","result":"#);
            if self.value.is_empty() {
                json::raw(out, "[]");
            }
        }
        if !self.value.write(out) {
            return true;
        }
        write_end(out, self.stats.as_ref(), self.explain.as_deref());
        false
    }
}

/// What comes after the result.
pub(super) fn write_end(out: &mut Vec<u8>, stats: Option<&QueryStats>, explain: Option<&Explain>) {
    if let Some(stats) = stats {
        json::raw(out, r#","stats":"#);
        write_stats(out, stats);
    }
    if let Some(explain) = explain {
        json::raw(out, r#","explain":"#);
        write_explain(out, explain);
    }
    out.push(b'}');
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        match self {
            Unwritten::Plain(_) => false,
            Unwritten::Vector(samples) => samples.items.len() == 0,
            Unwritten::Matrix(series, _) => series.items.len() == 0,
        }
    }

    /// Appends about a piece; whether all is written.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Unwritten::Plain(Value::Scalar(sample)) => {
                plain_pair(out, sample.timestamp_ms, |out| {
                    // Scalars alone are always written without exponent.
                    json::raw(out, &format!("\"{}\"", Plain(sample.value)));
                });
                true
            }
            Unwritten::Plain(Value::String { timestamp_ms, value }) => {
                plain_pair(out, *timestamp_ms, |out| json::html_safe_string(out, value));
                true
            }
            Unwritten::Plain(_) => true,
            Unwritten::Vector(samples) => {
                samples.write(out, |out, sample| write_sample(out, &sample))
            }
            Unwritten::Matrix(series, open) => write_matrix(out, series, open),
        }
    }
}

fn write_matrix(
    out: &mut Vec<u8>,
    series: &mut List<Series>,
    open: &mut Option<OpenSeries>,
) -> bool {
    loop {
        if let Some(current) = open {
            if !current.write(out) {
                return false;
            }
            *open = None;
            json::raw(out, if series.items.len() == 0 { "}]" } else { "}" });
        }
        if out.len() >= PIECE_BYTES {
            return series.items.len() == 0;
        }
        let Some(next) = series.items.next() else { return true };
        json::raw(out, std::mem::replace(&mut series.before, ","));
        json::raw(out, r#"{"metric":"#);
        json::labels(out, &next.labels);
        *open = Some(OpenSeries {
            floats: List::new(next.floats, r#","values":["#),
            histograms: List::new(next.histograms, r#","histograms":["#),
        });
    }
}

impl OpenSeries {
    /// Appends about a piece; whether all is written.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        self.floats.write(out, |out, sample| {
            json::sample(out, sample.timestamp_ms, sample.value);
        }) && self.histograms.write(out, |out, (t, histogram)| {
            pair(out, t, |out| write_histogram(out, &histogram));
        })
    }
}

/// `[time,value]` of a scalar or a string, with the time as any number is written.
fn plain_pair(out: &mut Vec<u8>, t: TimestampMs, write: impl FnOnce(&mut Vec<u8>)) {
    json::raw(out, &format!("[{},", t as f64 / 1000.0));
    write(out);
    out.push(b']');
}

/// `[time,value]` of a series, with three decimals of the time or none.
fn pair(out: &mut Vec<u8>, t: TimestampMs, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    json::timestamp(out, t);
    out.push(b',');
    write(out);
    out.push(b']');
}

fn write_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    json::raw(out, r#"{"metric":"#);
    json::labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            json::raw(out, r#","value":"#);
            json::sample(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            json::raw(out, r#","histogram":"#);
            pair(out, sample.timestamp_ms, |out| write_histogram(out, histogram));
        }
    }
    out.push(b'}');
}

/// Count, sum and the buckets that are not empty, each with a number that says which of its bounds belong to it.
fn write_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    json::raw(out, r#"{"count":"#);
    json::quoted_float(out, histogram.count);
    json::raw(out, r#","sum":"#);
    json::quoted_float(out, histogram.sum);
    let mut buckets = histogram.all_buckets().filter(|bucket| bucket.count != 0.0).peekable();
    if buckets.peek().is_some() {
        json::raw(out, r#","buckets":"#);
        json::array(out, buckets, |out, bucket| {
            let inclusive = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => "[0,",
                (true, false) => "[1,",
                (false, false) => "[2,",
                (true, true) => "[3,",
            };
            json::raw(out, inclusive);
            json::quoted_float(out, bucket.lower);
            out.push(b',');
            json::quoted_float(out, bucket.upper);
            out.push(b',');
            json::quoted_float(out, bucket.count);
            out.push(b']');
        });
    }
    out.push(b'}');
}

fn write_stats(out: &mut Vec<u8>, stats: &QueryStats) {
    let t = stats.timings;
    let evaluated = t.preparation_seconds + t.evaluation_seconds + t.sort_seconds;
    let timings = [
        ("evalTotalTime", evaluated),
        ("resultSortTime", t.sort_seconds),
        ("queryPreparationTime", t.preparation_seconds),
        ("innerEvalTime", t.evaluation_seconds),
        ("execQueueTime", t.queue_seconds),
        ("execTotalTime", t.total_seconds),
    ];
    json::raw(out, r#"{"timings":"#);
    json::object(out, timings, |out, (name, seconds)| {
        json::raw(out, &format!("\"{name}\":{}", Plain(seconds)));
    });
    json::raw(out, r#","samples":{"#);
    if let Some(steps) = &stats.samples_per_step {
        json::raw(out, r#""totalQueryableSamplesPerStep":"#);
        json::array(out, steps, |out, (t, count)| {
            plain_pair(out, *t, |out| json::integer(out, *count));
        });
        out.push(b',');
    }
    let counts = format!(
        r#""totalQueryableSamples":{},"samplesRead":{},"peakSamples":{}}}}}"#,
        stats.samples_total, stats.samples_read, stats.samples_peak
    );
    json::raw(out, &counts);
}

/// A node of the plan: what it is, what it took, what it gave; what the shards did for it; its parts.
fn write_explain(out: &mut Vec<u8>, node: &Explain) {
    json::raw(out, r#"{"node":"#);
    json::string(out, node.node);
    json::raw(out, r#","text":"#);
    json::html_safe_string(out, &node.text);
    let Explain { seconds, series, samples, .. } = node;
    let seconds = Plain(*seconds);
    let figures = format!(r#","seconds":{seconds},"series":{series},"samples":{samples}"#);
    json::raw(out, &figures);
    if !node.shards.is_empty() {
        json::raw(out, r#","shards":"#);
        json::array(out, &node.shards, |out, shard| {
            let (select, read) = (Plain(shard.select_seconds), Plain(shard.read_seconds));
            let figures = format!(
                r#"{{"seconds":{},"selectSeconds":{select},"readSeconds":{read},"series":{},"samples":{}}}"#,
                Plain(shard.seconds),
                shard.series,
                shard.samples
            );
            json::raw(out, &figures);
        });
    }
    if !node.children.is_empty() {
        json::raw(out, r#","children":"#);
        json::array(out, &node.children, write_explain);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use tidemark_core::model::histogram::Buckets;
    use tidemark_core::model::labels::Labels;

    use crate::value::ShardCost;

    use super::*;

    fn check(value: Value, expected: &str) {
        let (mut data, mut out) = (QueryData::new(value, None, None), Vec::new());
        assert!(!data.write(&mut out), "it fits into a piece");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn long_matrices_come_in_pieces() {
        let histogram = Arc::new(FloatHistogram { count: 1.0, ..FloatHistogram::default() });
        let series = |length: i64| Series {
            labels: Labels::from_pairs([("n", "x")]),
            floats: (0..length).map(|i| sample(i * 1000, i as f64)).collect(),
            histograms: (0..length).map(|i| (i * 1000, Arc::clone(&histogram))).collect(),
        };
        let lengths = [20_000, 0, 1, 3_000, 0];
        let matrix = Value::Matrix(lengths.into_iter().map(series).collect());
        let (mut data, mut out, mut pieces) = (QueryData::new(matrix, None, None), Vec::new(), 0);
        let mut more = true;
        while more {
            let mut piece = Vec::new();
            more = data.write(&mut piece);
            assert!(piece.len() < PIECE_BYTES + 1_000);
            out.extend_from_slice(&piece);
            pieces += 1;
        }
        assert!(pieces > 10);
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for (series, length) in read["result"].as_array().unwrap().iter().zip(lengths) {
            for list in ["values", "histograms"] {
                let list = series[list].as_array().map_or(&[][..], Vec::as_slice);
                assert_eq!(list.len(), length as usize);
                assert!(list.iter().enumerate().all(|(i, pair)| pair[0] == i));
            }
        }
    }

    fn sample(timestamp_ms: TimestampMs, value: f64) -> Sample {
        Sample { timestamp_ms, value }
    }

    #[test]
    fn scalars_and_strings() {
        let scalar = Value::Scalar(sample(1500, 1e21));
        check(scalar, r#"{"resultType":"scalar","result":[1.5,"1000000000000000000000"]}"#);
        let string = Value::String { timestamp_ms: 0, value: "a<b".to_owned() };
        check(string, r#"{"resultType":"string","result":[0,"a\u003cb"]}"#);
    }

    #[test]
    fn vectors_and_matrices() {
        check(Value::Vector(vec![]), r#"{"resultType":"vector","result":[]}"#);
        let up = Labels::from_pairs([("__name__", "up"), ("q", "a<\"b")]);
        let value = SampleValue::Float(f64::NAN);
        let vector = vec![VectorSample { labels: up.clone(), timestamp_ms: 1000, value }];
        check(
            Value::Vector(vector),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","q":"a<\"b"},"value":[1,"NaN"]}]}"#,
        );
        let floats = vec![sample(0, 1.0), sample(1, 0.5)];
        let series = Series { labels: Labels::empty(), floats, histograms: vec![] };
        check(
            Value::Matrix(vec![series]),
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[0.001,"0.5"]]}]}"#,
        );
    }

    #[test]
    fn histograms() {
        let histogram = FloatHistogram {
            count: 7.0,
            sum: 2.5,
            zero_threshold: 0.25,
            zero_count: 3.0,
            positive: Buckets::from_spans(&[(0, 3)], &[1.0, 0.0, 2.0]).unwrap(),
            negative: Buckets::from_spans(&[(0, 1)], &[1.0]).unwrap(),
            ..FloatHistogram::default()
        };
        let value = SampleValue::Histogram(Arc::new(histogram));
        let vector = vec![VectorSample { labels: Labels::empty(), timestamp_ms: 0, value }];
        check(
            Value::Vector(vector),
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[0,{"count":"7","sum":"2.5","buckets":[[1,"-1","-0.5","1"],[3,"-0.25","0.25","3"],[0,"0.5","1","1"],[0,"2","4","2"]]}]}]}"#,
        );
    }

    #[test]
    fn stats() {
        let stats = QueryStats {
            samples_total: 3,
            samples_read: 2,
            samples_peak: 1,
            samples_per_step: Some(vec![(1000, 3)]),
            ..QueryStats::default()
        };
        let mut out = Vec::new();
        write_stats(&mut out, &stats);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"timings":{"evalTotalTime":0,"resultSortTime":0,"queryPreparationTime":0,"innerEvalTime":0,"execQueueTime":0,"execTotalTime":0},"samples":{"totalQueryableSamplesPerStep":[[1,3]],"totalQueryableSamples":3,"samplesRead":2,"peakSamples":1}}"#
        );
    }

    #[test]
    fn explained() {
        let shard = ShardCost { series: 2, samples: 40, seconds: 0.25, ..ShardCost::default() };
        let shards = Explain {
            node: "shards",
            text: "rate({__name__=\"m\"}[5m])".to_owned(),
            seconds: 0.25,
            series: 2,
            samples: 40,
            shards: vec![shard],
            children: vec![],
        };
        let sum = Explain {
            node: "aggregate",
            text: "sum(...)".to_owned(),
            seconds: 0.5,
            series: 1,
            samples: 1,
            children: vec![shards],
            ..Explain::default()
        };
        let mut out = Vec::new();
        write_explain(&mut out, &sum);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"node":"aggregate","text":"sum(...)","seconds":0.5,"series":1,"samples":1,"children":[{"node":"shards","text":"rate({__name__=\"m\"}[5m])","seconds":0.25,"series":2,"samples":40,"shards":[{"seconds":0.25,"selectSeconds":0,"readSeconds":0,"series":2,"samples":40}]}]}"#
        );
    }
}
