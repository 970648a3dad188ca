//! A snapshot of all shards: a data directory of hard links below the one that it is taken of.

use std::path::{Path, PathBuf};

use futures_util::FutureExt;

use super::Shards;
use super::manifest;
use crate::error::Result;
use crate::runtime::Queue;

/// The directory of snapshots in a data directory.
const SNAPSHOTS_DIRECTORY: &str = "snapshots";

impl Shards {
    /// Takes a snapshot of every shard, as `snapshots/<name>` of the data directory: what was acknowledged before the call is in it. It is a
    /// data directory itself; the manifest, without which none opens, comes last.
    ///
    /// # Errors
    /// When there is such a snapshot, or the disk refuses.
    pub async fn snapshot(&self, name: &str, skip_head: bool) -> Result<()> {
        let to = name.to_owned();
        let taken = self.scatter(Queue::Background, move |shard| {
            let directory = snapshot_dir(data_dir(shard.dir()), &to);
            async move {
                let name = shard.dir().file_name().unwrap_or_default();
                shard.snapshot(&directory.join(name), skip_head).await
            }
            .boxed_local()
        });
        taken.await?.into_iter().collect::<Result<()>>()?;
        let to = name.to_owned();
        let finished = self.scatter(Queue::Background, move |shard| {
            let from = data_dir(shard.dir()).to_owned();
            let directory = snapshot_dir(&from, &to);
            async move {
                if !manifest::is_first(shard.dir()) {
                    return Ok(());
                }
                let disk = shard.disk();
                let file = manifest::FILE_NAME;
                disk.hard_link(&from.join(file), &directory.join(file)).await?;
                Ok(disk.sync_dir(&directory).await?)
            }
            .boxed_local()
        });
        finished.await?.into_iter().collect()
    }
}

fn data_dir(shard: &Path) -> &Path {
    shard.parent().unwrap_or(Path::new("/"))
}

fn snapshot_dir(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(SNAPSHOTS_DIRECTORY).join(name)
}
