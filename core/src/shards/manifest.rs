//! The manifest of a data directory: its format version and how many shards it was made with.
//!
//! ```text
//! | "TIDEMARK" 8 | version u32 | shards u32 | crc32c of the 16 bytes before u32 |      little-endian
//! ```
//!
//! The number of shards is fixed when the directory is made, since the owner of a series follows from it; the number of
//! cores that serve them is not. Written once, atomically. `docs/formats/manifest.md` is the page.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::limits::SHARDS_MAX;
use crate::runtime::disk::Disk;

/// Version of the data directory that this binary writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"TIDEMARK";
const BYTES: usize = 20;
pub(super) const FILE_NAME: &str = "manifest";

/// What the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Shards of the directory.
    pub shards: u32,
}

impl Manifest {
    /// The manifest's bytes.
    fn encode(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.shards.to_le_bytes());
        let crc = crc32c::crc32c(&out[..16]);
        out[16..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the manifest at `path` from its bytes.
    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| {
            u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was compared"))
        };
        if bytes.len() != BYTES || bytes[..8] != *MAGIC {
            return Err(corrupt(
                path,
                "the manifest of a Tidemark data directory",
                "something else",
            ));
        }
        let (expected, found) = (word(16), crc32c::crc32c(&bytes[..16]));
        if expected != found {
            let expected = format!("checksum {expected:08x}");
            return Err(corrupt(path, &expected, &format!("checksum {found:08x}")));
        }
        if word(8) > VERSION {
            return Err(Error::NewerFormat { path: path.into(), found: word(8), known: VERSION });
        }
        let shards = word(12);
        if shards == 0 || shards > SHARDS_MAX {
            let expected = format!("1 to {SHARDS_MAX} shards");
            return Err(corrupt(path, &expected, &format!("{shards} shards")));
        }
        Ok(Manifest { shards })
    }

    /// Reads the manifest of `data_dir`, or makes one with `shards` shards where there is none yet.
    pub async fn open(disk: &Disk, data_dir: &Path, shards: u32) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let entries = disk.list(data_dir).await?;
        if entries.iter().any(|entry| entry.name == FILE_NAME) {
            return Manifest::decode(&path, &disk.read_all(&path).await?);
        }
        // Making a new one beside old shards would give their series to other owners.
        if entries.iter().any(|entry| entry.name.starts_with(SHARD_PREFIX)) {
            return Err(corrupt(&path, "a manifest beside the shards", "no manifest"));
        }
        let manifest = Manifest { shards: shards.clamp(1, SHARDS_MAX) };
        disk.write_atomic(&path, &manifest.encode()).await?;
        Ok(manifest)
    }
}

/// The directories of the shards of `data_dir`, which must be a data directory; nothing is changed.
pub async fn shard_dirs(disk: &Disk, data_dir: &Path) -> Result<Vec<PathBuf>> {
    let path = data_dir.join(FILE_NAME);
    let manifest = Manifest::decode(&path, &disk.read_all(&path).await?)?;
    Ok((0..manifest.shards).map(|shard| shard_dir(data_dir, shard)).collect())
}

const SHARD_PREFIX: &str = "shard-";

/// The directory of one shard.
pub(super) fn shard_dir(data_dir: &Path, shard: u32) -> PathBuf {
    data_dir.join(format!("{SHARD_PREFIX}{shard:04}"))
}

fn corrupt(path: &Path, expected: &str, found: &str) -> Error {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    Error::Corrupt { path: path.to_owned(), offset: 0, expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_fixed_for_ever() {
        let manifest = Manifest { shards: 2 };
        let bytes = manifest.encode();
        assert_eq!(&bytes[..16], b"TIDEMARK\x01\0\0\0\x02\0\0\0");
        assert_eq!(Manifest::decode(Path::new("m"), &bytes).unwrap(), manifest);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_told() {
        let bytes = Manifest { shards: 7 }.encode();
        for bit in 0..BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(Path::new("m"), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..BYTES {
            assert!(Manifest::decode(Path::new("m"), &bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = Manifest { shards: 2 }.encode();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        let error = Manifest::decode(Path::new("data/manifest"), &bytes).unwrap_err();
        assert!(error.to_string().contains("version 9 is newer than 1"), "{error}");
    }
}
