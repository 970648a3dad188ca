//! Runs `dns_sd`: asks the servers of `/etc/resolv.conf`, which is read again for every refresh, for the records of each name.
//!
//! A name without such records has no targets; one that no server answers for keeps those it had.

use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::config::{ResolveHosts, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tidemark_ingest::discovery::dns::{Names, Record};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::mechanisms::{Context, Start};
use super::provider::{Running, Update};
use super::refresh::Complaints;
use crate::config::discovery::DnsSdConfig;

impl Start for DnsSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        Ok(Running::start(run(self.clone(), context)))
    }
}

/// Runs until it is dropped.
async fn run(config: DnsSdConfig, context: Context) {
    let mut ticks = interval(config.refresh_interval.as_std().max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaints = Complaints::new(&context);
    let mut names = Names::new(config.port);
    let kind = match config.r#type.to_ascii_uppercase().as_str() {
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "MX" => RecordType::MX,
        "NS" => RecordType::NS,
        _ => RecordType::SRV,
    };
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let mut failures = Vec::new();
        match resolver().await {
            Ok(resolver) => {
                let asked = config.names.iter().map(|name| lookup(&resolver, name, kind));
                for (name, found) in config.names.iter().zip(join_all(asked).await) {
                    context.stats.dns_lookups.add(1);
                    match found {
                        Ok(records) => names.take(name, &records),
                        Err(error) => {
                            context.stats.dns_failures.add(1);
                            failures.push(format!("could not resolve {name:?}: {error}"));
                        }
                    }
                }
            }
            Err(error) => failures.push(error),
        }
        context.stats.refreshed(&context, began.elapsed(), false);
        if failures.is_empty() {
            complaints.good();
        } else {
            complaints.bad(&failures.join("; "));
        }
        context.feed.send(Update::All(names.groups())).await;
    }
}

/// What asks the system's servers, one after the other, and keeps nothing.
async fn resolver() -> Result<TokioResolver, String> {
    let read = spawn_blocking(read_system_conf).await.map_err(|e| e.to_string())?;
    let (config, mut options) = read.map_err(|e| format!("could not load resolv.conf: {e}"))?;
    options.cache_size = 0;
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.use_hosts_file = ResolveHosts::Never;
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(|e| e.to_string())
}

/// The records of a kind; none if the name does not exist or has none.
async fn lookup(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
) -> Result<Vec<Record>, String> {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            Ok(found.answers().iter().filter_map(|record| record_of(&record.data)).collect())
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Other kinds come along, an alias for example.
fn record_of(data: &RData) -> Option<Record> {
    match data {
        RData::A(address) => Some(Record::Address(address.0.into())),
        RData::AAAA(address) => Some(Record::Address(address.0.into())),
        RData::SRV(service) => Some(Record::Srv(service.target.to_string(), service.port)),
        RData::MX(server) => Some(Record::Mx(server.exchange.to_string())),
        RData::NS(server) => Some(Record::Ns(server.0.to_string())),
        _ => None,
    }
}
