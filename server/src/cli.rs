//! The command line: subcommands, and the flags of `serve` under Prometheus' names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidemark_core::cardinality::Limit;
use tidemark_core::limits::SHARDS_MAX;
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_query::limits::{CACHE_BYTES, QUERY_BYTES_MAX};

use crate::config::scalars::{ByteSize, Duration};

/// Metrics, collected, kept and queried: a Prometheus replacement, one thread a core.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeFlags,
}

/// What to do; without a word, serve.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Collect, store and answer until stopped
    Serve(Box<ServeFlags>),
    /// Check files without starting anything
    #[command(subcommand)]
    Check(Check),
    /// Look into a data directory
    #[command(subcommand)]
    Tsdb(Tsdb),
    /// Ask a running server
    #[command(subcommand)]
    Query(Query),
    /// Bring in samples of the past; no server may run on the data directory meanwhile
    #[command(subcommand)]
    Import(Import),
    /// Print the version
    Version,
}

/// What to check.
#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// prometheus.yml files, and the rule files that they name
    Config {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Files of recording and alerting rules
    Rules {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What to do with a data directory.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Tsdb {
    /// The blocks of every shard; also beside a running server
    List {
        /// The data directory
        #[arg(default_value = "data")]
        directory: PathBuf,
    },
    /// What labels and metrics the newest block of every shard is made of; also beside a running server
    Analyze {
        /// The data directory
        #[arg(default_value = "data")]
        directory: PathBuf,
        /// Lines of each list
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Read every page of every block and check it; also beside a running server
    Verify {
        /// The data directory
        #[arg(default_value = "data")]
        directory: PathBuf,
    },
    /// Make the data directory one of another number of shards, at best that of the cores; no server may run on it
    Reshard {
        /// The data directory
        #[arg(default_value = "data")]
        directory: PathBuf,
        /// Shards that it is to have
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(SHARDS_MAX)))]
        shards: u32,
    },
    /// Copy a snapshot to where the data belongs, and check it
    Restore {
        /// The snapshot, a directory below `snapshots` of a data directory
        snapshot: PathBuf,
        /// The data directory, in which no data may be
        #[arg(default_value = "data")]
        directory: PathBuf,
    },
    /// Print samples, one a line: labels, value, milliseconds
    Dump {
        /// The data directory, of which no server may run
        #[arg(default_value = "data")]
        directory: PathBuf,
        /// First time, in milliseconds since 1970
        #[arg(long, default_value_t = i64::MIN, allow_hyphen_values = true)]
        min_time: i64,
        /// Last time, in milliseconds since 1970
        #[arg(long, default_value_t = i64::MAX, allow_hyphen_values = true)]
        max_time: i64,
        /// Only series that this selects
        #[arg(long = "match", default_value = "{__name__=~'.*'}")]
        selector: String,
    },
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Query {
    /// The value of an expression at one time
    Instant {
        #[command(flatten)]
        server: Server,
        /// The PromQL expression
        expression: String,
        /// When, as Unix seconds or RFC 3339; now if not given
        #[arg(long)]
        time: Option<String>,
    },
    /// The values of an expression over a range of time
    Range {
        #[command(flatten)]
        server: Server,
        /// The PromQL expression
        expression: String,
        /// First time, as Unix seconds or RFC 3339; an hour before the end if not given
        #[arg(long)]
        start: Option<String>,
        /// Last time, as Unix seconds or RFC 3339; now if not given
        #[arg(long)]
        end: Option<String>,
        /// Distance of two results, such as 15s; a 250th of the range if not given
        #[arg(long)]
        step: Option<String>,
    },
    /// The label sets of the series that match
    Series {
        #[command(flatten)]
        server: Server,
        /// Series selectors, such as 'up{job="node"}'
        #[arg(required = true)]
        selectors: Vec<String>,
    },
    /// Label names, or the values of one label
    Labels {
        #[command(flatten)]
        server: Server,
        /// The label whose values to print
        name: Option<String>,
    },
}

/// What to import.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// The blocks in the data directory of a Prometheus
    Prometheus {
        /// The directory
        directory: PathBuf,
        #[command(flatten)]
        into: ImportInto,
    },
    /// A file in the OpenMetrics text format, each of whose samples has its time
    Openmetrics {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        into: ImportInto,
    },
}

