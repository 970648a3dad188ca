//! `http_sd`: a URL that answers with a JSON list of target groups.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::ask::{Ask, DiscoveryError, ask_ok, get, refresh_by};
use super::group;
use crate::scrape::TargetGroup;

/// The header that tells the server how often it is asked.
pub const INTERVAL_HEADER: &str = "x-prometheus-refresh-interval-seconds";

/// See the module.
pub struct Http {
    url: String,
    refresh_interval: Duration,
}

impl Http {
    /// Asks `url` every `refresh_interval`.
    pub fn new(url: &str, refresh_interval: Duration) -> Self {
        Http { url: url.to_owned(), refresh_interval }
    }

    async fn ask(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let mut request = get(&self.url)?;
        let seconds = self.refresh_interval.as_secs_f64().to_string();
        let seconds = HeaderValue::from_str(&seconds).expect("a number is a header's value");
        request.headers_mut().insert(INTERVAL_HEADER, seconds);
        let response = ask_ok(ask, request).await?;
        let wrong = |reason| DiscoveryError::Answer { url: self.url.clone(), reason };
        is_json_answer(&response).map_err(wrong)?;
        let source = |i| format!("{}:{i}", self.url);
        group::from_json(response.body(), source, ("__meta_url", &self.url)).map_err(wrong)
    }
}

refresh_by!(Http, ask);

/// `Err` says that an answer does not call itself JSON.
pub(crate) fn is_json_answer(response: &Response<Bytes>) -> Result<(), String> {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|c| c.to_str().ok()).unwrap_or_default();
    if is_json(content_type) {
        return Ok(());
    }
    Err(format!("unsupported content type {content_type:?}"))
}

/// `application/json`, with no charset or UTF-8.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.trim().to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("application/json") else { return false };
    let charset = rest.strip_prefix(';').map_or(rest, str::trim_start);
    matches!(charset, "" | "charset=utf-8" | "charset=\"utf-8\"") && rest != ";"
}

#[cfg(test)]
mod tests {
    use super::super::ask::recorded::{Recorded, refresh};
    use super::*;

    #[test]
    fn groups_carry_the_url() {
        let body = r#"[{"targets": ["a:1"], "labels": {"x": "y"}}, {"targets": []}]"#;
        let ask = Recorded::new(&[("/targets", 200, body)]);
        let mut http = Http::new("http://h/targets?a=b", Duration::from_millis(1500));
        let groups = refresh(&mut http, &ask).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1].source, "http://h/targets?a=b:1");
        assert_eq!(groups[0].labels["__meta_url"], "http://h/targets?a=b");
        let asked = &ask.asked.borrow()[0];
        assert_eq!(asked.headers()["x-prometheus-refresh-interval-seconds"], "1.5");
        assert_eq!(asked.headers()["accept"], "application/json");
    }

    #[test]
    fn failures_say_what_and_where() {
        let mut http = Http::new("http://h/", Duration::from_mins(1));
        for (status, body, expected) in [
            (
                503,
                "busy",
                r#""http://h/": server returned HTTP status 503 Service Unavailable: busy"#,
            ),
            (200, "[null]", r#""http://h/": nil target group item found"#),
        ] {
            let ask = Recorded::new(&[("", status, body)]);
            assert_eq!(refresh(&mut http, &ask).unwrap_err().to_string(), expected);
        }
        let nobody = refresh(&mut http, &Recorded::default()).unwrap_err();
        assert_eq!(nobody.to_string(), r#"nobody answers "http://h/""#);
    }

    #[test]
    fn content_types() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/html",
            "application/jsonx",
            "application/json;",
            "application/json; charset=latin1",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
