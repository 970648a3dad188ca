//! Query results in columns: the streaming format of Apache Arrow, for who says `Accept: application/vnd.apache.arrow.stream`.
//!
//! ```text
//! matrix            metric: map<utf8, utf8>   timestamps: list<timestamp[ms, UTC]>   values: list<float64>     a row a series
//! vector, scalar    metric: map<utf8, utf8>   timestamp: timestamp[ms, UTC]          value: float64            a row a sample
//! ```
//!
//! The metadata of the schema has `resultType`, and `warnings` and `infos` as lists of JSON. Strings, native histograms, statistics
//! and plans have no columns: such an answer is JSON, as an error is. Record batches are made as the client takes them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use tidemark_core::model::labels::Labels;

use super::response::Response;
use crate::limits::ARROW_BATCH_VALUES;
use crate::value::{SampleValue, Series, Value, VectorSample};

/// The MIME type.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";

const UTC: &str = "UTC";

type Result<T> = std::result::Result<T, ArrowError>;

/// Whether a value has columns: numbers only.
pub(super) fn has_columns(value: &Value) -> bool {
    match value {
        Value::Scalar(_) => true,
        Value::String { .. } => false,
        Value::Vector(samples) => {
            samples.iter().all(|sample| matches!(sample.value, SampleValue::Float(_)))
        }
        Value::Matrix(series) => series.iter().all(|series| series.histograms.is_empty()),
    }
}

/// The answer to a query whose value [has columns](has_columns).
///
/// # Errors
/// Those of the encoder, which knows none for these columns but memory.
pub(super) fn answer(value: Value, warnings: &[String], infos: &[String]) -> Result<Response> {
    let metadata = HashMap::from([
        ("resultType".to_owned(), value.value_type().as_str().to_owned()),
        ("warnings".to_owned(), serde_json::Value::from(warnings).to_string()),
        ("infos".to_owned(), serde_json::Value::from(infos).to_string()),
    ]);
    match value {
        Value::Matrix(series) => {
            let list = |name, item| Field::new(name, DataType::List(item), false);
            let columns = vec![metric(), list("timestamps", time_item()), list("values", item())];
            let schema = Arc::new(Schema::new_with_metadata(columns, metadata));
            batches(schema, series, |series| series.floats.len(), matrix_batch)
        }
        samples => {
            let time = Field::new("timestamp", time_item().data_type().clone(), false);
            let columns = vec![metric(), time, Field::new("value", DataType::Float64, false)];
            let schema = Arc::new(Schema::new_with_metadata(columns, metadata));
            batches(schema, rows(samples), |_| 1, vector_batch)
        }
    }
}

/// The samples of an instant vector; a scalar is one without labels.
fn rows(value: Value) -> Vec<VectorSample> {
    match value {
        Value::Vector(samples) => samples,
        Value::Scalar(sample) => {
            let value = SampleValue::Float(sample.value);
            vec![VectorSample { labels: Labels::empty(), timestamp_ms: sample.timestamp_ms, value }]
        }
        Value::String { .. } | Value::Matrix(_) => Vec::new(),
    }
}

/// Writes batches of about [`ARROW_BATCH_VALUES`], one a piece.
fn batches<T: 'static>(
    schema: SchemaRef,
    items: Vec<T>,
    size: fn(&T) -> usize,
    batch: fn(&SchemaRef, &[T]) -> Result<RecordBatch>,
) -> Result<Response> {
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    let mut items = items.into_iter();
    let mut next = move |out: &mut Vec<u8>| -> Result<bool> {
        let (mut part, mut values) = (Vec::new(), 0);
        while values < ARROW_BATCH_VALUES
            && let Some(item) = items.next()
        {
            values += size(&item).max(1);
            part.push(item);
        }
        if !part.is_empty() {
            writer.write(&batch(&schema, &part)?)?;
        }
        if items.len() == 0 {
            writer.finish()?;
        }
        out.append(writer.get_mut());
        Ok(items.len() > 0)
    };
    // What is wrong with the columns is wrong with the first batch.
    let mut first = Vec::new();
    let more = next(&mut first)?;
    let mut first = Some(first);
    Ok(Response::pieces(ARROW, move |out| match first.take() {
        Some(mut first) => {
            out.append(&mut first);
            more
        }
        // A stream that breaks off has no end mark: the client sees it.
        None => next(out).unwrap_or(false),
    }))
}

fn time_item() -> Arc<Field> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()));
    Arc::new(Field::new_list_field(time, false))
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float64, false))
}

/// Name and value of a label.
fn pair() -> Fields {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Fields::from(vec![text("keys"), text("values")])
}

fn entries() -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(pair()), false))
}

fn metric() -> Field {
    Field::new("metric", DataType::Map(entries(), true), false)
}

fn times(times: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone(UTC))
}

fn metrics(all: &[&Labels]) -> Result<ArrayRef> {
    let pairs = || all.iter().flat_map(|labels| labels.iter());
    let keys = StringArray::from_iter_values(pairs().map(|(name, _)| name));
    let values = StringArray::from_iter_values(pairs().map(|(_, value)| value));
    let lengths = OffsetBuffer::from_lengths(all.iter().map(|labels| labels.iter().count()));
    let pairs = StructArray::try_new(pair(), vec![Arc::new(keys), Arc::new(values)], None)?;
    Ok(Arc::new(MapArray::try_new(entries(), lengths, pairs, None, true)?))
}

