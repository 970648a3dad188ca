//! The XOR (Gorilla) chunk, bit for bit as Prometheus encodes it.
//!
//! ```text
//! +------------------+-----------------+--------------+------------------+------------+
//! | samples: u16 BE  | t0: varint      | v0: 64 bits  | t1-t0: uvarint   | xor v1     |
//! +------------------+-----------------+--------------+------------------+------------+
//! | delta of delta of t2 | xor v2 | delta of delta of t3 | xor v3 | ... zero bits to the byte
//! +----------------------+--------+----------------------+--------+----
//!
//! delta of delta:  0                          same delta again
//!                  10   + 14 bits             -8191 ..= 8192
//!                  110  + 17 bits             -65535 ..= 65536
//!                  1110 + 20 bits             -524287 ..= 524288
//!                  1111 + 64 bits             the rest
//! xor:             0                          same value again
//!                  10   + significant bits    within the window of the xor before
//!                  11   + leading zeros: 5 bits, significant bits: 6 bits (0 means 64), the bits
//! ```
//!
//! Values are compared and kept as bit patterns, so every NaN payload survives. Arithmetic on timestamps wraps, as it
//! does in Go.

use super::ChunkError;
use super::bits::{BitReader, BitWriter, push_uvarint, push_varint};
use crate::model::columns::SampleColumns;
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};

/// Bytes of the sample count at the start.
const HEADER_BYTES: usize = 2;

/// Width in bits of the delta of delta, after as many ones (and a zero, but for the last) as the index says.
const DELTA_WIDTHS: [u32; 5] = [0, 14, 17, 20, 64];

/// No window yet: wider than any xor can have leading zeros.
const NO_WINDOW: u8 = 0xff;

/// Time of the last sample of a chunk that follows none.
const NEVER: TimestampMs = TimestampMs::MIN;

/// The window of significant bits that xors are written in, on either side.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    leading: u8,
    trailing: u8,
}

impl Window {
    /// None yet.
    pub const NONE: Window = Window { leading: NO_WINDOW, trailing: 0 };

    /// Appends a xor.
    #[inline]
    pub(super) fn push(&mut self, writer: &mut BitWriter<'_>, xor: u64) {
        if xor == 0 {
            return writer.push(0, 1);
        }
        // Five bits hold the leading zeros: what exceeds 31 is written as significant zeros.
        let leading = (xor.leading_zeros() as u8).min(31);
        let trailing = xor.trailing_zeros() as u8;
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            writer.push(0b10, 2);
        } else {
            *self = Window { leading, trailing };
            let window = (u64::from(leading) << 6) | u64::from((64 - leading - trailing) & 63);
            writer.push((0b11 << 11) | window, 13);
        }
        writer.push(xor >> self.trailing, u32::from(64 - self.leading - self.trailing));
    }

    /// The next xor.
    #[inline(always)]
    pub fn read(&mut self, reader: &mut BitReader<'_>) -> u64 {
        let head = reader.peek();
        if head >> 63 == 0 {
            reader.skip(1);
            return 0;
        }
        if head >> 62 == 0b11 {
            self.leading = (head >> 57) as u8 & 31;
            let significant = (head >> 51) as u8 & 63;
            let significant = if significant == 0 { 64 } else { significant };
            self.trailing = 64_u8.saturating_sub(self.leading + significant);
            reader.skip(13);
        } else {
            reader.skip(2);
        }
        // `10` before any `11`, or a window wider than a word, occurs in damaged chunks only.
        let outside = self.leading.saturating_add(self.trailing).min(63);
        reader.read(64 - u32::from(outside)) << (self.trailing & 63)
    }
}

/// What an encoder knows besides its bytes: with it a chunk is continued without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Bits unused in the last byte.
    pub free: u8,
    /// Leading zeros of the window of significant bits; 255 if there is none yet.
    pub leading: u8,
    /// Its trailing zeros.
    pub trailing: u8,
    /// Time of the newest sample, in ms.
    pub last_timestamp: TimestampMs,
    /// Its distance from the sample before, in ms.
    pub last_delta: u64,
    /// The bits of its value.
    pub last_value: u64,
}

