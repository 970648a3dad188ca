//! One discoverer: its configuration, who wants its targets, and what it found so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_ingest::discovery::TargetGroup;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use super::mechanisms::Wanted;

/// What a discoverer says.
#[derive(Debug)]
pub(super) enum Update {
    /// These are all groups.
    All(Vec<TargetGroup>),
    /// These groups are now like this; one without targets is gone.
    Changed(Vec<TargetGroup>),
}

/// Number of a discoverer in the life of the process.
pub(super) type ProviderId = u64;

/// A discoverer's way to tell what it found.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) id: ProviderId,
    pub(super) sender: mpsc::Sender<(ProviderId, Update)>,
}

impl Feed {
    /// Hands an update on, waiting for room.
    pub(super) async fn send(&self, update: Update) {
        // The plane is gone only if this task is about to end as well.
        drop(self.sender.send((self.id, update)).await);
    }
}

/// A task of the control thread, which ends when this is dropped.
pub(super) struct Running(AbortHandle);

impl Running {
    /// Starts `task`.
    pub(super) fn start(task: impl Future<Output = ()> + 'static) -> Self {
        Running(spawn_local(task).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// See the module.
pub(super) struct Provider {
    pub(super) id: ProviderId,
    pub(super) wanted: Wanted,
    _task: Running,
    groups: BTreeMap<String, Arc<TargetGroup>>,
}

impl Provider {
    /// One that has found nothing yet.
    pub(super) fn new(id: ProviderId, wanted: Wanted, task: Running) -> Self {
        Provider { id, wanted, _task: task, groups: BTreeMap::new() }
    }

    /// Takes an update; says whether anything is different now.
    pub(super) fn take(&mut self, update: Update) -> bool {
        let (groups, all) = match update {
            Update::All(groups) => (groups, true),
            Update::Changed(groups) => (groups, false),
        };
        let mut before = if all { std::mem::take(&mut self.groups) } else { BTreeMap::new() };
        let mut changed = false;
        for group in groups {
            let known =
                if all { before.remove(&group.source) } else { self.groups.remove(&group.source) };
            if group.targets.is_empty() {
                changed |= known.is_some();
                continue;
            }
            let source = group.source.clone();
            let same = known.filter(|known| **known == group);
            changed |= same.is_none();
            self.groups.insert(source, same.unwrap_or_else(|| Arc::new(group)));
        }
        changed || !before.is_empty()
    }

    /// What it found.
    pub(super) fn groups(&self) -> impl Iterator<Item = Arc<TargetGroup>> + '_ {
        self.groups.values().map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::discovery::FileSdConfig;

    fn group(source: &str, addresses: &[&str]) -> TargetGroup {
        TargetGroup::of_addresses(source, addresses.iter().copied(), BTreeMap::new())
    }

    fn sources(provider: &Provider) -> Vec<String> {
        provider.groups().map(|group| group.source.clone()).collect()
    }

    #[test]
    fn updates_are_compared_with_what_is_known() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, compare());
    }

    async fn compare() {
        let task = Running::start(std::future::pending());
        let aborted = task.0.clone();
        let mut provider = Provider::new(1, Wanted::File(FileSdConfig::default()), task);
        let both = || vec![group("a", &["1"]), group("b", &["2"])];
        assert!(!provider.take(Update::All(vec![])));
        assert!(provider.take(Update::All(both())));
        assert!(!provider.take(Update::All(both())), "nothing new");
        let first = provider.groups().next().unwrap();
        assert!(provider.take(Update::All(vec![group("a", &["1"]), group("b", &["3"])])));
        assert!(Arc::ptr_eq(&first, &provider.groups().next().unwrap()), "it is kept");
        assert!(provider.take(Update::Changed(vec![group("c", &["4"])])));
        assert!(!provider.take(Update::Changed(vec![group("c", &["4"])])));
        assert_eq!(sources(&provider), ["a", "b", "c"]);
        assert!(provider.take(Update::Changed(vec![group("b", &[])])));
        assert!(!provider.take(Update::Changed(vec![group("b", &[])])), "gone already");
        assert!(provider.take(Update::All(vec![group("a", &[]), group("c", &["4"])])));
        assert_eq!(sources(&provider), ["c"]);
        drop(provider);
        while !aborted.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}
