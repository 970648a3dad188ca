//! The state of a simulated disk: what programs see (live), what survives power loss (durable), and the changes between.
//!
//! ```text
//!            write, truncate                     sync_data of the file
//!   live ◀──────────────────── changes pending ────────────────────────▶ durable     content, a file at a time
//!            create, rename, remove, link        sync_dir of the directory
//!   live ◀──────────────────── changes pending ────────────────────────▶ durable     names, a directory at a time
//! ```
//!
//! At a crash any part of what is pending may have reached the disk: a write by sectors of 512 bytes, in any combination,
//! a change of names as a whole. Nothing orders them. That is more than most file systems permit themselves.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::random::Random;
use crate::runtime::disk::Entry;

/// What the device writes in one piece.
const SECTOR_BYTES: usize = 512;

/// Names and contents.
#[derive(Clone)]
pub(super) struct Image {
    live: Names,
    durable: Names,
    pending: Vec<NameChange>,
    contents: BTreeMap<u64, Content>,
    next_inode: u64,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(u64),
}

/// Entries of directories that change in one piece.
#[derive(Clone, Default)]
struct NameChange(Vec<(PathBuf, Edit)>);

#[derive(Clone)]
enum Edit {
    Put(Node),
    /// Takes effect only while the entry still is this node.
    Remove(Node),
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

/// How much of the pending changes a crash leaves.
#[derive(Clone, Copy)]
enum Survival {
    Nothing,
    Everything,
    Some,
}

impl Survival {
    fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..3 => Survival::Nothing,
            3..5 => Survival::Everything,
            _ => Survival::Some,
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Some => random.chance(50),
        }
    }
}

impl Image {
    /// An empty disk.
    pub(super) fn new() -> Self {
        let root = Names::from([(PathBuf::from("/"), Node::Directory)]);
        Image {
            live: root.clone(),
            durable: root,
            pending: Vec::new(),
            contents: BTreeMap::new(),
            next_inode: 1,
        }
    }

