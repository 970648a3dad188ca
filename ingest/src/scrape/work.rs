//! Making targets of groups, which all cores need: each core makes a share of them, and takes the others' over.
//!
//! Relabelling is what takes long, and only its result tells whose a target is. So the label sets are cut into slices of
//! [`TARGETS_PER_SLICE`]. A core claims the next slice that nobody has, until there is none, and leaves what becomes of each:
//!
//! ```text
//! next ──▶ 3                      core 0: 0, 2, ...     core 1: 1, ...
//! slots  [ made | claimed | made | - | - ]
//! ```
//!
//! Then it reads all slots. One that is claimed but not made yet is made here as well: no core waits for another, which may never
//! come, and at most one slice a core is made twice. Whoever comes later finds everything made. Slots are `OnceBox`es of `once_cell`,
//! a pointer each that the first writer sets, since the standard library's cells of that kind make the others wait.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use once_cell::race::OnceBox;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime;

use super::job::{Job, TargetGroup};
use super::target::{Resolved, Target, TargetError, resolve};

/// Targets that are made between two offers to yield: some 100 us of work.
const TARGETS_PER_SLICE: usize = 8;

/// What becomes of a label set, shared by the cores.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It is scraped.
    Target(Arc<Target>),
    /// Relabelling dropped it; the labels are those before.
    Dropped(Arc<Labels>),
    /// It is no target: why, and its place in its group.
    Failed(TargetError, usize),
}

/// The groups of one job as work of all cores. A copy begins anew, and all are equal: what comes of it is told by the groups.
#[derive(Default)]
pub struct Work {
    slots: OnceBox<Slots>,
}

struct Slots {
    /// The job whose rules were applied.
    job: Weak<Job>,
    next: AtomicUsize,
    made: Box<[OnceBox<Vec<Outcome>>]>,
}

/// Some targets of a group.
struct Slice<'a> {
    group: &'a TargetGroup,
    targets: Range<usize>,
}

impl Work {
    /// Hands to `take` what becomes of each label set of `groups`, in their order, with its group; gives how many were made here.
    pub(super) async fn outcomes<'a>(
        &self,
        job: &Arc<Job>,
        groups: impl Iterator<Item = &'a TargetGroup>,
        mut take: impl FnMut(&'a TargetGroup, &Outcome),
    ) -> u64 {
        let slices: Vec<Slice> = groups.flat_map(slices).collect();
        let (mut made, own) = (0, OnceBox::new());
        let shared = slots(&self.slots, job, slices.len());
        // Work that was begun for another job, before a reload, is of no use.
        let fits = std::ptr::eq(shared.job.as_ptr(), Arc::as_ptr(job))
            && shared.made.len() == slices.len();
        let slots = if fits { shared } else { slots(&own, job, slices.len()) };
        loop {
            let claimed = slots.next.fetch_add(1, Ordering::Relaxed);
            let Some(slice) = slices.get(claimed) else { break };
            made += slice.make(job, &slots.made[claimed]);
            runtime::yield_if_needed().await;
        }
        for (slice, slot) in slices.iter().zip(&slots.made) {
            if slot.get().is_none() {
                made += slice.make(job, slot);
            }
            for outcome in slot.get().into_iter().flatten() {
                take(slice.group, outcome);
            }
            runtime::yield_if_needed().await;
        }
        made
    }
}

/// The slots of work on `job`, or those that were made for it before.
fn slots<'a>(slots: &'a OnceBox<Slots>, job: &Arc<Job>, number: usize) -> &'a Slots {
    slots.get_or_init(|| {
        let made = std::iter::repeat_with(OnceBox::new).take(number).collect();
        Box::new(Slots { job: Arc::downgrade(job), next: AtomicUsize::new(0), made })
    })
}

fn slices(group: &TargetGroup) -> impl Iterator<Item = Slice<'_>> {
    let number = group.targets.len();
    let begins = (0..number).step_by(TARGETS_PER_SLICE);
    begins.map(move |at| Slice { group, targets: at..(at + TARGETS_PER_SLICE).min(number) })
}

impl Slice<'_> {
    /// Makes the targets and leaves them, unless another core was faster; gives how many they are.
    fn make(&self, job: &Job, slot: &OnceBox<Vec<Outcome>>) -> u64 {
        let outcome = |(i, labels)| match resolve(job, self.group, labels) {
            Ok(Resolved::Target(target)) => Outcome::Target(Arc::new(*target)),
            Ok(Resolved::Dropped(labels)) => Outcome::Dropped(Arc::new(labels)),
            Err(error) => Outcome::Failed(error, self.targets.start + i),
        };
        let labels = &self.group.targets[self.targets.clone()];
        // Both come to the same.
        drop(slot.set(Box::new(labels.iter().enumerate().map(outcome).collect())));
        labels.len() as u64
    }
}

impl Clone for Work {
    fn clone(&self) -> Self {
        Work::default()
    }
}

impl PartialEq for Work {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}
