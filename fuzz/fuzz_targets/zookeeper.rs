//! Any bytes to a client of ZooKeeper, in pieces: they are frames with groups in them, or they are refused.
//!
//! The first byte of the input is the length of the pieces. There are two sessions, so that what is known of the first meets the
//! walk of the second. What asks for more than it was sent would grow without end: questions are bounded by the bytes that came.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run zookeeper fuzz/seeds/zookeeper -- -max_total_time=300 -max_len=4096
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_ingest::discovery::zookeeper::{Members, Tree};

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, answers)) = bytes.split_first() else { return };
    let mut tree = Tree::new(Members::Serverset, &["/a".to_owned(), "/b/c".to_owned()]);
    for _ in 0..2 {
        tree.begin(4000);
        let mut sent = tree.output().len();
        for some in answers.chunks(usize::from(piece).max(1)) {
            if tree.receive(some).is_err() {
                break;
            }
            sent += tree.output().len();
            for group in tree.changed() {
                assert!(group.source.starts_with('/'), "{:?}", group.source);
                assert!(group.targets.iter().all(|target| target.contains_key("__address__")));
            }
        }
        let _ = tree.complete();
        tree.ask_for_missing();
        tree.ping();
        sent += tree.output().len();
        // A question names a path, which is at most all names that came; each name takes four bytes at least.
        assert!(sent <= 100 + (answers.len() + 64) * (answers.len() + 64));
    }
});
