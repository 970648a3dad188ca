//! Chunks of native histograms, as Prometheus encodes them: of whole numbers (encoding 2) and of floats (3).
//!
//! ```text
//! +-----------------------+------------+--------------------------------------------------------------+-------------
//! | samples: u16 BE       | flags: u8  | zero threshold, schema, positive spans, negative spans, bounds | samples ...
//! +-----------------------+------------+--------------------------------------------------------------+-------------
//! flags           two high bits: 10 the first follows a counter reset, 11 gauges
//! zero threshold  u8: 0 is 0, 1 to 254 is 2^(n - 244), after 255 stand 64 bits
//! spans           count, of each: length, gap to the one before (signed)
//! bounds          only of custom buckets (schema -53): count, of each: number: 0 and 64 bits, or 1 + 1000 * bound
//! sample          time (signed), count, zero count, sum, positive buckets, negative buckets; a staleness marker ends at its sum
//! ```
//!
//! A number is a run of ones, a zero (not after eight), and 0, 3, 6, 9, 12, 18, 25, 56 or 64 bits by the ones. In the first
//! sample numbers stand as they are, later as differences of differences; sums, and all numbers of float histograms, as XOR
//! with the one before. Buckets of whole numbers are differences to the bucket before.

use std::sync::Arc;

use tidemark_core::chunk::bits::BitReader;
use tidemark_core::chunk::xor::Window;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::histogram::{Buckets, CUSTOM_SCHEMA, FloatHistogram, ResetHint};
use tidemark_core::model::sample::is_stale;

/// Bits of a number, by the ones in front of it.
const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Buckets of one side that are read.
const BUCKETS_MAX: usize = 1 << 16;

/// Bytes in front of the bit stream.
const HEADER_BYTES: usize = 3;

/// How a number is encoded.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// A number from sample to sample.
#[derive(Clone)]
struct Number {
    /// Of a float, its bits.
    value: u64,
    delta: i64,
    window: Window,
}

impl Number {
    const ZERO: Number = Number { value: 0, delta: 0, window: Window::NONE };

    /// Takes the next sample's.
    fn read(&mut self, kind: Kind, is_first: bool, reader: &mut BitReader<'_>) -> u64 {
        match (kind, is_first) {
            (Kind::Float, true) => self.value = reader.read(64),
            (Kind::Float, false) => self.value ^= self.window.read(reader),
            (Kind::Unsigned, true) => self.value = unsigned(reader),
            (Kind::Signed, true) => self.value = signed(reader) as u64,
            (_, false) => {
                self.delta = self.delta.wrapping_add(signed(reader));
                self.value = self.value.wrapping_add(self.delta as u64);
            }
        }
        self.value
    }
}

/// Takes a number of so many ones; its width too.
fn number(reader: &mut BitReader<'_>) -> (u64, u32) {
    let ones = (!reader.peek()).leading_zeros().min(8);
    reader.skip(if ones == 8 { 8 } else { ones + 1 });
    let width = WIDTHS[ones as usize];
    (if width == 0 { 0 } else { reader.read(width) }, width)
}

fn unsigned(reader: &mut BitReader<'_>) -> u64 {
    number(reader).0
}

fn signed(reader: &mut BitReader<'_>) -> i64 {
    let (bits, width) = number(reader);
    let negative = (1..64).contains(&width) && bits > 1 << (width - 1);
    if negative { bits.wrapping_sub(1 << width) as i64 } else { bits as i64 }
}

/// What all histograms of a chunk have in common.
struct Layout {
    zero_threshold: f64,
    schema: i32,
    positive: Vec<(i32, u32)>,
    negative: Vec<(i32, u32)>,
    bounds: Option<Arc<[f64]>>,
}

impl Layout {
    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        let zero_threshold = match reader.read(8) {
            0 => 0.0,
            255 => f64::from_bits(reader.read(64)),
            exponent => 2_f64.powi(exponent as i32 - 244),
        };
        let schema = i32::try_from(signed(reader)).ok()?;
        let (positive, negative) = (spans(reader)?, spans(reader)?);
        let bounds = if schema == CUSTOM_SCHEMA { Some(bounds(reader)?) } else { None };
        Some(Layout { zero_threshold, schema, positive, negative, bounds })
    }
}

