//! The table of discoverers: which field of a job makes which task.

use std::rc::Rc;

use tidemark_ingest::discovery::Refresh;
use tidemark_ingest::discovery::http::Http;
use tokio::task::{AbortHandle, spawn_local};

use super::http::HttpAsk;
use super::provider::Feed;
use super::stats::Stats;
use super::{file, refresh};
use crate::config::discovery::{Discovery, FileSdConfig, HttpSdConfig};
use crate::config::http_client::HttpClientConfig;
use crate::config::scalars::Duration;

/// What a discoverer's task is given.
pub(super) struct Context {
    /// Where updates go.
    pub(super) feed: Feed,
    /// What is counted.
    pub(super) stats: Rc<Stats>,
    /// Name of the mechanism, as in metrics.
    pub(super) mechanism: &'static str,
    /// The job for which it was made first.
    pub(super) job: String,
}

macro_rules! mechanisms {
    ($( $name:literal: $variant:ident from $field:ident: $config:ty; )*) => {
        /// One `*_sd_config`. Two that are equal are served by one task.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "there are few, and they are kept for comparing")]
        pub(super) enum Wanted { $( $variant($config), )* }

        /// The fields of a job that are acted on.
        pub(crate) const ACTED_ON: &[&str] = &[$( stringify!($field), )*];

        impl Wanted {
            /// All of one job.
            pub(super) fn all(discovery: &Discovery) -> Vec<Self> {
                let mut all = Vec::new();
                $( all.extend(discovery.$field.iter().cloned().map(Wanted::$variant)); )*
                all
            }

            /// The mechanism's name, as in metrics.
            pub(super) fn name(&self) -> &'static str {
                match self { $( Wanted::$variant(_) => $name, )* }
            }
        }
    };
}

mechanisms! {
    "file": File from file_sd_configs: FileSdConfig;
    "http": Http from http_sd_configs: HttpSdConfig;
}

impl Wanted {
    /// Starts the task; `Err` says what the configuration cannot mean.
    pub(super) fn start(&self, context: Context) -> Result<AbortHandle, String> {
        match self {
            Wanted::File(c) => Ok(spawn_local(file::run(c.clone(), context)).abort_handle()),
            Wanted::Http(c) => {
                let mechanism = Http::new(&c.url, c.refresh_interval.as_std());
                asking(mechanism, &c.http, c.refresh_interval, context)
            }
        }
    }
}

/// Starts a discoverer that asks over HTTP now and then, with a time-out as long as its interval.
fn asking(
    mechanism: impl Refresh + 'static,
    client: &HttpClientConfig,
    every: Duration,
    context: Context,
) -> Result<AbortHandle, String> {
    let every = every.as_std();
    let ask = HttpAsk::new(client, every)?;
    Ok(spawn_local(refresh::run(Box::new(mechanism), ask, every, context)).abort_handle())
}
