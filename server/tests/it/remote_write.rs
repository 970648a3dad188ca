//! A remote-write 1.0 sender by other encoders than the server's decoders: `prost` and `snap`.

use prost::Message;
use tidemark_bench::http::{Client, Response};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Label {
    #[prost(bytes, tag = "1")]
    pub(crate) name: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}

/// A series with its samples as (milliseconds, value).
pub(crate) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |(name, value): &(&str, &str)| Label {
        name: name.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
    };
    let sample = |(timestamp, value): &(i64, f64)| Sample { value: *value, timestamp: *timestamp };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(sample).collect(),
    }
}

/// The compressed body of a request.
pub(crate) fn encode(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    compress(&WriteRequest { timeseries }.encode_to_vec())
}

/// A snappy block.
pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).expect("compresses")
}

/// Posts a body as a remote-write sender does.
pub(crate) fn post(client: &mut Client, body: &[u8]) -> std::io::Result<Response> {
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    client.request("POST", "/api/v1/write", &headers, body)
}

/// Writes samples and fails unless all are taken.
pub(crate) fn write(client: &mut Client, timeseries: Vec<TimeSeries>) {
    let response = post(client, &encode(timeseries)).expect("an answer");
    assert!(response.is_success(), "{}: {}", response.status, response.text());
}