/// Where to import.
#[derive(Debug, Args)]
pub(crate) struct ImportInto {
    /// The data directory
    #[arg(
        long = "storage.path",
        alias = "storage.tsdb.path",
        default_value = "data",
        value_name = "DIR"
    )]
    pub(crate) storage_path: PathBuf,
    /// Shards of a new data directory; the number of cores if not given
    #[arg(long = "storage.shards", value_name = "N")]
    pub(crate) shards: Option<u32>,
}

/// Which server.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Its address
    #[arg(long = "server", default_value = "http://127.0.0.1:9090")]
    pub(crate) url: String,
    /// Print the server's JSON as it comes
    #[arg(long)]
    pub(crate) json: bool,
}

/// When an acknowledged sample is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WalSync {
    /// Before it is acknowledged
    Commit,
    /// Within a tenth of a second after it is acknowledged: a crash may take that much
    Interval,
    /// Written every second, when the kernel likes: a kill takes a second, a power loss any amount
    Off,
}

/// What has to be switched on, by Prometheus' name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum Feature {
    /// Functions and aggregations that are experimental
    PromqlExperimentalFunctions,
    /// The selector modifiers `anchored` and `smoothed`
    PromqlExtendedRangeSelectors,
    /// The operator modifiers `fill`, `fill_left` and `fill_right`
    PromqlBinopFillModifiers,
    /// Metric names are dropped at the end of evaluation instead of by each operation
    PromqlDelayedNameRemoval,
    /// The API's search for names and values
    SearchApi,
    /// It is stored when counters began to count, where targets say so
    StStorage,
    /// Always on
    PromqlDurationExpr,
}

/// Origins whose pages may read the API.
#[derive(Clone, Debug)]
pub(crate) enum CorsOrigin {
    /// All.
    Any,
    /// Those that match as a whole.
    Matching(Matcher),
}

impl CorsOrigin {
    /// Reads the regular expression.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == ".*" {
            return Ok(CorsOrigin::Any);
        }
        let matcher = Matcher::new(MatchOp::Regex, "origin", text);
        matcher.map(CorsOrigin::Matching).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CorsOrigin::Any => f.write_str(".*"),
            CorsOrigin::Matching(matcher) => f.write_str(matcher.value()),
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// key=value text
    Logfmt,
    /// One JSON object a line
    Json,
}

/// The least important log line that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Everything
    Debug,
    /// What happens
    Info,
    /// What should not happen, and what is ignored
    Warn,
    /// What failed
    Error,
}

