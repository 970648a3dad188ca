//! Random calls of the API: queries of every kind, every endpoint that both have, and requests that are wrong.

use tidemark_bench::http::{Client, Response, path};
use tidemark_core::runtime::sim::Random;

use super::dialect;
use super::expression::{Edges, Generator};
use super::store::{self, END_MS, START_MS, Stored};

/// What stands in a broken query where something else should.
const SIGNS: [char; 18] =
    ['(', ')', '[', ']', '{', '}', ',', '"', '\'', '+', '=', '!', '5', 'x', '@', ':', '~', '#'];

/// How two answers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Status, kind and text of an error, and values, the numbers nearly.
    Value,
    /// As values, and the series in the same order.
    Ordered,
    /// The kinds of JSON values and the names of members: what both say of themselves.
    Shape,
    /// The status alone: pages for people.
    Status,
}

/// One call, made to both.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: String,
    /// In the dialect of Prometheus 3.
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) check: Check,
}

impl Call {
    fn get(path: &str, parameters: Vec<(&'static str, String)>, check: Check) -> Self {
        Call { method: "GET", path: path.to_owned(), parameters, check }
    }

    /// What stands under `name`.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Makes the call, with the parameters in the dialect of who is asked.
    pub(super) fn make(&self, client: &mut Client, dialect: fn(&str) -> String) -> Response {
        let told: Vec<_> =
            self.parameters.iter().map(|(name, value)| (*name, dialect(value))).collect();
        let told: Vec<_> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = if self.method == "POST" {
            let form = path("", &told);
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            let body = form.trim_start_matches('?').as_bytes();
            client.request("POST", &self.path, &headers, body)
        } else {
            client.request(self.method, &path(&self.path, &told), &[], &[])
        };
        answer.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (name, value) in &self.parameters {
            write!(f, "\n    {name} = {}", dialect::ours(value))?;
        }
        Ok(())
    }
}

/// Makes calls.
pub(super) struct Calls<'a> {
    pub(super) random: Random,
    pub(super) stored: &'a [Stored],
}

