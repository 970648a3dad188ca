//! Reads the fixtures of chunks: bytes in hex, and a line for each sample inside.

/// Bytes of a chunk, and times and bits of values of its samples.
pub(super) type Specimen = (Vec<u8>, Vec<(i64, u64)>);

/// The chunks of a fixture, all of this encoding. Lines with a # are for readers.
pub(super) fn parse(fixture: &str, encoding: u8) -> Vec<Specimen> {
    let head = format!("chunk {encoding} ");
    let mut chunks: Vec<Specimen> = Vec::new();
    for line in fixture.lines().filter(|line| !line.starts_with('#')) {
        if let Some(hex) = line.strip_prefix(&head) {
            let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
            chunks.push(((0..hex.len() / 2).map(byte).collect(), Vec::new()));
        } else {
            let (t, bits) = line.split_once(' ').unwrap();
            let sample = (t.parse().unwrap(), u64::from_str_radix(bits, 16).unwrap());
            chunks.last_mut().unwrap().1.push(sample);
        }
    }
    chunks
}
