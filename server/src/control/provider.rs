//! One discoverer: its configuration, who wants its targets, and what it found so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_ingest::discovery::TargetGroup;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::mechanisms::Wanted;

/// What a discoverer says.
#[derive(Debug)]
pub(super) enum Update {
    /// These are all groups.
    All(Vec<TargetGroup>),
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

/// See the module. Dropping it ends the task.
pub(super) struct Provider {
    pub(super) id: ProviderId,
    pub(super) wanted: Wanted,
    task: AbortHandle,
    groups: BTreeMap<String, Arc<TargetGroup>>,
}

impl Provider {
    /// One that has found nothing yet.
    pub(super) fn new(id: ProviderId, wanted: Wanted, task: AbortHandle) -> Self {
        Provider { id, wanted, task, groups: BTreeMap::new() }
    }

    /// Takes an update; says whether anything is different now.
    pub(super) fn take(&mut self, update: Update) -> bool {
        let Update::All(groups) = update;
        let mut before = std::mem::take(&mut self.groups);
        let mut changed = false;
        for group in groups.into_iter().filter(|group| !group.targets.is_empty()) {
            let same = before.remove(&group.source).filter(|known| **known == group);
            changed |= same.is_none();
            let source = group.source.clone();
            self.groups.insert(source, same.unwrap_or_else(|| Arc::new(group)));
        }
        changed || !before.is_empty()
    }

    /// What it found.
    pub(super) fn groups(&self) -> impl Iterator<Item = Arc<TargetGroup>> + '_ {
        self.groups.values().map(Arc::clone)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
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

    #[tokio::test(flavor = "current_thread")]
    async fn updates_are_compared_with_what_is_known() {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let mut provider = Provider::new(1, Wanted::File(FileSdConfig::default()), task.clone());
        let both = || vec![group("a", &["1"]), group("b", &["2"])];
        assert!(!provider.take(Update::All(vec![])));
        assert!(provider.take(Update::All(both())));
        assert!(!provider.take(Update::All(both())), "nothing new");
        let first = provider.groups().next().unwrap();
        assert!(provider.take(Update::All(vec![group("a", &["1"]), group("b", &["3"])])));
        assert!(Arc::ptr_eq(&first, &provider.groups().next().unwrap()), "it is kept");
        assert!(provider.take(Update::All(vec![group("a", &[]), group("c", &["4"])])));
        assert_eq!(sources(&provider), ["c"]);
        drop(provider);
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}
