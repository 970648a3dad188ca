//! Requests and streams of remote read, against another reader of the same messages.

use tidemark_core::model::histogram::{Buckets, FloatHistogram, ResetHint};

use super::wire::LabelMatcher;
use super::*;

fn columns(samples: usize) -> SampleColumns {
    let mut columns = SampleColumns::new();
    for i in 0..samples {
        columns.push(i as i64 * 15_000, i as f64 / 3.0);
    }
    columns
}

#[test]
fn requests_are_bounded_before_memory_is_taken() {
    let request = ReadRequest::default().encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
    assert_eq!(decode(&body), Ok(request_default()));
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(decode(&huge).unwrap_err().contains("are the most that is taken"));
    assert!(decode(b"").is_err());
}

fn request_default() -> ReadRequest {
    ReadRequest::default()
}

#[test]
fn external_labels_are_taken_from_matchers_and_added_to_series() {
    let external = BTreeMap::from([("site".to_owned(), "a".to_owned())]);
    let matcher =
        |r#type, value: &str| LabelMatcher { r#type, name: "site".into(), value: value.into() };
    let query = |m| Query { matchers: vec![m], ..Query::default() };
    assert_eq!(matchers(&query(matcher(0, "a")), &external).unwrap(), []);
    assert_eq!(matchers(&query(matcher(0, "b")), &external).unwrap().len(), 1);
    assert_eq!(matchers(&query(matcher(2, "a")), &external).unwrap().len(), 1);
    assert_eq!(matchers(&query(matcher(4, "a")), &external).unwrap_err().0, 400);
    assert_eq!(matchers(&query(matcher(2, "(")), &external).unwrap_err().0, 400);
    let up = Labels::from_pairs([("__name__", "up")]);
    assert_eq!(with_external(&up, &external).to_string(), r#"up{site="a"}"#);
    let own = Labels::from_pairs([("site", "b")]);
    assert_eq!(with_external(&own, &external), own);
}

#[test]
fn streams_are_frames_of_chunks() {
    let labels = Labels::from_pairs([("__name__", "up")]);
    let results = vec![BTreeMap::new(), BTreeMap::from([(labels, columns(250))])];
    let mut stream = streamed(results).body;
    let length = prost::encoding::decode_varint(&mut stream).unwrap() as usize;
    let checksum = u32::from_be_bytes(stream[..4].try_into().unwrap());
    let payload = &stream[4..];
    assert_eq!((payload.len(), crc32c::crc32c(payload)), (length, checksum));
    let frame = ChunkedReadResponse::decode(payload).unwrap();
    assert_eq!(frame.query_index, 1);
    let mut read = SampleColumns::new();
    for chunk in &frame.chunked_series[0].chunks {
        let range = TimeRange::new(chunk.min_time_ms, chunk.max_time_ms);
        tidemark_core::chunk::xor::decode(&chunk.data, range, &mut read).unwrap();
    }
    assert_eq!(read.timestamps, columns(250).timestamps);
    assert_eq!(read.values, columns(250).values);
}

#[test]
fn histograms_keep_their_layout() {
    let h = FloatHistogram {
        schema: 3,
        count: 3.0,
        sum: 2.5,
        positive: Buckets::from_spans(&[(1, 2)], &[1.0, 2.0]).unwrap(),
        hint: ResetHint::Gauge,
        ..FloatHistogram::default()
    };
    let message = wire::histogram(7, &h);
    assert_eq!(message.positive_spans, [wire::BucketSpan { offset: 1, length: 2 }]);
    assert_eq!(message.positive_counts, [1.0, 2.0]);
    assert_eq!((message.reset_hint, message.schema, message.timestamp), (3, 3, 7));
}
