//! Values that no integer scheme takes: the first, then each as XOR with the one before it, as in a Gorilla chunk.

use super::malformed;
use crate::chunk::ChunkError;
use crate::chunk::bits::{BitReader, push_bits};
use crate::chunk::xor::Window;

/// Appends the values.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let (mut window, mut free, mut before) = (Window::NONE, 0, 0);
    for (i, value) in values.iter().enumerate() {
        let bits = value.to_bits();
        free = match i {
            0 => push_bits(out, 0, bits, 64),
            _ => window.push(out, free, bits ^ before),
        };
        before = bits;
    }
}

/// Fills `values` with the first ones.
pub(super) fn decode(bytes: &[u8], values: &mut [f64]) -> Result<(), ChunkError> {
    let mut reader = BitReader::new(bytes);
    let (mut window, mut bits) = (Window::NONE, 0);
    for (i, value) in values.iter_mut().enumerate() {
        bits = match i {
            0 => reader.read(64),
            _ => bits ^ window.read(&mut reader),
        };
        *value = f64::from_bits(bits);
    }
    if reader.overran() { Err(malformed("its values end early")) } else { Ok(()) }
}
