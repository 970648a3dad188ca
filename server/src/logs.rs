//! Logs on standard error: `key=value` text or one JSON object a line, each with time, level and message first.

use std::fmt::{self, Write as _};

use tidemark_core::runtime::clock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{LogFormat, LogLevel};
use crate::time::Rfc3339;

/// Sends every log line at or above `level` to standard error.
pub(crate) fn install(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // hyper and rustls speak of every connection at debug; glommio warns of what the preflight has settled.
    let others = level.min(LevelFilter::WARN);
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(others)
        .with_target("glommio", LevelFilter::ERROR)
        .with_target("tidemark", level);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second call, in a test, finds one installed already.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
}

struct Lines {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = fields.line(self.format, clock::now_ms(), *event.metadata().level());
        writeln!(writer, "{line}")
    }
}

/// The fields of one event, as text.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Fields {
    fn line(self, format: LogFormat, now_ms: i64, level: Level) -> String {
        let time = Rfc3339(now_ms).to_string();
        let first = [("time", time), ("level", level.to_string()), ("msg", self.message)];
        let all = first.into_iter().chain(self.rest);
        let mut line = String::with_capacity(200);
        match format {
            LogFormat::Logfmt => {
                for (i, (name, value)) in all.enumerate() {
                    let space = if i == 0 { "" } else { " " };
                    let bare = !value.is_empty()
                        && value.bytes().all(|b| b > b' ' && b != b'"' && b != b'=' && b < 0x7f);
                    // Writing to a string cannot fail.
                    let _ = if bare {
                        write!(line, "{space}{name}={value}")
                    } else {
                        write!(line, "{space}{name}={value:?}")
                    };
                }
            }
            LogFormat::Json => {
                for (i, (name, value)) in all.enumerate() {
                    let before = if i == 0 { '{' } else { ',' };
                    let _ = write!(line, "{before}\"{name}\":{}", serde_json::Value::from(value));
                }
                line.push('}');
            }
        }
        line
    }

    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.rest.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields { message: "it is".into(), rest: vec![("a", "1".into()), ("b", "x \"y\"\n".into())] }
    }

    #[test]
    fn both_forms() {
        assert_eq!(
            fields().line(LogFormat::Logfmt, 0, Level::WARN),
            r#"time=1970-01-01T00:00:00.000Z level=WARN msg="it is" a=1 b="x \"y\"\n""#
        );
        assert_eq!(
            fields().line(LogFormat::Json, 0, Level::INFO),
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"INFO","msg":"it is","a":"1","b":"x \"y\"\n"}"#
        );
    }
}
