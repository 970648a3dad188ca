//! Runs `kubernetes_sd`: one task that keeps the objects, and one for each kind and namespace that lists and watches.
//!
//! The protocol is spoken over the same HTTP client as every other mechanism, so that all of Prometheus' client options
//! hold here too, and objects are read only as far as labels are made of them. What they mean is decided by [`Cluster`].

mod access;
mod watch;

use std::rc::Rc;
use std::time::Duration;

use tidemark_ingest::discovery::kubernetes::{Attach, Change, Cluster, Event, Kind, Role};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::http::HttpAsk;
use super::mechanisms::{Context, Start};
use super::provider::{Running, Update};
use super::refresh::Complaints;
use crate::config::discovery::KubernetesSdConfig;
use crate::limits::{CONTROL_OBJECTS_MAX, CONTROL_UPDATES_MAX};
use watch::{Said, Watch};

/// From a bad configuration to the next look at it.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// Changes come in bursts: groups are made for all that come within this time.
const SETTLE: Duration = Duration::from_millis(100);

impl Start for KubernetesSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        Ok(Running::start(run(self.clone(), context)))
    }
}

/// Runs until it is dropped.
async fn run(config: KubernetesSdConfig, context: Context) {
    let mut complaints = Complaints::new(&context);
    let access = loop {
        let wanted = config.clone();
        match spawn_blocking(move || access::of(&wanted)).await {
            Ok(Ok(access)) => break access,
            Ok(Err(error)) => complaints.bad(&error),
            Err(_) => return,
        }
        sleep(RETRY_AFTER).await;
    };
    let ask = match HttpAsk::new(&access.http, watch::ANSWER_WITHIN) {
        Ok(ask) => Rc::new(ask),
        Err(error) => return complaints.bad(&error),
    };
    let mut cluster = Cluster::new(role(&config), attach(&config), &access.namespaces);
    let (sender, mut said) = mpsc::channel(CONTROL_UPDATES_MAX);
    let context = Rc::new(context);
    let watch = |(kind, namespace): (Kind, String)| {
        let url = format!("{}{}", access.base, kind.path(&namespace));
        let (ask, context) = (Rc::clone(&ask), Rc::clone(&context));
        let selector = config.selectors.iter().find(|selector| selector.role == kind.role());
        let selector = selector.cloned().unwrap_or_default();
        let watch = Watch { kind, namespace, url, selector, ask, context, sender: sender.clone() };
        Running::start(watch.run())
    };
    let _watching: Vec<Running> = cluster.wanted().into_iter().map(watch).collect();
    while let Some(first) = said.recv().await {
        take(&mut cluster, first, &context, &mut complaints);
        sleep(SETTLE).await;
        while let Ok(next) = said.try_recv() {
            take(&mut cluster, next, &context, &mut complaints);
        }
        let groups = cluster.groups();
        if !groups.is_empty() {
            context.feed.send(Update::Changed(groups)).await;
        }
    }
}

/// Tells the cluster, and counts what it did.
fn take(cluster: &mut Cluster, said: Said, context: &Context, complaints: &mut Complaints) {
    let kind = said.kind();
    let full = cluster.len() >= CONTROL_OBJECTS_MAX;
    let changes = match said {
        Said::ListBegins(kind, namespace) => {
            cluster.list_begins(kind, &namespace);
            Ok(Vec::new())
        }
        Said::Page(..) | Said::Event(_, Event::Applied, _) if full => {
            Err(format!("more than {CONTROL_OBJECTS_MAX} objects, the others are left out"))
        }
        Said::Page(kind, namespace, items) => cluster.list_page(kind, &namespace, &items),
        Said::ListEnds(kind, namespace) => cluster.list_ends(kind, &namespace),
        Said::Event(kind, event, object) => {
            cluster.event(kind, event, &object).map(|change| change.into_iter().collect())
        }
    };
    match changes {
        Ok(changes) => {
            for change in changes {
                context.stats.kubernetes_changed(kind.role(), word(change));
            }
        }
        Err(error) => complaints.bad(&error),
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "add",
        Change::Updated => "update",
        Change::Removed => "delete",
    }
}

fn role(config: &KubernetesSdConfig) -> Role {
    match config.role.as_str() {
        "node" => Role::Node,
        "service" => Role::Service,
        "pod" => Role::Pod,
        "endpoints" => Role::Endpoints,
        "endpointslice" => Role::EndpointSlice,
        _ => Role::Ingress,
    }
}

fn attach(config: &KubernetesSdConfig) -> Attach {
    let wanted = &config.attach_metadata;
    Attach {
        node: wanted.node,
        namespace: wanted.namespace,
        deployment: wanted.deployment,
        job: wanted.job,
        cron_job: wanted.cronjob,
    }
}
