//! Values that no integer scheme takes: the first, then each as XOR with the one before it, as in a Gorilla chunk.

use super::malformed;
use crate::chunk::ChunkError;
use crate::chunk::bits::{BitReader, BitWriter};
use crate::chunk::xor::Window;

/// Appends the values.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let Some((first, rest)) = values.split_first() else { return };
    let (mut window, mut before) = (Window::NONE, first.to_bits());
    let mut writer = BitWriter::new(out, 0);
    writer.push(before, 64);
    for value in rest {
        window.push(&mut writer, value.to_bits() ^ before);
        before = value.to_bits();
    }
    writer.finish();
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