    /// What a crash leaves.
    pub(super) fn crash(mut self, random: &mut Random) -> Image {
        let survival = Survival::draw(random);
        for change in std::mem::take(&mut self.pending) {
            if survival.keeps(random) {
                change.apply(&mut self.durable);
            }
        }
        let found: Vec<_> = self.durable.iter().map(|(path, node)| (path.clone(), *node)).collect();
        self.live = Names::from([(PathBuf::from("/"), Node::Directory)]);
        for (path, node) in found {
            // Parents sort before children; what lost its directory is lost.
            if path.parent().is_some_and(|p| self.live.get(p) == Some(&Node::Directory)) {
                self.live.insert(path, node);
            }
        }
        self.durable = self.live.clone();
        for content in self.contents.values_mut() {
            content.settle(Survival::draw(random), random);
            content.live.clone_from(&content.durable);
        }
        self
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.live.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn need_directory(&self, path: Option<&Path>) -> io::Result<()> {
        match self.node(path.ok_or(io::ErrorKind::InvalidInput)?)? {
            Node::Directory => Ok(()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file_at(&self, path: &Path) -> io::Result<u64> {
        match self.node(path)? {
            Node::File(inode) => Ok(inode),
            Node::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Whether there is such a file or directory.
    pub(super) fn exists(&self, path: &Path) -> bool {
        self.live.contains_key(path)
    }

    /// Makes a directory and its parents, durably, as [`Disk::create_dir_all`](crate::runtime::disk::Disk) does.
    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for ancestor in path.ancestors() {
            match self.live.get(ancestor) {
                Some(Node::Directory) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(ancestor.to_owned()),
            }
        }
        for directory in missing.into_iter().rev() {
            self.change_names(NameChange(vec![(directory.clone(), Edit::Put(Node::Directory))]));
            self.sync_dir(directory.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(())
    }

    /// The entries of a directory.
    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.need_directory(Some(directory))?;
        let entries = self.live.iter().filter(|(path, _)| path.parent() == Some(directory));
        Ok(entries
            .filter_map(|(path, node)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(match node {
                    Node::Directory => Entry { name, len: 0, is_dir: true },
                    Node::File(inode) => Entry { name, len: self.len(*inode), is_dir: false },
                })
            })
            .collect())
    }

    /// The inode of a file, made when `create` is set and it does not exist.
    pub(super) fn open(&mut self, path: &Path, create: bool) -> io::Result<u64> {
        if !create || self.live.contains_key(path) {
            return self.file_at(path);
        }
        self.need_directory(path.parent())?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.contents.insert(inode, Content::default());
        self.change_names(NameChange(vec![(path.to_owned(), Edit::Put(Node::File(inode)))]));
        Ok(inode)
    }

    /// Renames a file or a directory.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.node(from)?;
        self.need_directory(to.parent())?;
        if node == Node::Directory && self.exists(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let below =
            self.live.range(from.to_owned()..).take_while(|(path, _)| path.starts_with(from));
        let mut change = NameChange::default();
        for (path, &node) in below {
            let rest = path.strip_prefix(from).expect("taken by this prefix");
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            change.0.push((path.clone(), Edit::Remove(node)));
            change.0.push((target, Edit::Put(node)));
        }
        self.change_names(change);
        Ok(())
    }

    /// Removes a file.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = Node::File(self.file_at(path)?);
        self.change_names(NameChange(vec![(path.to_owned(), Edit::Remove(node))]));
        Ok(())
    }

    /// Removes a directory and all in it; a crash may leave any part.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        self.need_directory(Some(path))?;
        let below: Vec<_> = self
            .live
            .iter()
            .filter(|(name, _)| name.starts_with(path))
            .map(|(name, node)| NameChange(vec![(name.clone(), Edit::Remove(*node))]))
            .collect();
        below.into_iter().rev().for_each(|change| self.change_names(change));
        Ok(())
    }

    /// Gives a file a second name.
    pub(super) fn hard_link(&mut self, existing: &Path, new: &Path) -> io::Result<()> {
        let node = Node::File(self.file_at(existing)?);
        self.need_directory(new.parent())?;
        if self.exists(new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change_names(NameChange(vec![(new.to_owned(), Edit::Put(node))]));
        Ok(())
    }

    /// Makes the entries of a directory durable.
    pub(super) fn sync_dir(&mut self, directory: &Path) -> io::Result<()> {
        self.need_directory(Some(directory))?;
        for change in &mut self.pending {
            let (here, elsewhere) = std::mem::take(&mut change.0)
                .into_iter()
                .partition(|(path, _)| path.parent() == Some(directory));
            NameChange(here).apply(&mut self.durable);
            change.0 = elsewhere;
        }
        self.pending.retain(|change| !change.0.is_empty());
        Ok(())
    }

    fn content(&self, inode: u64) -> &Content {
        self.contents.get(&inode).expect("inodes are never given up")
    }

    fn content_mut(&mut self, inode: u64) -> &mut Content {
        self.contents.get_mut(&inode).expect("inodes are never given up")
    }

    /// Length in bytes.
    pub(super) fn len(&self, inode: u64) -> u64 {
        self.content(inode).live.len() as u64
    }

    /// What is there of `len` bytes at `position`.
    pub(super) fn read(&self, inode: u64, position: u64, len: usize) -> Vec<u8> {
        let live = &self.content(inode).live;
        let start = (position as usize).min(live.len());
        live[start..live.len().min(start + len)].to_vec()
    }

    /// Writes bytes; they are pending.
    pub(super) fn write(&mut self, inode: u64, position: u64, bytes: &[u8]) {
        let change = Change::Write { position: position as usize, bytes: bytes.to_vec() };
        self.content_mut(inode).change(change);
    }

    /// Sets the length; it is pending.
    pub(super) fn set_len(&mut self, inode: u64, len: u64) {
        self.content_mut(inode).change(Change::Length(len as usize));
    }

    /// Makes a file's content durable.
    pub(super) fn sync(&mut self, inode: u64, random: &mut Random) {
        self.content_mut(inode).settle(Survival::Everything, random);
    }

    /// A sync that fails: some of what is pending reaches the disk and the rest never will, though programs see it.
    pub(super) fn fail_sync(&mut self, inode: u64, random: &mut Random) {
        self.content_mut(inode).settle(Survival::Some, random);
    }

    /// Flips a bit of a file, as a decaying disk does.
    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> io::Result<()> {
        let inode = self.file_at(path)?;
        let content = self.content_mut(inode);
        let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        for image in [&mut content.live, &mut content.durable] {
            if let Some(byte) = image.get_mut(byte) {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    /// Every file, sorted by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.live.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), self.content(*inode).live.as_slice())),
            Node::Directory => None,
        })
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        for (path, edit) in &self.0 {
            match edit {
                Edit::Put(node) => {
                    names.insert(path.clone(), *node);
                }
                Edit::Remove(node) => {
                    if names.get(path) == Some(node) {
                        names.remove(path);
                    }
                }
            }
        }
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        match &change {
            Change::Write { position, bytes } => put(&mut self.live, *position, bytes),
            Change::Length(len) => self.live.resize(*len, 0),
        }
        self.pending.push(change);
    }

    /// Brings a part of what is pending to the durable image and forgets the rest.
    fn settle(&mut self, survival: Survival, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { position, bytes } => {
                    for (i, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if survival.keeps(random) {
                            put(&mut self.durable, position + i * SECTOR_BYTES, sector);
                        }
                    }
                }
                Change::Length(len) if survival.keeps(random) => self.durable.resize(len, 0),
                Change::Length(_) => {}
            }
        }
    }
}

fn put(image: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[position..end].copy_from_slice(bytes);
}
