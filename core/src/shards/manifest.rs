//! The manifest of a data directory: its format version, how many shards it has, and which of the directories beside it they are.
//!
//! ```text
//! version 1 | "TIDEMARK" 8 | 1 u32 | shards u32 | crc32c of the 16 bytes before u32 |                        little-endian
//! version 2 | "TIDEMARK" 8 | 2 u32 | shards u32 | generation u32 | crc32c of the 20 bytes before u32 |
//! ```
//!
//! The owner of a series follows from the number of shards; the number of cores that serve them is another one. Making it anew with another
//! number gives its shards the next *generation*, which stands in the names of their directories. Version 1 is of generation 0, and
//! is still what is written for it. Written atomically. `docs/formats/manifest.md` is the page.

use std::path::{Path, PathBuf};

use tracing::info;

use crate::error::{Error, Result};
use crate::limits::SHARDS_MAX;
use crate::runtime::disk::Disk;

/// Newest version of the data directory that this binary writes and reads.
pub(super) const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"TIDEMARK";
const CRC_BYTES: usize = 4;
/// Bytes before the checksum, by version.
const CONTENT_BYTES: [usize; 2] = [16, 20];
pub(super) const FILE_NAME: &str = "manifest";
/// The file that says that a data directory is being restored.
pub(super) const RESTORING: &str = "restoring";
/// What the names of the directories of shards begin with.
pub(super) const SHARD_PREFIX: &str = "shard-";

/// What the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Shards of the directory.
    pub shards: u32,
    /// How often it was made anew with another number of shards.
    pub generation: u32,
}

impl Manifest {
    /// The manifest's bytes.
    fn encode(self) -> Vec<u8> {
        let version: u32 = if self.generation == 0 { 1 } else { 2 };
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.shards.to_le_bytes());
        if version > 1 {
            out.extend_from_slice(&self.generation.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the manifest at `path` from its bytes.
    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let nothing =
            || corrupt(path, "the manifest of a Tidemark data directory", "something else");
        let (content, stored) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(nothing)?;
        if content.len() < CONTENT_BYTES[0] || content[..8] != *MAGIC {
            return Err(nothing());
        }
        let (expected, found) = (u32::from_le_bytes(*stored), crc32c::crc32c(content));
        if expected != found {
            let expected = format!("checksum {expected:08x}");
            return Err(corrupt(path, &expected, &format!("checksum {found:08x}")));
        }
        let word = |at: usize| {
            u32::from_le_bytes(*content[at..].first_chunk().expect("the length was compared"))
        };
        let version = word(8);
        if version > VERSION {
            return Err(Error::NewerFormat { path: path.into(), found: version, known: VERSION });
        }
        if version == 0 || content.len() != CONTENT_BYTES[version as usize - 1] {
            return Err(nothing());
        }
        let generation = if version > 1 { word(16) } else { 0 };
        let shards = word(12);
        if shards == 0 || shards > SHARDS_MAX {
            let expected = format!("1 to {SHARDS_MAX} shards");
            return Err(corrupt(path, &expected, &format!("{shards} shards")));
        }
        Ok(Manifest { shards, generation })
    }

    /// Reads the manifest of `data_dir`, or makes one with `shards` shards where there is none yet.
    pub async fn open(disk: &Disk, data_dir: &Path, shards: u32) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let entries = disk.list(data_dir).await?;
        if entries.iter().any(|entry| entry.name == FILE_NAME) {
            return Manifest::read(disk, data_dir).await;
        }
        if entries.iter().any(|entry| entry.name == RESTORING) {
            let found = "one that was interrupted: run `tidemark tsdb restore` again";
            return Err(corrupt(&path, "a finished restore", found));
        }
        // Making a new one beside old shards would give their series to other owners.
        if entries.iter().any(|entry| entry.name.starts_with(SHARD_PREFIX)) {
            return Err(corrupt(&path, "a manifest beside the shards", "no manifest"));
        }
        let manifest = Manifest { shards: shards.clamp(1, SHARDS_MAX), generation: 0 };
        manifest.write(disk, data_dir).await?;
        Ok(manifest)
    }

    /// Reads the manifest of `data_dir`, which must have one.
    pub async fn read(disk: &Disk, data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        Manifest::decode(&path, &disk.read_all(&path).await?)
    }

