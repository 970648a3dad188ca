//! The memory that the bodies of all scrapes of a core may take together.
//!
//! A body may grow while it is no longer than the room that is left, so that one endless body takes half, a second one a
//! quarter, and ordinary ones find room however many targets send without end. What has no room fails its own scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use crate::limits::SCRAPE_BODIES_BYTES_MAX;

/// The room of one core. Counted by atomics only because bodies can be sent elsewhere; one core uses it.
#[derive(Clone, Debug)]
pub struct Room {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// What one body takes of it, given back when dropped.
#[derive(Debug)]
pub struct Share {
    room: Room,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room::of(SCRAPE_BODIES_BYTES_MAX)
    }
}

impl Room {
    fn of(bytes_max: usize) -> Self {
        Room { held: Arc::default(), bytes_max }
    }

    /// A share of nothing yet.
    pub fn share(&self) -> Share {
        Share { room: self.clone(), bytes: 0 }
    }

    /// Bytes that bodies hold now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

impl Share {
    /// Takes `bytes` more; `false` if there is no room for them.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let free = self.room.bytes_max.saturating_sub(self.room.held());
        let fits = self.bytes.saturating_add(bytes) <= free;
        if fits {
            self.bytes += bytes;
            self.room.held.fetch_add(bytes, Relaxed);
        }
        fits
    }

    /// `bytes`, which hold this share until the last copy is dropped.
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owned { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Relaxed);
    }
}

struct Owned {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_bodies_leave_room_for_others() {
        let room = Room::of(1000);
        let mut endless: Vec<Share> = (0..3).map(|_| room.share()).collect();
        for share in &mut endless {
            while share.grow(10) {}
        }
        let sizes: Vec<_> = endless.iter().map(|share| share.bytes).collect();
        assert_eq!(sizes, [500, 250, 130]);
        assert!(room.share().grow(100), "an ordinary one");
        drop(endless);
        assert_eq!(room.held(), 0);
    }

    #[test]
    fn bytes_hold_their_share() {
        let room = Room::of(1000);
        let mut share = room.share();
        assert!(share.grow(5) && !share.grow(usize::MAX));
        let bytes = share.with(Bytes::from_static(b"hello"));
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((room.held(), &part[..]), (5, &b"e"[..]));
        drop(part);
        assert_eq!(room.held(), 0);
    }
}
