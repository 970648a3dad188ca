//! Runs `consul_sd`: one task that asks for the catalogue, and one for each service.
//!
//! A question may hang for two minutes: that is how Consul tells of changes. Between the answers to one question at least
//! the `refresh_interval` passes; after a failure [`RETRY_AFTER`].

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tidemark_ingest::discovery::consul::{Consul, WAIT_MAX};
use tidemark_ingest::discovery::{DiscoveryError, TargetGroup};
use tokio::time::{Instant, sleep, sleep_until};

use super::http::HttpAsk;
use super::mechanisms::{Context, Start};
use super::provider::{Feed, Running, Update};
use super::refresh::Complaints;
use super::stats::Stats;
use crate::config::discovery::ConsulSdConfig;
use crate::config::http_client::BasicAuth;

/// From a failure to the next question.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// How much later than promised an answer may come.
pub(super) const GRACE: Duration = Duration::from_secs(15);

/// What the tasks of one configuration share.
struct Shared {
    consul: Consul,
    ask: HttpAsk,
    every: Duration,
    feed: Feed,
    stats: Rc<Stats>,
}

impl Start for ConsulSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let mut http = self.http.clone();
        if !self.username.is_empty() || !self.password.is_empty() {
            http.basic_auth = Some(BasicAuth {
                username: self.username.clone(),
                password: self.password.clone(),
                ..BasicAuth::default()
            });
        }
        let shared = Shared {
            consul: consul(self),
            ask: HttpAsk::new(&http, WAIT_MAX + GRACE)?,
            every: self.refresh_interval.as_std(),
            feed: context.feed.clone(),
            stats: Rc::clone(&context.stats),
        };
        Ok(Running::start(run(Rc::new(shared), context)))
    }
}

fn consul(config: &ConsulSdConfig) -> Consul {
    let server = config.server.trim();
    let base = if server.contains("://") {
        server.to_owned()
    } else {
        format!("{}://{server}", config.scheme)
    };
    let prefix = config.path_prefix.trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    Consul {
        base: format!("{}{slash}{prefix}", base.trim_end_matches('/')),
        token: config.token.reveal().to_owned(),
        datacenter: config.datacenter.clone(),
        namespace: config.namespace.clone(),
        partition: config.partition.clone(),
        tag_separator: config.tag_separator.clone(),
        allow_stale: config.allow_stale,
        services: config.services.clone(),
        tags: config.tags.clone(),
        node_meta: config.node_meta.clone(),
        filter: config.filter.clone(),
        health_filter: config.health_filter.clone(),
    }
}

impl Shared {
    /// Counts a call, and says of a failure that it is one.
    fn note<T>(
        &self,
        call: &'static str,
        began: Instant,
        answer: Result<T, DiscoveryError>,
    ) -> Result<T, String> {
        self.stats.consul_asked(call, began.elapsed());
        answer.map_err(|error| {
            self.stats.consul_failures.add(1);
            error.to_string()
        })
    }
}

async fn run(shared: Rc<Shared>, context: Context) {
    let mut complaints = Complaints::new(&context);
    let datacenter = loop {
        match shared.consul.find_datacenter(&shared.ask).await {
            Ok(datacenter) => break datacenter,
            Err(error) => {
                shared.stats.consul_failures.add(1);
                complaints.bad(&error.to_string());
                sleep(RETRY_AFTER).await;
            }
        }
    };
    complaints.good();
    let context = Rc::new(context);
    let watch = |name: &String| {
        let watching = watch_service(
            Rc::clone(&shared),
            Rc::clone(&context),
            name.clone(),
            datacenter.clone(),
        );
        (name.clone(), Running::start(watching))
    };
    if !shared.consul.watches_catalogue() {
        let _watched: Vec<_> = shared.consul.services.iter().map(watch).collect();
        return std::future::pending().await;
    }
    let (mut index, mut watched) = (0, BTreeMap::new());
    loop {
        let began = Instant::now();
        let answer = shared.consul.catalogue(&shared.ask, &mut index).await;
        match shared.note("services", began, answer) {
            Ok(Some(names)) => {
                complaints.good();
                let gone: Vec<String> =
                    watched.keys().filter(|name| !names.contains(name)).cloned().collect();
                watched.retain(|name, _| names.contains(name));
                for name in &names {
                    if !watched.contains_key(name) {
                        watched.extend([watch(name)]);
                    }
                }
                let empty = |source| TargetGroup { source, ..TargetGroup::default() };
                shared.feed.send(Update::Changed(gone.into_iter().map(empty).collect())).await;
            }
            Ok(None) => complaints.good(),
            Err(error) => {
                complaints.bad(&error);
                sleep(RETRY_AFTER).await;
            }
        }
        sleep_until(began + shared.every).await;
    }
}

async fn watch_service(shared: Rc<Shared>, context: Rc<Context>, name: String, datacenter: String) {
    let mut complaints = Complaints::new(&context);
    let mut index = 0;
    loop {
        let began = Instant::now();
        let answer = shared.consul.service(&shared.ask, &name, &datacenter, &mut index).await;
        match shared.note("service", began, answer) {
            Ok(group) => {
                complaints.good();
                if let Some(group) = group {
                    shared.feed.send(Update::Changed(vec![group])).await;
                }
            }
            Err(error) => {
                complaints.bad(&error);
                sleep(RETRY_AFTER).await;
            }
        }
        sleep_until(began + shared.every).await;
    }
}
