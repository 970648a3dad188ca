//! Teaches each executor the truth about the disk before it opens its first file.
//!
//! glommio decides once per device and executor whether the device can be polled for completions, by a trial read of the first
//! file it opens there. An empty file gives no answer, which it takes for a yes; from then on every read on that device fails with
//! `EOPNOTSUPP`. So the first file is ours, 8 KiB that are surely on the disk.

use glommio::io::DmaFile;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Two blocks of the largest size that a trial read asks for.
const PROBE_BYTES: usize = 8192;

/// Writes, opens and removes the probe file of `core` in `dir`, which is made when it does not exist.
pub(super) async fn run(dir: &Path, core: usize) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let path = std::path::absolute(dir)?.join(format!(".io-probe-{core}"));
    let mut file = File::create(&path)?;
    file.write_all(&[0xA5; PROBE_BYTES])?;
    file.sync_all()?;
    drop(file);
    let opened = async { DmaFile::open(&path).await?.close().await }.await;
    std::fs::remove_file(&path)?;
    opened.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::executors::{self, Options};
    use glommio::io::{DmaFile, OpenOptions};

    /// Without the probe the empty file is the first one opened here, and the read fails.
    #[test]
    fn reads_work_although_the_first_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let start = move |_| {
            let path = path.clone();
            async move {
                std::fs::write(path.join("empty"), b"").unwrap();
                DmaFile::open(path.join("empty")).await.unwrap().close().await.unwrap();
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true);
                let file = options.dma_open(path.join("full")).await.unwrap();
                let mut buffer = file.alloc_dma_buffer(4096);
                buffer.as_bytes_mut().fill(7);
                assert_eq!(file.write_at(buffer, 0).await.unwrap(), 4096);
                file.fdatasync().await.unwrap();
                assert_eq!(&file.read_at(0, 4096).await.unwrap()[..], [7; 4096]);
                file.close().await.unwrap();
            }
        };
        executors::run(&Options { cores: 1, ..Options::default() }, dir.path(), start).unwrap();
        assert!(!dir.path().join(".io-probe-0").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = Options { cores: 1, ..Options::default() };
        let error = executors::run(&options, file.path(), |_| async {}).unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}
