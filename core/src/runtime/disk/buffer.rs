//! Memory for direct I/O: aligned in address, written in whole blocks.
//!
//! A [`Buffer`] is filled like a `Vec<u8>` of fixed capacity. When it is written it is padded with zeros to a whole
//! number of blocks and can grow no more. The kernel shares its memory while a write is under way, so a write whose
//! future is dropped half-way stays sound; who changes such a buffer changes a copy.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use glommio::io::{DmaBuffer, ReadResult};

use super::real;

/// Position and length of every write are multiples of this many bytes.
///
/// 4 KiB and not 512 B, because some devices have logical blocks of 4 KiB, because a smaller write can tear its
/// neighbours in the same physical sector, and because ext4 takes a lock for writes smaller than its own block.
pub const BLOCK_BYTES: usize = 4096;

/// `bytes`, rounded up to whole blocks.
#[inline]
pub const fn whole_blocks(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// Bytes on their way to a file. Made by [`Disk::buffer`](super::Disk::buffer) or [`File::alloc`](super::File::alloc).
pub struct Buffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Direct(Rc<DmaBuffer>),
    Heap(Box<[u8]>),
}

impl Buffer {
    pub(super) fn direct(memory: DmaBuffer) -> Self {
        Buffer { memory: Memory::Direct(Rc::new(memory)), len: 0 }
    }

    pub(super) fn heap(capacity: usize) -> Self {
        Buffer { memory: Memory::Heap(vec![0; capacity].into()), len: 0 }
    }

    /// How many bytes are filled.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes fit in all.
    #[inline]
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Direct(memory) => memory.len(),
            Memory::Heap(memory) => memory.len(),
        }
    }

    /// Appends `bytes`, which must fit in what is left of the capacity.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        let end = start + bytes.len();
        self.whole_mut()[start..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Appends zeros up to a length of `len`, or cuts to it.
    pub fn resize(&mut self, len: usize) {
        if len > self.len {
            let start = self.len;
            self.whole_mut()[start..len].fill(0);
        }
        self.len = len;
    }

    /// Pads to whole blocks and gives up the rest of the capacity.
    pub(super) fn seal(&mut self) {
        self.resize(whole_blocks(self.len));
        if self.len < self.capacity()
            && let Memory::Direct(memory) = &mut self.memory
        {
            own(memory).trim_to_size(self.len);
        }
    }

    /// The memory to hand to the kernel.
    pub(super) fn share(&self) -> Option<Rc<DmaBuffer>> {
        match &self.memory {
            Memory::Direct(memory) => Some(Rc::clone(memory)),
            Memory::Heap(_) => None,
        }
    }

    #[inline]
    fn whole_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Direct(memory) => own(memory).as_bytes_mut(),
            Memory::Heap(memory) => memory,
        }
    }
}

/// The memory to change: a copy of it if the kernel still holds it.
#[inline]
fn own(memory: &mut Rc<DmaBuffer>) -> &mut DmaBuffer {
    if Rc::get_mut(memory).is_none() {
        let mut copy = real::allocate(memory.len());
        copy.as_bytes_mut().copy_from_slice(memory.as_bytes());
        *memory = Rc::new(copy);
    }
    Rc::get_mut(memory).expect("it is the only reference")
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Direct(memory) => &memory.as_bytes()[..self.len],
            Memory::Heap(memory) => &memory[..self.len],
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole_mut()[..len]
    }
}

/// Bytes that came from a file.
pub struct ReadBuffer(Source);

enum Source {
    Direct(ReadResult),
    Heap(Vec<u8>),
}

impl ReadBuffer {
    pub(super) fn direct(result: ReadResult) -> Self {
        ReadBuffer(Source::Direct(result))
    }

    pub(in crate::runtime) fn heap(bytes: Vec<u8>) -> Self {
        ReadBuffer(Source::Heap(bytes))
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Direct(result) => result,
            Source::Heap(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadBuffer({} bytes)", self.len())
    }
}