impl Resume {
    /// Whether an encoder can be in this state.
    fn is_sound(&self) -> bool {
        let window = self.leading == NO_WINDOW && self.trailing == 0
            || self.leading <= 31 && self.leading.saturating_add(self.trailing) < 64;
        self.free < 8 && window && self.last_timestamp != NEVER
    }
}

/// A chunk under construction. It remembers the newest sample of the chunk before it.
#[derive(Clone, Debug)]
pub struct XorEncoder {
    bytes: Vec<u8>,
    /// Bits unused in the last byte.
    free: u8,
    window: Window,
    count: u16,
    last_timestamp: i64,
    last_delta: u64,
    last_value: u64,
}

impl Default for XorEncoder {
    fn default() -> Self {
        XorEncoder::new()
    }
}

impl XorEncoder {
    /// A chunk without samples; allocates nothing.
    pub const fn new() -> Self {
        XorEncoder {
            bytes: Vec::new(),
            free: 0,
            window: Window::NONE,
            count: 0,
            last_timestamp: NEVER,
            last_delta: 0,
            last_value: 0,
        }
    }

    /// A chunk without samples that follows one whose newest sample is given.
    pub fn after(last_timestamp: TimestampMs, last_value: f64) -> Self {
        XorEncoder { last_timestamp, last_value: last_value.to_bits(), ..XorEncoder::new() }
    }

    /// Takes the encoded chunk out; what is pushed next begins another.
    pub fn seal(&mut self) -> Vec<u8> {
        let next = XorEncoder::after(self.last_timestamp, f64::from_bits(self.last_value));
        std::mem::replace(self, next).bytes
    }

    /// Continues a chunk that was encoded before, so that more samples can be appended.
    pub fn resume(bytes: &[u8]) -> Result<Self, ChunkError> {
        let mut samples = XorIter::new(bytes)?;
        for sample in samples.by_ref() {
            sample?;
        }
        let free = (8 - samples.reader_bits() % 8) % 8;
        let end = HEADER_BYTES + samples.reader_bits().div_ceil(8);
        Ok(XorEncoder {
            bytes: if samples.count == 0 { Vec::new() } else { bytes[..end].to_vec() },
            free: free as u8,
            window: samples.window,
            count: samples.count,
            last_timestamp: if samples.count == 0 { NEVER } else { samples.timestamp },
            last_delta: samples.delta,
            last_value: samples.value,
        })
    }

    /// Continues a chunk that was encoded before by what its encoder knew; `None` where the two cannot belong together.
    pub fn resume_at(bytes: &[u8], state: Resume) -> Option<Self> {
        let (count, body) = bytes.split_first_chunk()?;
        let count = u16::from_be_bytes(*count);
        let sound = state.is_sound() && count > 0 && !body.is_empty();
        sound.then(|| XorEncoder {
            bytes: bytes.to_vec(),
            free: state.free,
            window: Window { leading: state.leading, trailing: state.trailing },
            count,
            last_timestamp: state.last_timestamp,
            last_delta: state.last_delta,
            last_value: state.last_value,
        })
    }

    /// What is needed besides the bytes to continue this chunk.
    pub fn state(&self) -> Resume {
        Resume {
            free: self.free,
            leading: self.window.leading,
            trailing: self.window.trailing,
            last_timestamp: self.last_timestamp,
            last_delta: self.last_delta,
            last_value: self.last_value,
        }
    }

    /// How many samples.
    #[inline]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The encoded chunk so far; empty when there is no sample.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Heap bytes held.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The newest sample of this chunk or of the one before it, if there is any.
    #[inline]
    pub fn last(&self) -> Option<(TimestampMs, f64)> {
        let some = self.last_timestamp != NEVER;
        some.then(|| (self.last_timestamp, f64::from_bits(self.last_value)))
    }

    /// The timestamp of the first sample, if there is one.
    pub fn first_timestamp(&self) -> Option<TimestampMs> {
        BitReader::new(self.bytes.get(HEADER_BYTES..)?).read_varint()
    }