/// The flags of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeFlags {
    /// Configuration in Prometheus' format; without it, scrape this server and a `node_exporter` on port 9100
    #[arg(long = "config.file", value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// Directory of the data
    #[arg(
        long = "storage.path",
        alias = "storage.tsdb.path",
        default_value = "data",
        value_name = "DIR"
    )]
    pub(crate) storage_path: PathBuf,
    /// How long samples are kept
    #[arg(long = "storage.retention.time", alias = "storage.tsdb.retention.time", default_value = "90d", value_parser = duration, value_name = "TIME")]
    pub(crate) retention_time: Duration,
    /// Bytes that the data may take, such as 512GB; the oldest blocks go first, and 0 is no bound
    #[arg(long = "storage.retention.size", alias = "storage.tsdb.retention.size", default_value = "0", value_parser = ByteSize::parse, value_name = "SIZE")]
    pub(crate) retention_size: ByteSize,
    /// Percent of the disk that the data may take; 0 is no bound
    #[arg(long = "storage.retention.percentage", alias = "storage.tsdb.retention.percentage", default_value = "0", value_parser = percentage, value_name = "PERCENT")]
    pub(crate) retention_percentage: f64,
    /// Shards of a new data directory; the number of cores if not given
    #[arg(long = "storage.shards", value_name = "N")]
    pub(crate) shards: Option<u32>,
    /// When a sample counts as stored
    #[arg(long = "wal.sync", default_value = "commit")]
    pub(crate) wal_sync: WalSync,
    /// A limit on series, such as job:active=200000 or metric:active=100000,hour=20000; may be given many times
    #[arg(long = "cardinality.limit", value_name = "SCOPE:KIND=N,...")]
    pub(crate) cardinality_limits: Vec<Limit>,
    /// Tell tenants apart by the header X-Scope-OrgID: each writes and sees its own series
    #[arg(long = "tenancy.enabled")]
    pub(crate) tenancy: bool,
    /// Percent of the memory above which new series are refused; 0 is never
    #[arg(long = "storage.memory-watermark", default_value_t = 90, value_parser = clap::value_parser!(u8).range(0..=100), value_name = "PERCENT")]
    pub(crate) memory_watermark: u8,
    /// Where to listen
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9090", value_parser = listen_address, value_name = "ADDRESS")]
    pub(crate) listen_address: SocketAddr,
    /// Open connections at most, over all cores
    #[arg(long = "web.max-connections", default_value_t = 512, value_name = "N")]
    pub(crate) max_connections: usize,
    /// How long a request may take to arrive, and an idle connection stays open
    #[arg(long = "web.read-timeout", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub(crate) read_timeout: Duration,
    /// Allow reload and shutdown by POST to /-/reload and /-/quit
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
    /// Allow deleting series, rewriting and snapshots by POST to /api/v1/admin/tsdb/...
    #[arg(long = "web.enable-admin-api")]
    pub(crate) enable_admin_api: bool,
    /// Origins whose pages may read the API, as a regular expression of the whole origin, such as 'https?://(a|b)[.]example'
    #[arg(long = "web.cors.origin", default_value = ".*", value_parser = CorsOrigin::parse, value_name = "REGEX")]
    pub(crate) cors_origin: CorsOrigin,
    /// Results that one search may ask for, with --enable-feature=search-api; 0 for any number
    #[arg(long = "web.search.max-limit", default_value_t = 10_000, value_name = "N")]
    pub(crate) search_max_limit: usize,
    /// Clients that may listen to /api/v1/notifications/live at the same time, over all cores
    #[arg(long = "web.max-notifications-subscribers", default_value_t = 16, value_name = "N")]
    pub(crate) max_notifications_subscribers: usize,
    /// How long a query may take
    #[arg(long = "query.timeout", default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub(crate) query_timeout: Duration,
    /// Samples that one query may hold in memory
    #[arg(long = "query.max-samples", default_value_t = 50_000_000, value_name = "N")]
    pub(crate) query_max_samples: u64,
    /// Bytes of memory that one query may hold
    #[arg(long = "query.max-memory", default_value_t = QUERY_BYTES_MAX, value_name = "BYTES")]
    pub(crate) query_max_memory: u64,
    /// Bytes of answers that each core keeps for range queries that repeat; 0 keeps none
    #[arg(long = "query.cache-size", default_value_t = CACHE_BYTES, value_name = "BYTES")]
    pub(crate) query_cache_size: usize,
    /// How far back an instant selector looks for a sample
    #[arg(long = "query.lookback-delta", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub(crate) query_lookback_delta: Duration,
    /// Queries at the same time at most, over all cores; others wait
    #[arg(long = "query.max-concurrency", default_value_t = 20, value_name = "N")]
    pub(crate) query_max_concurrency: usize,
    /// What to switch on, separated by commas
    #[arg(long = "enable-feature", value_delimiter = ',', value_name = "NAME")]
    pub(crate) features: Vec<Feature>,
    /// Cores to use, each with a thread pinned to it; all if not given
    #[arg(long = "cores", value_name = "N")]
    pub(crate) cores: Option<usize>,
    /// Least important log line to write
    #[arg(long = "log.level", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// Form of a log line
    #[arg(long = "log.format", default_value = "logfmt")]
    pub(crate) log_format: LogFormat,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = Duration::parse(text)?;
    if parsed.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(parsed) }
}

fn percentage(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    parsed.ok_or_else(|| "must be a number from 0 to 100".to_owned())
}

/// `host:port`, or `:port` for every address of the machine.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.replace("localhost:", "127.0.0.1:")
    };
    full.parse().map_err(|_| {
        format!("{text:?} is not an IP address and a port, such as 127.0.0.1:9090 or :9090")
    })
}