fn matrix_batch(schema: &SchemaRef, series: &[Series]) -> Result<RecordBatch> {
    let lengths = || OffsetBuffer::from_lengths(series.iter().map(|series| series.floats.len()));
    let samples = || series.iter().flat_map(|series| &series.floats);
    let values = Float64Array::from_iter_values(samples().map(|sample| sample.value));
    let list = |item, values| -> Result<ArrayRef> {
        Ok(Arc::new(ListArray::try_new(item, lengths(), values, None)?))
    };
    let columns = vec![
        metrics(&series.iter().map(|series| &series.labels).collect::<Vec<_>>())?,
        list(time_item(), times(samples().map(|sample| sample.timestamp_ms)))?,
        list(item(), Arc::new(values))?,
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}

fn vector_batch(schema: &SchemaRef, samples: &[VectorSample]) -> Result<RecordBatch> {
    let value = |sample: &VectorSample| match &sample.value {
        SampleValue::Float(value) => Some(*value),
        SampleValue::Histogram(_) => None,
    };
    let columns: Vec<ArrayRef> = vec![
        metrics(&samples.iter().map(|sample| &sample.labels).collect::<Vec<_>>())?,
        times(samples.iter().map(|sample| sample.timestamp_ms)),
        Arc::new(samples.iter().map(value).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, TimestampMillisecondType};
    use arrow_ipc::reader::StreamReader;
    use tidemark_core::model::histogram::FloatHistogram;
    use tidemark_core::model::sample::Sample;

    use futures_util::FutureExt;

    use super::*;

    /// The batches of an answer, and in how many pieces it came.
    fn read(mut response: Response) -> (SchemaRef, Vec<RecordBatch>, usize) {
        let (mut all, mut pieces) = (response.body.to_vec(), 1);
        let mut more = response.rest.is_some();
        while let Some(rest) = response.rest.as_mut().filter(|_| more) {
            let piece;
            (piece, more) = rest.next().now_or_never().unwrap();
            all.extend_from_slice(&piece);
            pieces += 1;
        }
        let reader = StreamReader::try_new(&*all, None).unwrap();
        (reader.schema(), reader.map(|batch| batch.unwrap()).collect(), pieces)
    }

    fn labels(batch: &RecordBatch, row: usize) -> Vec<(String, String)> {
        let entries = batch.column(0).as_map().value(row);
        let column = |i: usize| entries.column(i).as_string::<i32>();
        let pair = |i| (column(0).value(i).to_owned(), column(1).value(i).to_owned());
        (0..entries.len()).map(pair).collect()
    }

    #[test]
    fn a_matrix_is_a_row_a_series() {
        let series = |(number, length): (usize, &usize)| Series {
            labels: Labels::from_pairs([("__name__", "m"), ("n", &number.to_string())]),
            floats: (0..*length)
                .map(|i| Sample { timestamp_ms: i as i64 * 1_000, value: (i * number) as f64 })
                .collect(),
            histograms: vec![],
        };
        let lengths = [1_000, 0, 20_000, 3, 9_000];
        let all = lengths.iter().enumerate().map(series).collect();
        let response = answer(Value::Matrix(all), &["a \"w\"".to_owned()], &[]).unwrap();
        assert_eq!((response.status, response.content_type), (200, ARROW));
        let (schema, batches, pieces) = read(response);
        assert_eq!(schema.metadata["resultType"], "matrix");
        assert_eq!(schema.metadata["warnings"], r#"["a \"w\""]"#);
        assert!(pieces > 1 && batches.len() == pieces, "{pieces} pieces");
        let mut number = 0;
        for batch in &batches {
            for row in 0..batch.num_rows() {
                assert_eq!(labels(batch, row)[1].1, number.to_string());
                let times = batch.column(1).as_list::<i32>().value(row);
                let times = times.as_primitive::<TimestampMillisecondType>();
                let values = batch.column(2).as_list::<i32>().value(row);
                let values = values.as_primitive::<Float64Type>();
                assert_eq!((times.len(), values.len()), (lengths[number], lengths[number]));
                if let Some(last) = lengths[number].checked_sub(1) {
                    assert_eq!(times.value(last), last as i64 * 1_000);
                    assert_eq!(values.value(last), (last * number) as f64);
                }
                number += 1;
            }
        }
        assert_eq!(number, lengths.len());
    }

    #[test]
    fn vectors_and_scalars_are_a_row_a_sample() {
        let sample = |value| VectorSample {
            labels: Labels::from_pairs([("a", "é")]),
            timestamp_ms: 7,
            value: SampleValue::Float(value),
        };
        let vector = Value::Vector(vec![sample(f64::NAN), sample(-0.0)]);
        let (_, batches, _) = read(answer(vector, &[], &[]).unwrap());
        let values = batches[0].column(2).as_primitive::<Float64Type>();
        assert!(values.value(0).is_nan() && values.value(1).to_bits() == (-0.0_f64).to_bits());
        assert_eq!(labels(&batches[0], 1), [("a".to_owned(), "é".to_owned())]);
        let scalar = Value::Scalar(Sample { timestamp_ms: 9, value: 2.5 });
        let (schema, batches, _) = read(answer(scalar, &[], &[]).unwrap());
        assert_eq!((&schema.metadata["resultType"][..], batches[0].num_rows()), ("scalar", 1));
        let (_, batches, _) = read(answer(Value::Vector(vec![]), &[], &[]).unwrap());
        assert!(batches.is_empty(), "a schema and no rows");
    }

    #[test]
    fn what_is_no_number_has_no_columns() {
        let histogram = SampleValue::Histogram(Arc::new(FloatHistogram::default()));
        let sample = VectorSample { labels: Labels::empty(), timestamp_ms: 0, value: histogram };
        assert!(!has_columns(&Value::Vector(vec![sample])));
        assert!(!has_columns(&Value::String { timestamp_ms: 0, value: String::new() }));
        assert!(has_columns(&Value::Matrix(vec![Series::default()])));
    }
}