fn spans(reader: &mut BitReader<'_>) -> Option<Vec<(i32, u32)>> {
    let mut spans = Vec::new();
    for _ in 0..unsigned(reader) {
        let length = u32::try_from(unsigned(reader)).ok()?;
        spans.push((i32::try_from(signed(reader)).ok()?, length));
        if reader.overran() || buckets(&spans) > BUCKETS_MAX {
            return None;
        }
    }
    Some(spans)
}

/// How many buckets there are in all spans.
fn buckets(spans: &[(i32, u32)]) -> usize {
    spans.iter().map(|(_, length)| *length as usize).sum()
}

fn bounds(reader: &mut BitReader<'_>) -> Option<Arc<[f64]>> {
    let mut bounds = Vec::new();
    for _ in 0..unsigned(reader) {
        bounds.push(match unsigned(reader) {
            0 => f64::from_bits(reader.read(64)),
            thousandths => (thousandths - 1) as f64 / 1_000.0,
        });
        if reader.overran() {
            return None;
        }
    }
    Some(bounds.into())
}

/// Appends the histograms of a chunk to `out`; `None` where it ends too early or makes no sense.
pub(super) fn decode(bytes: &[u8], is_float: bool, out: &mut SampleColumns) -> Option<()> {
    let (&[high, low, flags], body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let mut reader = BitReader::new(body);
    let layout = Layout::read(&mut reader)?;
    let (count_kind, bucket_kind) =
        if is_float { (Kind::Float, Kind::Float) } else { (Kind::Unsigned, Kind::Signed) };
    let mut state = vec![Number::ZERO; 4];
    let mut positive = vec![Number::ZERO; buckets(&layout.positive)];
    let mut negative = vec![Number::ZERO; buckets(&layout.negative)];
    for i in 0..u16::from_be_bytes([high, low]) {
        let first = i == 0;
        let kinds = [Kind::Signed, count_kind, count_kind, Kind::Float];
        let mut fields = [0; 4];
        for ((field, number), kind) in fields.iter_mut().zip(&mut state).zip(kinds) {
            *field = number.read(kind, first, &mut reader);
        }
        let [t, count, zero_count, sum] = fields;
        let float = |value: u64| if is_float { f64::from_bits(value) } else { value as f64 };
        let mut histogram =
            FloatHistogram { sum: f64::from_bits(sum), ..FloatHistogram::default() };
        // The first of a chunk has its buckets even if it is a staleness marker.
        if first || !is_stale(histogram.sum) {
            let mut side = |numbers: &mut [Number], spans: &[(i32, u32)]| {
                let mut whole = 0_i64;
                let mut count = |number: &mut Number| {
                    let value = number.read(bucket_kind, first, &mut reader);
                    whole = whole.wrapping_add(value as i64);
                    if is_float { f64::from_bits(value) } else { whole as f64 }
                };
                let counts: Vec<f64> = numbers.iter_mut().map(&mut count).collect();
                Buckets::from_spans(spans, &counts)
            };
            let (positive, negative) =
                (side(&mut positive, &layout.positive)?, side(&mut negative, &layout.negative)?);
            histogram = FloatHistogram {
                hint: hint(flags, first),
                schema: layout.schema,
                zero_threshold: layout.zero_threshold,
                zero_count: float(zero_count),
                count: float(count),
                positive,
                negative,
                custom_bounds: layout.bounds.clone(),
                ..histogram
            };
        }
        if reader.overran() {
            return None;
        }
        out.push_histogram(t as i64, Arc::new(histogram));
    }
    Some(())
}

/// What a chunk knows of a counter reset before one of its histograms.
fn hint(flags: u8, is_first: bool) -> ResetHint {
    match (flags >> 6, is_first) {
        (0b11, _) => ResetHint::Gauge,
        (_, false) => ResetHint::NotReset,
        (0b10, true) => ResetHint::Reset,
        (_, true) => ResetHint::Unknown,
    }
}
