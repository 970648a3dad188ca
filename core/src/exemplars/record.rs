//! Exemplars as a record, in the WAL and in the checkpoint.
//!
//! ```text
//! EXEMPLARS entry | entry | ...
//!   entry     series: uvarint length, canonical encoding | labels: uvarint length, canonical encoding
//!             time: varint ms | value: f64 LE | dated: u8
//! ```

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::head::record::Input;
use crate::model::exemplar::Exemplar;
use crate::model::labels::{Labels, is_canonical};

/// Adds an entry. `series` must be a canonical encoding.
pub fn encode(out: &mut Vec<u8>, series: &[u8], exemplar: &Exemplar) {
    for labels in [series, exemplar.labels.encoded()] {
        push_uvarint(out, labels.len() as u64);
        out.extend_from_slice(labels);
    }
    push_varint(out, exemplar.timestamp_ms);
    out.extend_from_slice(&exemplar.value.to_le_bytes());
    out.push(u8::from(exemplar.dated));
}

/// Calls `apply` with each entry; `None` at one that makes no sense.
pub(crate) fn decode(payload: &[u8], apply: &mut dyn FnMut(&[u8], &Exemplar)) -> Option<()> {
    let mut input = Input { bytes: payload };
    while !input.bytes.is_empty() {
        let series = input.bytes()?;
        let labels = Labels::from_encoded(input.bytes()?)?;
        let timestamp_ms = input.varint()?;
        let (value, rest) = input.bytes.split_first_chunk()?;
        input.bytes = rest;
        let dated = input.byte()? == 1;
        if !is_canonical(series) {
            return None;
        }
        let value = f64::from_le_bytes(*value);
        apply(series, &Exemplar { labels, value, timestamp_ms, dated });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_fixed_for_ever() {
        let labels = Labels::from_pairs([("t", "1")]);
        let exemplar = Exemplar { labels, value: 1.5, timestamp_ms: -2, dated: true };
        let mut out = Vec::new();
        encode(&mut out, Labels::from_pairs([("a", "b")]).encoded(), &exemplar);
        assert_eq!(out, b"\x04\x01a\x01b\x04\x01t\x011\x03\0\0\0\0\0\0\xf8\x3f\x01");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = decode(&payload, &mut |_, _| {});
        }
    }
}