    /// Makes room for a chunk of so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
    }

    /// Appends a sample; the caller keeps the order of time and the bound on samples.
    #[inline]
    pub fn push(&mut self, timestamp_ms: TimestampMs, value: f64) {
        self.push_all(&[Sample { timestamp_ms, value }]);
    }

    /// Appends samples; the caller keeps the order of time and the bound on samples.
    #[inline]
    pub fn push_all(&mut self, samples: &[Sample]) {
        let mut rest = samples;
        while let ([first, behind @ ..], ..2) = (rest, self.count) {
            self.begin(*first);
            rest = behind;
        }
        self.go_on(rest);
        if let Some(header) = self.bytes.first_chunk_mut() {
            *header = self.count.to_be_bytes();
        }
    }

    /// Appends the first or the second sample, which stand in whole bytes but for the second value.
    fn begin(&mut self, sample: Sample) {
        let (timestamp, value) = (sample.timestamp_ms, sample.value.to_bits());
        if self.count == 0 {
            self.bytes.reserve_exact(HEADER_BYTES + 18);
            self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
            push_varint(&mut self.bytes, timestamp);
            self.bytes.extend_from_slice(&value.to_be_bytes());
        } else {
            self.last_delta = timestamp.wrapping_sub(self.last_timestamp) as u64;
            push_uvarint(&mut self.bytes, self.last_delta);
            let mut writer = BitWriter::new(&mut self.bytes, 0);
            self.window.push(&mut writer, value ^ self.last_value);
            self.free = writer.finish();
        }
        self.last_timestamp = timestamp;
        self.last_value = value;
        self.count += 1;
    }

    /// Appends samples that follow two others.
    #[inline]
    fn go_on(&mut self, samples: &[Sample]) {
        let Some(last) = samples.last() else { return };
        let (mut timestamp, mut value) = (self.last_timestamp, self.last_value);
        let (mut delta, mut window) = (self.last_delta, self.window);
        let mut writer = BitWriter::new(&mut self.bytes, self.free);
        for sample in samples {
            let step = sample.timestamp_ms.wrapping_sub(timestamp) as u64;
            push_delta_of_delta(&mut writer, step.wrapping_sub(delta) as i64);
            window.push(&mut writer, sample.value.to_bits() ^ value);
            (timestamp, delta, value) = (sample.timestamp_ms, step, sample.value.to_bits());
        }
        self.free = writer.finish();
        (self.last_timestamp, self.last_value) = (last.timestamp_ms, last.value.to_bits());
        (self.last_delta, self.window) = (delta, window);
        self.count += samples.len() as u16;
    }
}

#[inline]
fn push_delta_of_delta(writer: &mut BitWriter<'_>, dod: i64) {
    if dod == 0 {
        return writer.push(0, 1);
    }
    for (ones, prefix) in [(1, 0b10), (2, 0b110), (3, 0b1110)] {
        let width = DELTA_WIDTHS[ones];
        let half = 1_i64 << (width - 1);
        if (1 - half..=half).contains(&dod) {
            let low = dod as u64 & ((1 << width) - 1);
            return writer.push((prefix << width) | low, width + ones as u32 + 1);
        }
    }
    writer.push(0b1111, 4);
    writer.push(dod as u64, 64);
}

/// Decodes one sample after the other.
#[derive(Clone, Debug)]
pub struct XorIter<'a> {
    reader: BitReader<'a>,
    count: u16,
    read: u16,
    window: Window,
    timestamp: i64,
    delta: u64,
    value: u64,
}

impl<'a> XorIter<'a> {
    /// Begins at the first sample. No bytes at all are a chunk without samples.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let (count, body) = match bytes {
            [] => (0, bytes),
            [high, low, body @ ..] => (u16::from_be_bytes([*high, *low]), body),
            _ => return Err(ChunkError::NoHeader),
        };
        Ok(XorIter {
            reader: BitReader::new(body),
            count,
            read: 0,
            window: Window::NONE,
            timestamp: 0,
            delta: 0,
            value: 0,
        })
    }

    /// How many samples the header promises.
    pub fn count(&self) -> u16 {
        self.count
    }

    fn reader_bits(&self) -> usize {
        self.reader.position()
    }

    #[inline]
    fn read_value(&mut self) {
        self.value ^= self.window.read(&mut self.reader);
    }

    #[inline]
    fn step(&mut self) -> Result<(), ChunkError> {
        let truncated = ChunkError::Truncated { sample: self.read, count: self.count };
        match self.read {
            0 => {
                self.timestamp = self.reader.read_varint().ok_or(truncated)?;
                self.value = self.reader.read(64);
            }
            1 => {
                self.delta = self.reader.read_uvarint().ok_or(truncated)?;
                self.timestamp = self.timestamp.wrapping_add(self.delta as i64);
                self.read_value();
            }
            _ => {
                self.delta = self.delta.wrapping_add(read_delta_of_delta(&mut self.reader) as u64);
                self.timestamp = self.timestamp.wrapping_add(self.delta as i64);
                self.read_value();
            }
        }
        self.read += 1;
        if self.reader.overran() { Err(truncated) } else { Ok(()) }
    }
}

