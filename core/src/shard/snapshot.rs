//! Snapshots: the files of a shard under second names, as they stand.
//!
//! Blocks never change, and the catalog, the checkpoint and tombstones are replaced as whole files, so a hard link keeps each as it is. Chunk files grow; the
//! snapshot ends the one that grows, so that the next spill begins another. What is in memory goes to a checkpoint first. So a snapshot has everything that
//! was acknowledged before it was asked for, costs no copy, and is a data directory by itself.

use std::path::Path;

use super::{Inner, Shard};
use crate::error::Result;

impl Shard {
    /// Links what the shard holds into `directory`, which is made; without the head if only blocks are wanted. Durable when it returns.
    ///
    /// # Errors
    /// When the disk refuses, or something of these names is there.
    pub async fn snapshot(&self, directory: &Path, skip_head: bool) -> Result<()> {
        let shard = &self.0;
        shard.check_open()?;
        let _no_block_comes_or_goes = shard.maintenance_turn().await;
        let _no_chunk_is_spilled = shard.turn().await;
        shard.disk.create_dir_all(directory).await?;
        if !skip_head {
            shard.spill().await?;
            shard.chunks.rotate();
            shard.checkpoint().await?;
            shard.link_all(shard.chunks.dir(), &directory.join("chunks")).await?;
        }
        let blocks = directory.join("blocks");
        for block in shard.catalog.blocks().iter() {
            let name = block.dir().file_name().unwrap_or_default();
            shard.link_all(block.dir(), &blocks.join(name)).await?;
        }
        for entry in shard.disk.list(&shard.directory).await? {
            let wanted = !entry.is_dir && (!skip_head || entry.name == crate::catalog::FILE_NAME);
            if wanted && !is_temporary(&entry.name) {
                let (from, to) = (shard.directory.join(&entry.name), directory.join(&entry.name));
                shard.disk.hard_link(&from, &to).await?;
            }
        }
        Ok(shard.disk.sync_dir(directory).await?)
    }
}

impl Inner {
    /// Links the files of one directory into another, which is made.
    async fn link_all(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.create_dir_all(to).await?;
        for entry in self.disk.list(from).await?.iter().filter(|entry| !entry.is_dir) {
            if !is_temporary(&entry.name) {
                self.disk.hard_link(&from.join(&entry.name), &to.join(&entry.name)).await?;
            }
        }
        Ok(self.disk.sync_dir(to).await?)
    }
}

/// Whether a file is on its way to another name.
fn is_temporary(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}
