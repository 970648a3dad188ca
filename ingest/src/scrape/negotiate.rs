//! Which format a target is asked for, and how what it answers is read.

use std::fmt::Write as _;

/// A format that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Prometheus text 0.0.4.
    PrometheusText0_0_4,
    /// Prometheus text 1.0.0: names in UTF-8.
    PrometheusText1_0_0,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`crate::protocols::text`].
    PrometheusText,
}

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

const TABLE: [Row; 2] = [
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
    /// All that can be read, the best first.
    pub const SUPPORTED: [Protocol; 2] =
        [Protocol::PrometheusText1_0_0, Protocol::PrometheusText0_0_4];

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
pub fn accept_header(protocols: &[Protocol], legacy_names: bool) -> String {
    let escaping = if legacy_names { ";escaping=underscores" } else { ";escaping=allow-utf-8" };
    let mut header = String::new();
    let mut weight = protocols.len() + 1;
    for row in protocols.iter().map(|p| p.row()) {
        let escaping = if row.escaping { escaping } else { "" };
        let _ = write!(header, "{}{escaping};q=0.{weight},", row.media_type);
        weight -= 1;
    }
    let _ = write!(header, "*/*;q=0.{weight}");
    header
}

/// How to read a body of this `Content-Type`; the error says why it cannot be read.
pub fn format_of(content_type: &str, fallback: Option<Protocol>) -> Result<Format, String> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("text/plain") {
        return Ok(Format::PrometheusText);
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
            accept_header(&Protocol::SUPPORTED, false),
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
    }

    #[test]
    fn content_types() {
        let text = Ok(Format::PrometheusText);
        for good in ["text/plain", "text/plain; version=0.0.4; charset=utf-8", "Text/Plain ;x"] {
            assert_eq!(format_of(good, None), text);
        }
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
        for protocol in Protocol::SUPPORTED {
            assert_eq!(Protocol::from_name(protocol.as_str()), Some(protocol));
        }
    }
}