    /// Puts it in the place of the one that is there, durably and at once.
    pub(super) async fn write(self, disk: &Disk, data_dir: &Path) -> Result<()> {
        Ok(disk.write_atomic(&data_dir.join(FILE_NAME), &self.encode()).await?)
    }

    /// The directory of one shard.
    pub(super) fn shard_dir(self, data_dir: &Path, shard: u32) -> PathBuf {
        data_dir.join(match self.generation {
            0 => format!("{SHARD_PREFIX}{shard:04}"),
            generation => format!("{SHARD_PREFIX}{shard:04}.{generation}"),
        })
    }

    /// The directories of all shards.
    pub(super) fn shard_dirs(self, data_dir: &Path) -> Vec<PathBuf> {
        (0..self.shards).map(|shard| self.shard_dir(data_dir, shard)).collect()
    }

    /// Removes what an attempt to make another number of shards, or to restore, has left beside the shards. The lock of the directory must be held.
    pub(super) async fn remove_leftovers(self, disk: &Disk, data_dir: &Path) -> Result<()> {
        let mut removed = false;
        for entry in disk.list(data_dir).await? {
            let path = data_dir.join(&entry.name);
            let of_another = of_generation(&entry.name).is_some_and(|of| of != self.generation);
            if of_another && entry.is_dir {
                info!(directory = %path.display(), "a shard of another generation is removed");
                disk.remove_dir_all(&path).await?;
            } else if entry.name == RESTORING {
                disk.remove(&path).await?;
            } else {
                continue;
            }
            removed = true;
        }
        if removed {
            disk.sync_dir(data_dir).await?;
        }
        Ok(())
    }
}

/// The generation of the shard whose directory has this name, if it is one.
fn of_generation(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(SHARD_PREFIX)?;
    let (shard, generation) = rest.split_once('.').unwrap_or((rest, "0"));
    shard.parse::<u32>().ok()?;
    generation.parse().ok()
}

/// Whether this is the directory of shard 0.
pub(super) fn is_first(shard_dir: &Path) -> bool {
    let name = shard_dir.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(SHARD_PREFIX).is_some_and(|rest| rest.split('.').next() == Some("0000"))
}

/// The directories of the shards of `data_dir`, which must be a data directory; nothing is changed.
pub async fn shard_dirs(disk: &Disk, data_dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(Manifest::read(disk, data_dir).await?.shard_dirs(data_dir))
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
        for (generation, expected) in [
            (0, &b"TIDEMARK\x01\0\0\0\x02\0\0\0"[..]),
            (3, &b"TIDEMARK\x02\0\0\0\x02\0\0\0\x03\0\0\0"[..]),
        ] {
            let manifest = Manifest { shards: 2, generation };
            let bytes = manifest.encode();
            assert_eq!(&bytes[..bytes.len() - CRC_BYTES], expected);
            assert_eq!(Manifest::decode(Path::new("m"), &bytes).unwrap(), manifest);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_told() {
        for generation in [0, 1] {
            let bytes = Manifest { shards: 7, generation }.encode();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Manifest::decode(Path::new("m"), &flipped).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(Manifest::decode(Path::new("m"), &bytes[..len]).is_err(), "length {len}");
            }
        }
    }

    #[test]
    fn generations_stand_in_the_names_of_directories() {
        let name = |generation, shard| {
            let path = Manifest { shards: 9, generation }.shard_dir(Path::new(""), shard);
            path.to_str().unwrap().to_owned()
        };
        assert_eq!([name(0, 7), name(12, 0)], ["shard-0007", "shard-0000.12"]);
        assert_eq!(
            [of_generation("shard-0007"), of_generation("shard-0000.12")],
            [Some(0), Some(12)]
        );
        assert_eq!(
            [of_generation("shard-"), of_generation("shard-x.1"), of_generation("wal")],
            [None; 3]
        );
        assert!(is_first(Path::new("a/shard-0000.12")) && is_first(Path::new("shard-0000")));
        assert!(!is_first(Path::new("a/shard-0001.0")));
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = Manifest { shards: 2, generation: 0 }.encode();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        let error = Manifest::decode(Path::new("data/manifest"), &bytes).unwrap_err();
        assert!(error.to_string().contains("version 9 is newer than 2"), "{error}");
    }
}