impl Iterator for XorIter<'_> {
    type Item = Result<(TimestampMs, f64), ChunkError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.count {
            return None;
        }
        match self.step() {
            Ok(()) => Some(Ok((self.timestamp, f64::from_bits(self.value)))),
            Err(error) => {
                self.read = self.count;
                Some(Err(error))
            }
        }
    }
}

/// Appends the samples of a chunk that lie in `range` to `out`, stopping at the first one past it.
///
/// The first two samples are read step by step. For the others the state lives in registers: a word holds whatever a sample
/// begins with, and the usual sample (the same distance in time; the same value, or a xor within the window) is two tests.
pub fn decode(bytes: &[u8], range: TimeRange, out: &mut SampleColumns) -> Result<(), ChunkError> {
    let mut samples = XorIter::new(bytes)?;
    let count = usize::from(samples.count);
    out.timestamps.reserve(count);
    out.values.reserve(count);
    while samples.read < samples.count.min(2) {
        samples.step()?;
        if samples.timestamp > range.end_ms {
            return Ok(());
        }
        if samples.timestamp >= range.start_ms {
            out.push(samples.timestamp, f64::from_bits(samples.value));
        }
    }
    let XorIter { mut reader, mut window, mut timestamp, mut delta, mut value, .. } = samples;
    for sample in samples.read..samples.count {
        let head = reader.peek();
        if head >> 63 == 0 {
            reader.skip(1);
        } else {
            delta = delta.wrapping_add(read_delta_of_delta(&mut reader) as u64);
        }
        timestamp = timestamp.wrapping_add(delta as i64);
        value ^= window.read(&mut reader);
        if reader.overran() {
            return Err(ChunkError::Truncated { sample, count: samples.count });
        }
        if timestamp > range.end_ms {
            break;
        }
        if timestamp >= range.start_ms {
            out.push(timestamp, f64::from_bits(value));
        }
    }
    Ok(())
}