impl ServeFlags {
    /// Whether a part of PromQL is switched on.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// The limits on series, those on tenants by the label that tells tenants apart.
    pub(crate) fn limits(&self) -> Vec<Limit> {
        let limits = self.cardinality_limits.iter().cloned();
        limits.map(|limit| if self.tenancy { limit.of_tenants() } else { limit }).collect()
    }

    /// Names and values as `/api/v1/status/flags` shows them.
    pub(crate) fn shown(&self) -> BTreeMap<&'static str, String> {
        let path = |p: &PathBuf| p.to_string_lossy().into_owned();
        BTreeMap::from([
            ("config.file", self.config_file.as_ref().map(path).unwrap_or_default()),
            ("storage.path", path(&self.storage_path)),
            ("storage.retention.time", self.retention_time.to_string()),
            ("storage.retention.size", self.retention_size.to_string()),
            ("storage.retention.percentage", self.retention_percentage.to_string()),
            ("storage.shards", self.shards.map(|n| n.to_string()).unwrap_or_default()),
            ("wal.sync", word(&self.wal_sync)),
            (
                "cardinality.limit",
                self.cardinality_limits.iter().map(Limit::to_string).collect::<Vec<_>>().join(" "),
            ),
            ("tenancy.enabled", self.tenancy.to_string()),
            ("storage.memory-watermark", self.memory_watermark.to_string()),
            ("web.listen-address", self.listen_address.to_string()),
            ("web.max-connections", self.max_connections.to_string()),
            ("web.read-timeout", self.read_timeout.to_string()),
            ("web.cors.origin", self.cors_origin.to_string()),
            ("web.search.max-limit", self.search_max_limit.to_string()),
            ("web.max-notifications-subscribers", self.max_notifications_subscribers.to_string()),
            ("web.enable-lifecycle", self.enable_lifecycle.to_string()),
            ("web.enable-admin-api", self.enable_admin_api.to_string()),
            ("query.timeout", self.query_timeout.to_string()),
            ("query.max-samples", self.query_max_samples.to_string()),
            ("query.max-memory", self.query_max_memory.to_string()),
            ("query.cache-size", self.query_cache_size.to_string()),
            ("query.lookback-delta", self.query_lookback_delta.to_string()),
            ("query.max-concurrency", self.query_max_concurrency.to_string()),
            ("enable-feature", self.features.iter().map(word).collect::<Vec<_>>().join(",")),
            ("cores", self.cores.map(|n| n.to_string()).unwrap_or_default()),
            ("log.level", word(&self.log_level)),
            ("log.format", word(&self.log_format)),
        ])
    }
}

fn word<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bare_flags_mean_serve() {
        let cli =
            Cli::parse_from(["tidemark", "--storage.tsdb.path=/x", "--web.listen-address=:9091"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.storage_path, PathBuf::from("/x"));
        assert_eq!(cli.serve.listen_address.to_string(), "0.0.0.0:9091");
        let features = [
            "tidemark",
            "--enable-feature=promql-experimental-functions,promql-binop-fill-modifiers",
        ];
        assert!(Cli::parse_from(features).serve.has(Feature::PromqlBinopFillModifiers));
        assert!(Cli::try_parse_from(["tidemark", "--query.timeout=0"]).is_err());
        assert!(Cli::try_parse_from(["tidemark", "--storage.retention.size=7"]).is_err());
        assert!(Cli::try_parse_from(["tidemark", "--storage.retention.percentage=101"]).is_err());
        assert!(Cli::try_parse_from(["tidemark", "--web.listen-address=nowhere"]).is_err());
    }

    #[test]
    fn every_flag_is_shown() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let flags: Vec<_> = serve
            .get_arguments()
            .filter_map(|a| a.get_long())
            .filter(|l| !["help", "version"].contains(l))
            .collect();
        let shown = Cli::parse_from(["tidemark"]).serve.shown();
        assert_eq!(flags.len(), shown.len());
        for flag in flags {
            assert!(shown.contains_key(flag), "{flag}");
        }
    }
}
