//! From the configuration to what ingest and the client need: jobs to scrape, and a client for each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tidemark_ingest::relabel::{Action, Rule, RuleOptions};
use tidemark_ingest::scrape::negotiate::{Escaping, Protocol};
use tidemark_ingest::scrape::{
    Fetch, FetchError, FetchLimits, HistogramOptions, Job, JobLimits, JobName, TargetGroup, Work,
};

use crate::config::Config;
use crate::config::http_client::{HttpClientConfig, ProxyConfig, TlsConfig};
use crate::config::relabel::RelabelConfig;
use crate::config::scrape::ScrapeConfig;
use crate::http::client::{Client, ClientError, ClientOptions};
use crate::http::identity::Identity;
use crate::http::oauth2::Tokens;
use crate::http::proxy::Proxies;
use crate::http::tls::Connector;

/// The jobs of a configuration; `Err` names the job and what cannot be.
pub(crate) fn jobs(config: &Config) -> Result<Vec<Job>, String> {
    let named = |config: &ScrapeConfig| {
        job(config).map_err(|e| format!("scrape config {:?}: {e}", config.job_name))
    };
    config.scrape_configs.iter().map(|config| named(config)).collect()
}

fn job(config: &ScrapeConfig) -> Result<Job, String> {
    let legacy_names = config.metric_name_validation_scheme == "legacy";
    let rules = |rules: &[RelabelConfig]| -> Result<Vec<Rule>, String> {
        rules.iter().map(|r| rule(r, legacy_names)).collect()
    };
    let asked = config.scrape_protocols.iter().filter_map(|name| Protocol::from_name(name));
    let protocols: Vec<Protocol> = asked.collect();
    Ok(Job {
        name: config.job_name.clone(),
        interval: config.scrape_interval.as_std(),
        timeout: config.scrape_timeout.as_std(),
        scheme: config.scheme.clone(),
        metrics_path: config.metrics_path.clone(),
        params: config.params.clone(),
        honor_labels: config.honor_labels,
        honor_timestamps: config.honor_timestamps,
        track_timestamps_staleness: config.track_timestamps_staleness,
        enable_compression: config.enable_compression,
        protocols: if protocols.is_empty() { Protocol::DEFAULT.to_vec() } else { protocols },
        escaping: Escaping::from_name(&config.metric_name_escaping_scheme).unwrap_or_default(),
        fallback_protocol: Protocol::from_name(&config.fallback_scrape_protocol),
        histograms: HistogramOptions {
            native: config.scrape_native_histograms == Some(true),
            classic: config.always_scrape_classic_histograms == Some(true),
            convert: config.convert_classic_histograms_to_nhcb == Some(true),
        },
        limits: JobLimits {
            body_bytes: config.body_size_limit.0,
            samples: config.sample_limit,
            targets: config.target_limit,
            labels: config.label_limit,
            label_name_bytes: config.label_name_length_limit,
            label_value_bytes: config.label_value_length_limit,
            histogram_buckets: config.native_histogram_bucket_limit,
            histogram_schema_max: JobLimits::schema_of_factor(
                config.native_histogram_min_bucket_factor,
            ),
            kept_dropped_targets: config.keep_dropped_targets,
        },
        relabel_rules: rules(&config.relabel_configs)?,
        metric_relabel_rules: rules(&config.metric_relabel_configs)?,
        legacy_names,
        extra_metrics: config.extra_scrape_metrics == Some(true),
        failure_log_file: config.scrape_failure_log_file.clone(),
        groups: groups(config),
        work: Work::default(),
    })
}

fn groups(config: &ScrapeConfig) -> Vec<TargetGroup> {
    let of = |(i, group): (usize, &crate::config::discovery::StaticConfig)| {
        let targets = group.targets.iter().map(String::as_str);
        TargetGroup::of_addresses(&i.to_string(), targets, group.labels.clone())
    };
    config.discovery.static_configs.iter().enumerate().map(of).collect()
}

fn rule(config: &RelabelConfig, legacy_names: bool) -> Result<Rule, String> {
    let action = Action::from_name(&config.action)
        .ok_or_else(|| format!("unknown relabel action {:?}", config.action))?;
    let options = RuleOptions {
        source_labels: config.source_labels.clone(),
        separator: config.separator.clone(),
        regex: config.regex.source().to_owned(),
        modulus: config.modulus,
        target_label: config.target_label.clone(),
        replacement: config.replacement.clone(),
        action,
        legacy_names,
    };
    Rule::new(options).map_err(|e| e.to_string())
}

/// One client a job, found by the name that ingest puts on each request, and what it was made of.
#[derive(Default)]
pub(crate) struct Clients(BTreeMap<Arc<str>, (HttpClientConfig, Rc<Client>)>);

impl Clients {
    /// The clients of a configuration; `Err` names the job whose headers cannot be.
    pub(crate) fn of(config: &Config) -> Result<Self, String> {
        Clients::default().followed_by(config)
    }

    /// The clients of the configuration that comes after this one. Those of jobs that reach their targets as before stay, with
    /// their connections and tokens; but for those whose certificates lie in files, which are read anew.
    fn followed_by(&self, config: &Config) -> Result<Self, String> {
        let named = |job: &ScrapeConfig| {
            let name = Arc::from(job.job_name.as_str());
            let client = match self.0.get(&name) {
                Some((made_of, client)) if *made_of == job.http && !reads_certificates(made_of) => {
                    Rc::clone(client)
                }
                _ => client_of(&job.http).map_err(|e| format!("scrape config {name:?}: {e}"))?,
            };
            Ok((name, (job.http.clone(), client)))
        };
        config.scrape_configs.iter().map(|job| named(job)).collect::<Result<_, _>>().map(Clients)
    }
}