/// How much the distance to the sample before has grown.
#[inline]
fn read_delta_of_delta(reader: &mut BitReader<'_>) -> i64 {
    let ones = (!reader.peek()).leading_zeros().min(4);
    reader.skip(if ones == 4 { 4 } else { ones + 1 });
    let width = DELTA_WIDTHS[ones as usize];
    match width {
        0 => 0,
        64 => reader.read(64) as i64,
        _ => {
            let low = reader.read(width) as i64;
            if low > 1 << (width - 1) { low - (1 << width) } else { low }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::fixture;
    use crate::model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
    use proptest::prelude::*;

    /// Timestamps and bits of values.
    type Samples = Vec<(i64, u64)>;

    fn encode(samples: &[(i64, u64)]) -> XorEncoder {
        let mut encoder = XorEncoder::new();
        for &(t, bits) in samples {
            encoder.push(t, f64::from_bits(bits));
        }
        encoder
    }

    fn decode_all(bytes: &[u8]) -> Samples {
        let mut out = SampleColumns::new();
        decode(bytes, TimeRange::ALL, &mut out).unwrap();
        out.timestamps.into_iter().zip(out.values.into_iter().map(f64::to_bits)).collect()
    }

    /// Samples in ascending order of time whose steps and values exercise every branch of the encoding.
    fn samples() -> impl Strategy<Value = Samples> {
        let step = prop_oneof![
            5 => Just(15_000_i64),
            2 => 14_990_i64..15_010,
            1 => 1_i64..70_000,
            1 => 1_i64..4_000_000_000,
            1 => 1_i64..1 << 60,
        ];
        let value = prop_oneof![
            4 => (0_u32..1000).prop_map(|v| f64::from(v).to_bits()),
            2 => any::<f64>().prop_map(f64::to_bits),
            2 => any::<u64>(),
            1 => prop_oneof![Just(STALE_NAN_BITS), Just(NORMAL_NAN_BITS), Just((-0.0_f64).to_bits())],
        ];
        (any::<i32>(), proptest::collection::vec((step, value), 0..130)).prop_map(
            |(start, steps)| {
                let mut t = i64::from(start);
                let mut next = |step: i64| {
                    t = t.checked_add(step)?;
                    Some(t)
                };
                steps.into_iter().map_while(|(step, v)| Some((next(step)?, v))).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn samples_go_round_bit_for_bit(samples in samples()) {
            let encoder = encode(&samples);
            prop_assert_eq!(decode_all(encoder.bytes()), samples.clone());
            prop_assert_eq!(encoder.first_timestamp(), samples.first().map(|s| s.0));
            prop_assert_eq!(encoder.last().map(|(t, v)| (t, v.to_bits())), samples.last().copied());
        }

        #[test]
        fn a_resumed_chunk_goes_on_as_if_never_interrupted(samples in samples(), cut in 0_usize..130) {
            let cut = cut.min(samples.len());
            let begun = encode(&samples[..cut]);
            let mut resumed = XorEncoder::resume(begun.bytes()).unwrap();
            if cut > 0 && samples[cut - 1].0 != NEVER {
                let known = XorEncoder::resume_at(begun.bytes(), begun.state()).unwrap();
                prop_assert_eq!(known.state(), resumed.state());
                resumed = known;
            }
            for &(t, bits) in &samples[cut..] {
                resumed.push(t, f64::from_bits(bits));
            }
            let whole = encode(&samples);
            prop_assert_eq!(resumed.bytes(), whole.bytes());
        }

        #[test]
        fn samples_pushed_together_are_those_pushed_alone(samples in samples(), run in 1_usize..130) {
            let together: Vec<Sample> = samples
                .iter()
                .map(|&(timestamp_ms, bits)| Sample { timestamp_ms, value: f64::from_bits(bits) })
                .collect();
            let mut encoder = XorEncoder::new();
            for some in together.chunks(run) {
                encoder.push_all(some);
            }
            let alone = encode(&samples);
            prop_assert_eq!(encoder.bytes(), alone.bytes());
            if !samples.is_empty() {
                prop_assert_eq!(encoder.state(), alone.state());
            }
        }

        #[test]
        fn a_range_takes_what_lies_inside(samples in samples(), a in 0_usize..130, b in 0_usize..130) {
            prop_assume!(!samples.is_empty());
            let at = |i: usize| samples[i.min(samples.len() - 1)].0;
            let range = TimeRange::new(at(a), at(b));
            let mut out = SampleColumns::new();
            decode(encode(&samples).bytes(), range, &mut out).unwrap();
            let expected: Vec<i64> = samples.iter().map(|s| s.0).filter(|&t| range.contains(t)).collect();
            prop_assert_eq!(out.timestamps, expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = SampleColumns::new();
            let _ = decode(&bytes, TimeRange::ALL, &mut out);
            let _ = XorEncoder::resume(&bytes);
        }
    }

    #[test]
    fn truncation_is_noticed_at_every_byte() {
        let samples: Vec<_> = (0..50).map(|i| (i * 15_000, (i as f64 * 0.1).to_bits())).collect();
        let encoder = encode(&samples);
        for end in 1..encoder.bytes().len() {
            let mut out = SampleColumns::new();
            assert!(decode(&encoder.bytes()[..end], TimeRange::ALL, &mut out).is_err(), "{end}");
        }
    }

    #[test]
    fn bytes_are_those_of_prometheus() {
        let chunks = fixture::parse(include_str!("../../fixtures/chunk/xor-prometheus.txt"), 1);
        assert_eq!(chunks.len(), 5);
        for (bytes, samples) in chunks {
            assert_eq!(decode_all(&bytes), samples);
            // Its bit writer leaves an empty byte behind where a chunk ends on a byte boundary after a whole byte.
            let ours = encode(&samples);
            let padding = bytes.strip_prefix(ours.bytes()).unwrap();
            assert!(padding.is_empty() || padding == [0]);
        }
    }
}
