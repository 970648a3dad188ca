//! `storage`, `tracing` and `otlp`.

use std::collections::BTreeMap;

use tidemark_core::limits::OUT_OF_ORDER_WINDOW_MS;

use super::http_client::{TlsConfig, is_reserved};
use super::scalars::{ByteSize, Duration};
use super::section::{Checked, ensure, fault, one_of, section};

section! {
    /// How much is kept, and how late a sample may come.
    StorageConfig { tsdb: TsdbConfig, exemplars: Option<ExemplarsConfig> }
}

section! {
    /// The time-series store.
    TsdbConfig {
        out_of_order_time_window: Option<Duration>,
        stale_series_compaction_threshold: f64,
        chunk_encoding: ChunkEncodingConfig,
        retention: RetentionConfig,
    }
}

section! {
    /// The encoding of open chunks.
    ChunkEncodingConfig { floats: String }
    check = Self::known
}

section! {
    /// How long and how much.
    RetentionConfig { time: Duration, size: ByteSize, percentage: f64 }
    check = Self::in_range
}

section! {
    /// How many exemplars are kept.
    ExemplarsConfig { max_exemplars: i64 = 100_000 }
}

section! {
    /// Where spans of our own work are sent.
    TracingConfig {
        client_type: String = "grpc".to_owned(),
        endpoint: String,
        sampling_fraction: f64,
        insecure: bool,
        tls_config: TlsConfig,
        headers: BTreeMap<String, String>,
        compression: String,
        timeout: Duration,
    }
    check = Self::complete
}

section! {
    /// How OpenTelemetry's names and attributes become ours.
    OtlpConfig {
        promote_all_resource_attributes: bool,
        promote_resource_attributes: Vec<String>,
        ignore_resource_attributes: Vec<String>,
        translation_strategy: String = "UnderscoreEscapingWithSuffixes".to_owned(),
        keep_identifying_resource_attributes: bool,
        convert_histograms_to_nhcb: bool,
        promote_scope_metadata: bool,
        label_name_underscore_sanitization: bool = true,
        label_name_preserve_multiple_underscores: bool = true,
    }
    check = Self::consistent
}

impl TsdbConfig {
    /// How late a sample may come after newer ones of its series, in ms. An hour unless it is configured: where Prometheus
    /// refuses such samples by default, most setups have some, and lose them.
    pub(crate) fn out_of_order_window_ms(&self) -> i64 {
        self.out_of_order_time_window.map_or(OUT_OF_ORDER_WINDOW_MS, Duration::as_millis)
    }
}

impl ChunkEncodingConfig {
    fn known(&mut self) -> Checked {
        one_of("floats", &self.floats, &["", "xor", "xor2"])
    }
}

impl RetentionConfig {
    fn in_range(&mut self) -> Checked {
        ensure((0.0..=100.0).contains(&self.percentage), "percentage", || {
            format!(
                "'storage.tsdb.retention.percentage' must be in the range [0, 100], got {}",
                self.percentage
            )
        })
    }
}

impl TracingConfig {
    fn complete(&mut self) -> Checked {
        one_of("client_type", &self.client_type, &["http", "grpc"])?;
        ensure(!self.endpoint.is_empty(), "endpoint", || {
            "tracing endpoint must be set".to_owned()
        })?;
        one_of("compression", &self.compression, &["", "gzip"])?;
        match self.headers.keys().find(|name| is_reserved(name)) {
            Some(name) => Err(fault(
                "headers",
                format!("{name} is a reserved header. It must not be changed"),
            )),
            None => Ok(()),
        }
    }
}

/// Strategies that leave names in UTF-8 as they are.
const UTF8_STRATEGIES: [&str; 2] = ["NoUTF8EscapingWithSuffixes", "NoTranslation"];

impl OtlpConfig {
    fn consistent(&mut self) -> Checked {
        let all = self.promote_all_resource_attributes;
        ensure(
            !all || self.promote_resource_attributes.is_empty(),
            "promote_resource_attributes",
            || {
                "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously".to_owned()
            },
        )?;
        ensure(
            all || self.ignore_resource_attributes.is_empty(),
            "ignore_resource_attributes",
            || {
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true".to_owned()
            },
        )?;
        distinct("promote_resource_attributes", &self.promote_resource_attributes)?;
        distinct("ignore_resource_attributes", &self.ignore_resource_attributes)?;
        one_of(
            "translation_strategy",
            &self.translation_strategy,
            &[
                "",
                "UnderscoreEscapingWithSuffixes",
                "UnderscoreEscapingWithoutSuffixes",
                UTF8_STRATEGIES[0],
                UTF8_STRATEGIES[1],
            ],
        )
    }

    /// Whether names may come out that are not plain.
    pub(crate) fn leaves_utf8(&self) -> bool {
        UTF8_STRATEGIES.contains(&self.translation_strategy.as_str())
    }
}

fn distinct(field: &'static str, attributes: &[String]) -> Checked {
    for (i, attribute) in attributes.iter().enumerate() {
        let name = attribute.trim();
        ensure(!name.is_empty(), field, || format!("empty attribute in '{field}'"))?;
        let twice = attributes[..i].iter().any(|earlier| earlier.trim() == name);
        ensure(!twice, field, || format!("duplicated attribute in '{field}': {name}"))?;
    }
    Ok(())
}
