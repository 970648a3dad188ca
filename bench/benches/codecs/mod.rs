//! The chunk encodings that are compared, and `pco` as it is, as one table.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};
use tidemark_core::chunk::xor::XorEncoder;
use tidemark_core::chunk::{self, Effort, Encoding};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::time::TimeRange;

/// A way to keep samples.
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    /// Times and values of one chunk.
    pub(crate) encode: fn(&[i64], &[f64]) -> Vec<u8>,
    /// Appends them.
    pub(crate) decode: fn(&[u8], &mut SampleColumns),
}

/// All that are compared.
pub(crate) const CODECS: [Codec; 4] = [
    Codec { name: "xor", encode: encode_xor, decode: decode_xor },
    Codec { name: "columnar", encode: encode_fast, decode: decode_columnar },
    Codec { name: "columnar, dense", encode: encode_dense, decode: decode_columnar },
    Codec { name: "pco, values only", encode: encode_pco, decode: decode_pco },
];

fn encode_xor(times: &[i64], values: &[f64]) -> Vec<u8> {
    let mut encoder = XorEncoder::new();
    times.iter().zip(values).for_each(|(t, v)| encoder.push(*t, *v));
    encoder.seal()
}

fn decode_xor(bytes: &[u8], out: &mut SampleColumns) {
    chunk::decode(Encoding::Xor, bytes, TimeRange::ALL, out).expect("a chunk");
}

fn encode_fast(times: &[i64], values: &[f64]) -> Vec<u8> {
    chunk::seal(times, values, Effort::Fast).1
}

fn encode_dense(times: &[i64], values: &[f64]) -> Vec<u8> {
    chunk::seal(times, values, Effort::Dense).1
}

fn decode_columnar(bytes: &[u8], out: &mut SampleColumns) {
    chunk::decode(Encoding::Columnar, bytes, TimeRange::ALL, out).expect("a chunk");
}

fn encode_pco(_: &[i64], values: &[f64]) -> Vec<u8> {
    simple_compress(values, &ChunkConfig::default()).expect("floats")
}

fn decode_pco(bytes: &[u8], out: &mut SampleColumns) {
    let values: Vec<f64> = simple_decompress(bytes).expect("what was compressed");
    out.timestamps.resize(values.len(), 0);
    out.values.extend(values);
}
