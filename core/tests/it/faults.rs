//! A disk that is full, that fails to sync, that decays.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use tidemark_core::runtime::sim::{self, Random, SimDisk};

use crate::shard::{Model, every_few, open, open_damaged, recover, seeds, work};

/// A load on a disk that gets a fault before operation `at` and is then healed: the same shard takes samples again, and what was
/// acknowledged survives the power loss that follows. How many operations there were until the healing.
fn life(seed: u64, at: u64, fault: impl Fn(&SimDisk, u64), heal: impl Fn(&SimDisk)) -> u64 {
    let disk = SimDisk::new(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let operations = sim::run(seed, async {
        let shard = open(&disk).await.expect("the fault comes later");
        fault(&disk, at);
        let mut random = Random::new(seed);
        work(&shard, &model, &mut random, 14).await;
        let (operations, before) = (disk.operations(), model.borrow().acknowledged());
        heal(&disk);
        work(&shard, &model, &mut random, 3).await;
        assert!(model.borrow().acknowledged() > before, "it takes samples again");
        operations
    });
    recover(seed, &disk.crash(), &model);
    operations
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    for seed in seeds(1) {
        let operations = life(seed, u64::MAX / 2, SimDisk::fail_no_space_after, |_| ());
        for at in every_few(operations, seed) {
            life(seed, at, SimDisk::fail_no_space_after, SimDisk::make_room);
        }
    }
}

#[test]
fn a_failed_sync_loses_nothing_and_passes() {
    for seed in seeds(1) {
        let operations = life(seed, u64::MAX / 2, SimDisk::fail_sync_after, |_| ());
        for at in every_few(operations, seed) {
            life(seed, at, SimDisk::fail_sync_after, |_| ());
        }
    }
}

#[test]
fn decay_never_makes_samples_up() {
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let model = Rc::new(RefCell::new(Model::default()));
        sim::run(seed, async {
            let shard = open(&disk).await.expect("a sound disk");
            work(&shard, &model, &mut random, 30).await;
        });
        let files = disk.files();
        let whole = decayed(seed, &files, &model, |_, _| ()).expect("nothing has decayed");
        assert_eq!(whole, model.borrow().acknowledged());
        let mut readable = 0;
        for _ in 0..60 {
            let victim = random.below(files.len() as u64) as usize;
            let damage = |i: usize, content: &mut Vec<u8>| {
                if i != victim || content.is_empty() {
                    return;
                }
                let at = random.below(content.len() as u64) as usize;
                match random.below(4) {
                    0 => content.truncate(at),
                    1 => content[at..].fill(0),
                    _ => content[at] ^= 1 << random.below(8),
                }
            };
            readable += usize::from(decayed(seed, &files, &model, damage).is_some());
        }
        assert!(readable > 30, "damage is survived as a rule: {readable} of 60");
    }
}

/// Opens copies of `files`, each changed by `damage`; how many samples are readable, if it opens at all.
fn decayed(
    seed: u64,
    files: &[(PathBuf, Vec<u8>)],
    model: &RefCell<Model>,
    mut damage: impl FnMut(usize, &mut Vec<u8>),
) -> Option<usize> {
    let disk = SimDisk::new(seed);
    for (i, (path, content)) in files.iter().enumerate() {
        let mut content = content.clone();
        damage(i, &mut content);
        disk.put_file(path, &content);
    }
    open_damaged(seed, &disk, model)
}
