//! What one core counts, and the sum over all cores.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::exposition::{Exposition, Kind};

/// A counter of one core.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    /// Adds.
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// So far.
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    /// For what goes up and down.
    pub(crate) fn set(&self, n: u64) {
        self.0.set(n);
    }
}

/// Upper bounds of request durations, in seconds.
const DURATION_BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// How the requests of one route went.
#[derive(Clone, Debug, Default)]
struct RouteCounts {
    /// Status codes seen, and how often.
    codes: Vec<(u16, u64)>,
    buckets: [u64; DURATION_BOUNDS.len() + 1],
    seconds: f64,
}

/// Requests by route, in the order of the table of routes.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters(RefCell<Vec<(&'static str, RouteCounts)>>);

impl HttpCounters {
    /// Counts a request of `route`.
    pub(crate) fn count(&self, route: &'static str, code: u16, took: Duration) {
        let mut routes = self.0.borrow_mut();
        let at = routes.iter().position(|(name, _)| *name == route).unwrap_or_else(|| {
            routes.push((route, RouteCounts::default()));
            routes.len() - 1
        });
        routes[at].1.count(code, took.as_secs_f64());
    }
}

impl RouteCounts {
    fn count(&mut self, code: u16, seconds: f64) {
        match self.codes.iter_mut().find(|(c, _)| *c == code) {
            Some((_, n)) => *n += 1,
            None => self.codes.push((code, 1)),
        }
        let bucket = DURATION_BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        self.buckets[bucket] += 1;
        self.seconds += seconds;
    }

    fn merge(&mut self, other: &RouteCounts) {
        for (code, n) in &other.codes {
            match self.codes.iter_mut().find(|(c, _)| c == code) {
                Some((_, mine)) => *mine += n,
                None => self.codes.push((*code, *n)),
            }
        }
        for (mine, other) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += other;
        }
        self.seconds += other.seconds;
    }
}

/// Everything that one core of the server counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests answered.
    pub(crate) http: HttpCounters,
    /// Samples that remote write brought and storage took.
    pub(crate) written_samples: Counter,
    /// Samples that were stored already, with the same value.
    pub(crate) duplicate_samples: Counter,
    /// Samples that remote write brought and were refused, by the labels or the time.
    pub(crate) refused_samples: Counter,
    /// Exemplars that remote write brought and that were too long or too many.
    pub(crate) refused_exemplars: Counter,
    /// Configurations loaded.
    pub(crate) reloads: Counter,
    /// Configurations that could not be loaded.
    pub(crate) failed_reloads: Counter,
}

macro_rules! snapshot {
    ($( $field:ident => $name:literal, $help:literal; )*) => {
        /// The counters of one core, or of several added up.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Snapshot {
            http: Vec<(&'static str, RouteCounts)>,
            $( $field: u64, )*
        }

        impl Counters {
            /// As they stand.
            pub(crate) fn snapshot(&self) -> Snapshot {
                Snapshot { http: self.http.0.borrow().clone(), $( $field: self.$field.get(), )* }
            }
        }

        impl Snapshot {
            /// Adds those of another core.
            pub(crate) fn merge(&mut self, other: &Snapshot) {
                for (route, counts) in &other.http {
                    match self.http.iter_mut().find(|(r, _)| r == route) {
                        Some((_, mine)) => mine.merge(counts),
                        None => self.http.push((route, counts.clone())),
                    }
                }
                $( self.$field += other.$field; )*
            }

            fn write_plain(&self, text: &mut Exposition) {
                $( text.single($name, Kind::Counter, $help, self.$field); )*
            }
        }
    };
}
snapshot! {
    written_samples => "tidemark_remote_write_samples_total", "Samples received by remote write and stored.";
    duplicate_samples => "tidemark_remote_write_duplicate_samples_total", "Samples received by remote write that were stored already with the same value.";
    refused_samples => "tidemark_remote_write_refused_samples_total", "Samples received by remote write and refused.";
    refused_exemplars => "tidemark_remote_write_refused_exemplars_total", "Exemplars received by remote write that were too long or too many.";
    reloads => "tidemark_config_reloads_total", "Configurations loaded.";
    failed_reloads => "tidemark_config_failed_reloads_total", "Configurations that could not be loaded.";
}

impl Snapshot {
    /// Writes every family.
    pub(crate) fn write(&self, text: &mut Exposition) {
        const REQUESTS: &str = "tidemark_http_requests_total";
        const SECONDS: &str = "tidemark_http_request_duration_seconds";
        text.family(REQUESTS, Kind::Counter, "HTTP requests answered.");
        for (route, counts) in &self.http {
            for (code, n) in &counts.codes {
                text.sample(REQUESTS, &[("handler", route), ("code", &code.to_string())], n);
            }
        }
        text.family(SECONDS, Kind::Histogram, "Time from the head of a request to its answer.");
        for (route, counts) in &self.http {
            let labels = [("handler", *route)];
            text.histogram(SECONDS, &labels, &DURATION_BOUNDS, &counts.buckets, counts.seconds);
        }
        self.write_plain(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_add_up() {
        let (a, b) = (Counters::default(), Counters::default());
        a.http.count("/x", 200, Duration::from_millis(3));
        b.http.count("/x", 200, Duration::from_millis(70));
        b.http.count("/x", 503, Duration::from_secs(100));
        b.http.count("/y", 200, Duration::ZERO);
        b.written_samples.add(7);
        let mut all = a.snapshot();
        all.merge(&b.snapshot());
        let mut text = Exposition::default();
        all.write(&mut text);
        let text = text.text();
        for line in [
            r#"tidemark_http_requests_total{handler="/x",code="200"} 2"#,
            r#"tidemark_http_requests_total{handler="/x",code="503"} 1"#,
            r#"tidemark_http_request_duration_seconds_bucket{handler="/x",le="0.005"} 1"#,
            r#"tidemark_http_request_duration_seconds_bucket{handler="/x",le="+Inf"} 3"#,
            "tidemark_remote_write_samples_total 7",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