impl Calls<'_> {
    /// The next one.
    pub(super) fn next(&mut self) -> Call {
        match self.random.below(100) {
            0..30 => self.instant(),
            30..62 => self.range(),
            62..74 => self.metadata(),
            74..80 => self.about_itself(),
            80..88 => self.broken_query(),
            88..95 => self.broken_parameters(),
            _ => self.format(),
        }
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.random.below(from.len() as u64) as usize]
    }

    /// A moment as seconds; between samples or on one.
    fn moment(&mut self, edges: Edges) -> String {
        let ms = match edges {
            Edges::Between => {
                let span = (END_MS - START_MS + 1_200_000) as u64 / 1000;
                START_MS - 600_000 + self.random.below(span) as i64 * 1000 + 500
            }
            Edges::OnSamples => store::some_sample_ms(self.stored, &mut self.random),
        };
        format!("{}.{:03}", ms / 1000, ms % 1000)
    }

    fn edges(&mut self) -> Edges {
        if self.random.chance(70) { Edges::Between } else { Edges::OnSamples }
    }

    /// Long requests go as forms, and some others.
    fn method(&mut self) -> &'static str {
        if self.random.chance(20) { "POST" } else { "GET" }
    }

    fn instant(&mut self) -> Call {
        let edges = self.edges();
        let selector = self.random.chance(8);
        let mut generator = Generator::new(&mut self.random, edges);
        let query = if selector { generator.range_selector() } else { generator.any() };
        let sorted = query.starts_with("sort");
        let mut parameters = vec![("query", query), ("time", self.moment(edges))];
        if self.random.chance(5) {
            parameters.push(("timeout", "30s".to_owned()));
        }
        let check = if sorted { Check::Ordered } else { Check::Value };
        Call { method: self.method(), ..Call::get("/api/v1/query", parameters, check) }
    }

    pub(super) fn range(&mut self) -> Call {
        let edges = self.edges();
        let query = Generator::new(&mut self.random, edges).any();
        let start = self.moment(edges);
        let steps = self.random.below(20) as i64;
        let step = [15, 60, 90, 300, 7][self.random.below(5) as usize];
        let (whole, fraction) = start.split_once('.').expect("a moment has decimals");
        let end = whole.parse::<i64>().expect("seconds") + steps * step;
        let end = format!("{end}.{fraction}");
        let parameters =
            vec![("query", query), ("start", start), ("end", end), ("step", step.to_string())];
        Call { method: self.method(), ..Call::get("/api/v1/query_range", parameters, Check::Value) }
    }

    /// `series`, `labels` and values of labels.
    fn metadata(&mut self) -> Call {
        let mut parameters = Vec::new();
        for _ in 0..self.random.below(3) {
            let selector = Generator::new(&mut self.random, Edges::Between).plain_selector();
            parameters.push(("match[]", selector));
        }
        // Blocks are not cut finer than two hours, and Prometheus looks no closer where nothing is matched: whole hours, or none.
        if self.random.chance(30) {
            let (start, end) =
                [(START_MS, END_MS), (0, START_MS - 1), (END_MS + 60_000, i64::MAX / 1_000_000)]
                    [self.random.below(3) as usize];
            parameters.push(("start", (start / 1000).to_string()));
            parameters.push(("end", (end / 1000).to_string()));
        }
        let label = self
            .pick(&["__name__", "job", "instance", "zone", "le", "nope", "pod", "a-b", "U__zone"]);
        let path = match self.random.below(3) {
            0 => "/api/v1/series".to_owned(),
            1 => "/api/v1/labels".to_owned(),
            _ => format!("/api/v1/label/{label}/values"),
        };
        let posted = self.random.chance(20) && !path.ends_with("/values");
        let method = if posted { "POST" } else { "GET" };
        Call { method, ..Call::get(&path, parameters, Check::Value) }
    }

    /// What both say of themselves, and pages.
    fn about_itself(&mut self) -> Call {
        let shape = [
            "/api/v1/targets",
            "/api/v1/targets?state=active",
            "/api/v1/targets?state=dropped",
            "/api/v1/rules",
            "/api/v1/rules?type=alert",
            "/api/v1/rules?type=nonsense",
            "/api/v1/alerts",
            "/api/v1/alertmanagers",
            "/api/v1/metadata",
            "/api/v1/metadata?limit=x",
            "/api/v1/targets/metadata",
            "/api/v1/targets/metadata?limit=x",
            "/api/v1/status/buildinfo",
            "/api/v1/status/config",
            "/api/v1/status/flags",
            "/api/v1/status/runtimeinfo",
            "/api/v1/status/tsdb",
            "/api/v1/status/tsdb?limit=3",
            "/api/v1/query?query=up&stats=all",
            "/api/v1/query?query=1&stats=true",
            "/api/v1/query_exemplars?query=up&start=0&end=1",
            "/api/v1/query_exemplars?query=up&start=2&end=1",
            "/api/v1/query_exemplars?query=sum(&start=1&end=2",
            "/api/v1/query_exemplars?query=up&start=x&end=2",
            "/api/v1/admin/tsdb/snapshot?skip_head=nonsense",
            "/api/v1/status/walreplay",
        ];
        let pages = [
            "/-/healthy",
            "/-/ready",
            "/metrics",
            "/api/v1/nothing",
            "/nothing",
            "/federate",
            "/federate?match[]=up",
            "/federate?match[]=up{",
            "/federate?match[]=%zz",
        ];
        if self.random.chance(80) {
            Call::get(self.pick(&shape), Vec::new(), Check::Shape)
        } else {
            Call::get(self.pick(&pages), Vec::new(), Check::Status)
        }
    }

    fn format(&mut self) -> Call {
        let query = Generator::new(&mut self.random, Edges::Between).any();
        let query =
            dialect::ours(&query).replace("double_exponential_smoothing", "quantile_over_time");
        Call::get("/api/v1/format_query", vec![("query", query)], Check::Value)
    }

    /// An expression with a few characters too many or too few.
    fn broken_query(&mut self) -> Call {
        let query = Generator::new(&mut self.random, Edges::Between).any();
        let mut query: Vec<char> = dialect::ours(&query).chars().collect();
        for _ in 0..=self.random.below(2) {
            let at = self.random.below(query.len() as u64) as usize;
            let sign = SIGNS[self.random.below(SIGNS.len() as u64) as usize];
            match self.random.below(4) {
                0 => drop(query.remove(at)),
                1 => query[at] = sign,
                2 => query.insert(at, sign),
                _ => query.truncate(at),
            }
            if query.is_empty() {
                break;
            }
        }
        let query: String = query.into_iter().collect();
        let endpoint = self.pick(&["/api/v1/query", "/api/v1/format_query"]);
        let mut parameters = vec![("query", query)];
        if endpoint.ends_with("/query") {
            parameters.push(("time", self.moment(Edges::Between)));
        }
        Call::get(endpoint, parameters, Check::Value)
    }

    /// Parameters that mean nothing, or too much.
    fn broken_parameters(&mut self) -> Call {
        let odd = [
            "",
            "x",
            "NaN",
            "Inf",
            "-Inf",
            "1e20",
            "-1",
            "0",
            "1700006400",
            "1e3",
            "0x10",
            "1_000",
            "5m",
            "-5m",
            "1.5.2",
            "2023-11-15T00:00:00Z",
            "2023-11-15T00:00:00+02:00",
            "2023-13-01T00:00:00Z",
            "2023-11-15 00:00:00",
            "9223372036854775807",
            "9223372036854775.807",
            "1y1w1d",
            "1d1y",
            "5 m",
            " 1",
            "1e-9",
        ];
        let queries = [
            "",
            "up",
            "1",
            "{}",
            "\"text\"",
            "up[5m]",
            "time()",
            "sum(",
            "up{job=~\"*\"}",
            "vector(1)",
        ];
        let (query, start, end) = (self.pick(&queries), self.pick(&odd), self.pick(&odd));
        let (good_start, good_end) = ((START_MS / 1000).to_string(), (END_MS / 1000).to_string());
        let choose = |random: &mut Random, odd: &str, good: &str| {
            if random.chance(40) { odd.to_owned() } else { good.to_owned() }
        };
        let start = choose(&mut self.random, start, &good_start);
        let end = choose(&mut self.random, end, &good_end);
        let step = self.pick(&odd);
        let step = choose(&mut self.random, step, "60");
        let query = choose(&mut self.random, query, "up");
        match self.random.below(6) {
            0..3 => {
                let mut parameters =
                    vec![("query", query), ("start", start), ("end", end), ("step", step)];
                if self.random.chance(20) {
                    parameters.push(("timeout", self.pick(&odd).to_owned()));
                }
                if self.random.chance(20) {
                    let gone = self.random.below(parameters.len() as u64) as usize;
                    parameters.remove(gone);
                }
                Call::get("/api/v1/query_range", parameters, Check::Value)
            }
            3 => Call::get("/api/v1/query", vec![("query", query), ("time", start)], Check::Value),
            4 => {
                let selector = self.pick(&[
                    "{}",
                    "up{",
                    "x=1",
                    "{a=\"\"}",
                    "{a!=\"b\"}",
                    "up",
                    "up[5m]",
                    "",
                    "{a=~\".*\"}",
                ]);
                let path =
                    self.pick(&["/api/v1/series", "/api/v1/labels", "/api/v1/label/job/values"]);
                let parameters =
                    vec![("match[]", selector.to_owned()), ("start", start), ("end", end)];
                Call::get(path, parameters, Check::Value)
            }
            _ => {
                let methods = ["PUT", "DELETE", "OPTIONS", "PATCH"];
                let method = methods[self.random.below(4) as usize];
                let path = self.pick(&[
                    "/api/v1/query",
                    "/api/v1/series",
                    "/api/v1/labels",
                    "/api/v1/write",
                    "/-/ready",
                ]);
                Call { method, ..Call::get(path, Vec::new(), Check::Status) }
            }
        }
    }
}
