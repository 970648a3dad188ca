//! Which format a target is asked for, and how what it answers is read.

use std::fmt::Write as _;

/// A format that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Protobuf messages.
    PrometheusProto,
    /// OpenMetrics 1.0.0.
    OpenMetricsText1_0_0,
    /// OpenMetrics 0.0.1.
    OpenMetricsText0_0_1,
    /// Prometheus text 0.0.4.
    PrometheusText0_0_4,
    /// Prometheus text 1.0.0: names in UTF-8.
    PrometheusText1_0_0,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`crate::protocols::exposition_proto`].
    Protobuf,
    /// [`crate::protocols::openmetrics`].
    OpenMetrics,
    /// [`crate::protocols::text`].
    PrometheusText,
}

/// How a target is to write names that are more than letters, digits and underscores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escaping {
    /// As they are.
    #[default]
    AllowUtf8,
    /// Every other character becomes an underscore.
    Underscores,
    /// Dots become `_dot_`, underscores two, other characters one.
    Dots,
    /// Characters become their code in hexadecimal; can be undone.
    Values,
}

/// Every scheme and its name, in configuration files and in headers.
const ESCAPINGS: [(&str, Escaping); 4] = [
    ("allow-utf-8", Escaping::AllowUtf8),
    ("underscores", Escaping::Underscores),
    ("dots", Escaping::Dots),
    ("values", Escaping::Values),
];

impl Escaping {
    /// The scheme called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        ESCAPINGS.iter().find(|(n, _)| *n == name).map(|&(_, scheme)| scheme)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        ESCAPINGS[self as usize].0
    }
}

/// Weight, in tenths, of the format that is wanted most: Prometheus' own.
const WEIGHT_MAX: usize = 6;

struct Row {
    protocol: Protocol,
    /// As configuration files name it.
    name: &'static str,
    /// What is asked for.
    media_type: &'static str,
    /// Whether the target is told how to escape names that an older reader would not take.
    escaping: bool,
    format: Format,
}

const TABLE: [Row; 5] = [
    Row {
        protocol: Protocol::PrometheusProto,
        name: "PrometheusProto",
        media_type: "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        escaping: false,
        format: Format::Protobuf,
    },
    Row {
        protocol: Protocol::OpenMetricsText1_0_0,
        name: "OpenMetricsText1.0.0",
        media_type: "application/openmetrics-text;version=1.0.0",
        escaping: true,
        format: Format::OpenMetrics,
    },
    Row {
        protocol: Protocol::OpenMetricsText0_0_1,
        name: "OpenMetricsText0.0.1",
        media_type: "application/openmetrics-text;version=0.0.1",
        escaping: false,
        format: Format::OpenMetrics,
    },
    Row {
        protocol: Protocol::PrometheusText1_0_0,
        name: "PrometheusText1.0.0",
        media_type: "text/plain;version=1.0.0",
        escaping: true,
        format: Format::PrometheusText,
    },
    Row {
        protocol: Protocol::PrometheusText0_0_4,
        name: "PrometheusText0.0.4",
        media_type: "text/plain;version=0.0.4",
        escaping: false,
        format: Format::PrometheusText,
    },
];

impl Protocol {
    /// What is asked for unless the job says otherwise, the best first.
    pub const DEFAULT: [Protocol; 4] = [
        Protocol::OpenMetricsText1_0_0,
        Protocol::OpenMetricsText0_0_1,
        Protocol::PrometheusText1_0_0,
        Protocol::PrometheusText0_0_4,
    ];

    /// The protocol that configuration files call `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.protocol)
    }

    /// Its name in configuration files.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.protocol == self).expect("every protocol is in the table")
    }
}

/// The `Accept` header that asks for `protocols` in this order, and for anything else last.
pub fn accept_header(protocols: &[Protocol], escaping: Escaping) -> String {
    let mut header = String::new();
    let mut weight = WEIGHT_MAX;
    for row in protocols.iter().map(|p| p.row()) {
        header.push_str(row.media_type);
        if row.escaping {
            let _ = write!(header, ";escaping={}", escaping.as_str());
        }
        let _ = write!(header, ";q=0.{weight},");
        weight = weight.saturating_sub(1).max(1);
    }
    let _ = write!(header, "*/*;q=0.{weight}");
    header
}

/// How to read a body of this `Content-Type`; the error says why it cannot be read.
pub fn format_of(content_type: &str, fallback: Option<Protocol>) -> Result<Format, String> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let known = |row: &&Row| {
        let own = row.media_type.split(';').next().unwrap_or_default();
        own.eq_ignore_ascii_case(media_type)
    };
    if let Some(row) = TABLE.iter().find(known) {
        return Ok(row.format);
    }
    if let Some(protocol) = fallback {
        return Ok(protocol.row().format);
    }
    let tail = "and no fallback_scrape_protocol specified for target";
    Err(if content_type.is_empty() {
        format!("non-compliant scrape target sending blank Content-Type {tail}")
    } else {
        format!("received unsupported Content-Type {content_type:?} {tail}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_names_the_best_first() {
        assert_eq!(
            accept_header(&Protocol::DEFAULT, Escaping::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn content_types() {
        let text = Ok(Format::PrometheusText);
        for good in ["text/plain", "text/plain; version=0.0.4; charset=utf-8", "Text/Plain ;x"] {
            assert_eq!(format_of(good, None), text);
        }
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(format_of(openmetrics, None), Ok(Format::OpenMetrics));
        let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        assert_eq!(format_of(protobuf, None), Ok(Format::Protobuf));
        assert_eq!(format_of("", Some(Protocol::PrometheusText0_0_4)), text);
        assert_eq!(
            format_of("", None).unwrap_err(),
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
        );
        assert_eq!(
            format_of("text/html", None).unwrap_err(),
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target"
        );
    }

    #[test]
    fn names_go_round() {
        for protocol in TABLE.iter().map(|row| row.protocol) {
            assert_eq!(Protocol::from_name(protocol.as_str()), Some(protocol));
        }
        for (name, scheme) in ESCAPINGS {
            assert_eq!((Escaping::from_name(name), scheme.as_str()), (Some(scheme), name));
        }
    }
}