fn reads_certificates(config: &HttpClientConfig) -> bool {
    let of_tokens = config.oauth2.as_ref().map(|oauth2| &oauth2.tls_config);
    let files = |tls: &TlsConfig| {
        [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|file| !file.is_empty())
    };
    [Some(&config.tls_config), of_tokens].into_iter().flatten().any(files)
}

/// A client as configured; `Err` says what cannot be.
pub(crate) fn client_of(config: &HttpClientConfig) -> Result<Rc<Client>, String> {
    let proxies = |proxy: &ProxyConfig| Proxies::of(proxy, |name| std::env::var(name).ok());
    let tokens = match &config.oauth2 {
        None => None,
        Some(oauth2) => {
            let asking = ClientOptions {
                identity: Identity::of(&HttpClientConfig::default())?,
                tokens: None,
                connector: Connector::of(&oauth2.tls_config),
                proxies: proxies(&oauth2.proxy)?,
                follow_redirects: true,
            };
            Some(Tokens::of(oauth2, Client::new(asking)))
        }
    };
    Ok(Client::new(ClientOptions {
        identity: Identity::of(config)?,
        tokens,
        connector: Connector::of(&config.tls_config),
        proxies: proxies(&config.proxy)?,
        follow_redirects: config.follow_redirects,
    }))
}

/// The clients of the configuration in force; a fetch under way keeps those it began with.
#[derive(Default)]
pub(crate) struct CurrentClients(RefCell<Rc<Clients>>);

impl CurrentClients {
    /// Takes over another configuration.
    pub(crate) fn follow(&self, config: &Config) -> Result<(), String> {
        let clients = self.0.borrow().followed_by(config)?;
        *self.0.borrow_mut() = Rc::new(clients);
        Ok(())
    }
}

impl Fetch for CurrentClients {
    fn fetch(
        &self,
        request: http::Request<Bytes>,
        limits: FetchLimits,
    ) -> LocalBoxFuture<'_, Result<http::Response<Bytes>, FetchError>> {
        let clients = Rc::clone(&self.0.borrow());
        async move {
            let job = request.extensions().get::<JobName>();
            let client = job.and_then(|name| clients.0.get(&name.0)).map(|(_, client)| client);
            let client = client.ok_or_else(|| FetchError::Broken("its job is gone".to_owned()))?;
            let place = request.uri().to_string();
            let fetched = client.fetch(request, &limits).await;
            fetched.map_err(|error| match error {
                ClientError::Timeout => FetchError::Timeout(limits.timeout),
                ClientError::BodyTooLarge => FetchError::BodyTooLarge,
                ClientError::NoRoom => FetchError::NoRoom,
                ClientError::Exchange(_) | ClientError::Redirects => {
                    FetchError::Broken(format!("Get {place:?}: {error}"))
                }
                _ => FetchError::Connect(format!("Get {place:?}: {error}")),
            })
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::load::load_text;

    #[test]
    fn a_job_is_what_its_configuration_says() {
        let config = load_text(
            "x",
            "scrape_configs:\n- job_name: a\n  scrape_interval: 7s\n  honor_labels: true\n  sample_limit: 3\n  \
             scrape_protocols: [PrometheusProto, PrometheusText0.0.4]\n  params: {m: [x]}\n  \
             static_configs: [{targets: [h:1, h:2], labels: {l: v}}]\n  \
             relabel_configs: [{action: drop, source_labels: [l], regex: z}]\n",
            Path::new(""),
        )
        .unwrap();
        let [job] = &jobs(&config).unwrap()[..] else { panic!() };
        assert_eq!((job.interval, job.timeout), (Duration::from_secs(7), Duration::from_secs(7)));
        assert_eq!(job.protocols.last(), Some(&Protocol::PrometheusText0_0_4));
        assert_eq!(job.groups[0].targets.len(), 2);
        assert_eq!(job.limits.samples, 3);
        assert_eq!(job.relabel_rules.len(), 1);
        assert!(job.honor_labels && job.honor_timestamps);
        assert!(Clients::of(&config).unwrap().0.contains_key("a"));
    }

    #[test]
    fn a_client_stays_while_its_job_reaches_targets_as_before() {
        let load = |fields: &str| {
            let text = format!("scrape_configs:\n- {{job_name: a, {fields}}}\n");
            load_text("x", &text, Path::new("")).unwrap()
        };
        let stays = |before: &str, after: &str| {
            let before = Clients::of(&load(before)).unwrap();
            let after = before.followed_by(&load(after)).unwrap();
            Rc::ptr_eq(&before.0["a"].1, &after.0["a"].1)
        };
        let login = |password: &str| format!("basic_auth: {{username: u, password: {password}}}");
        let files = "tls_config: {ca_file: ca.pem}";
        assert!(stays("scrape_interval: 7s", "scrape_interval: 8s, honor_labels: true"));
        assert!(stays(&login("x"), &login("x")));
        assert!(!stays(&login("x"), &login("y")));
        assert!(!stays("", "follow_redirects: false"));
        assert!(!stays(files, files), "the file may have changed");
    }
}
