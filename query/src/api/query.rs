//! `query` and `query_range`: requests checked in Prometheus' order, results rendered; and the two endpoints about the
//! text of a query alone.

use tidemark_core::model::time::TimestampMs;
use tidemark_core::shards::Shards;

use super::arrow::{self, ARROW};
use super::json;
use super::params::{Params, bad_data, invalid};
use super::response::{Notes, OPEN, Response, close, failure, success, success_in_pieces};
use super::spread::{self, Spread};
use super::tree_json::tree;
use super::value_json::{self, QueryData};
use crate::parser::ast::Expr;
use crate::parser::quote::quoted;
use crate::parser::{ParserOptions, parse, pretty};
use crate::value::{ErrorType, QueryError, QueryResult, Value};

/// Most steps between the start and the end of a range query.
pub const STEPS_MAX: i64 = 11_000;

const NS_PER_MS: i64 = 1_000_000;

/// What a client may say about any query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    /// The query's text.
    pub query: String,
    /// The greatest number of series in the answer.
    pub limit: Option<usize>,
    /// How long it may take.
    pub timeout_ms: Option<i64>,
    /// How far back an instant selector looks, if not as the server is set.
    pub lookback_ms: Option<i64>,
    /// What the client wrote for `stats`.
    pub stats: String,
    /// Whether the answer is to say what each part of the plan did.
    pub explain: bool,
    /// Whether answers that were kept are of no interest.
    pub no_cache: bool,
}

impl QuerySettings {
    /// `limit` comes first since its error does.
    fn new(params: &Params, limit: Option<usize>) -> Result<Self, QueryError> {
        let timeout_ns = params.duration_ns_if_given("timeout")?;
        let lookback_ns = params.duration_ns_if_given("lookback_delta").map_err(|error| {
            let problem = error.message.replacen("invalid parameter \"lookback_delta\": ", "", 1);
            bad_data(format!("error parsing lookback delta duration: {problem}"))
        })?;
        Ok(QuerySettings {
            query: params.get("query").to_owned(),
            limit,
            timeout_ms: timeout_ns.map(|ns| ns / NS_PER_MS),
            lookback_ms: lookback_ns.map(|ns| ns / NS_PER_MS).filter(|ms| *ms > 0),
            stats: params.get("stats").to_owned(),
            explain: matches!(params.get("explain"), "1" | "true"),
            no_cache: matches!(params.get("nocache"), "1" | "true"),
        })
    }

    /// Whether the cost of each step is asked for.
    pub fn wants_step_stats(&self) -> bool {
        self.stats == "all"
    }

    fn stats_warning(&self) -> Option<String> {
        (!matches!(self.stats.as_str(), "" | "true" | "all")).then(|| {
            format!(
                "value {} for parameter \"stats\" is deprecated and will be rejected in the next \
                 major release, use \"true\" or \"all\"",
                quoted(&self.stats)
            )
        })
    }
}

/// A query at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstantRequest {
    /// When.
    pub time_ms: TimestampMs,
    /// The rest.
    pub settings: QuerySettings,
}

impl InstantRequest {
    /// Reads the request; without a time it is about `now_ms`.
    pub fn new(params: &Params, now_ms: TimestampMs) -> Result<Self, QueryError> {
        let limit = params.limit()?;
        let time_ms = params.time_or("time", now_ms)?;
        Ok(InstantRequest { time_ms, settings: QuerySettings::new(params, limit)? })
    }
}

/// A query at each step of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// The first step.
    pub start_ms: TimestampMs,
    /// No step is after it.
    pub end_ms: TimestampMs,
    /// Distance of the steps; positive.
    pub step_ms: i64,
    /// The rest.
    pub settings: QuerySettings,
}

impl RangeRequest {
    /// Reads the request and bounds the number of its steps.
    pub fn new(params: &Params) -> Result<Self, QueryError> {
        let limit = params.limit()?;
        let start_ms = params.time("start")?;
        let end_ms = params.time("end")?;
        if end_ms < start_ms {
            return Err(invalid("end", "end timestamp must not be before start time"));
        }
        let step_ns = params.duration_ns("step")?;
        let no_step = || {
            invalid(
                "step",
                "zero or negative query resolution step widths are not accepted. Try a positive \
                 integer",
            )
        };
        if step_ns <= 0 {
            return Err(no_step());
        }
        let range_ns = (i128::from(end_ms) - i128::from(start_ms)) * i128::from(NS_PER_MS);
        if range_ns.min(i128::from(i64::MAX)) / i128::from(step_ns) > i128::from(STEPS_MAX) {
            return Err(bad_data(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
                 query resolution (?step=XX)",
            ));
        }
        let step_ms = step_ns / NS_PER_MS;
        // Finer than a millisecond is no step either.
        if step_ms == 0 {
            return Err(no_step());
        }
        let settings = QuerySettings::new(params, limit)?;
        Ok(RangeRequest { start_ms, end_ms, step_ms, settings })
    }
}

/// How a value is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Columns, where the value has them.
    Arrow,
}

impl Format {
    /// What a client prefers that sends this `Accept`; JSON unless it names the other.
    pub fn of(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let weights = accept.split(',').filter_map(|clause| {
                let mut parts = clause.split(';').map(str::trim);
                let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                named.then_some(weight.unwrap_or(1.0))
            });
            weights.fold(0.0, f32::max)
        };
        let arrow = weight(ARROW);
        if arrow > 0.0 && arrow >= weight("application/json") {
            Format::Arrow
        } else {
            Format::Json
        }
    }
}

/// Renders what the engine gave; the text of a large matrix on all cores of `shards`.
pub fn answer(
    result: Result<QueryResult, QueryError>,
    settings: &QuerySettings,
    format: Format,
    shards: &Shards,
) -> Response {
    let QueryResult { mut value, mut warnings, infos, mut stats } = match result {
        Ok(result) => result,
        // What is wrong with the text is wrong with the parameter.
        Err(error) if error.kind == ErrorType::BadData => {
            return failure(&invalid("query", error.message));
        }
        Err(error) => return failure(&error),
    };
    if settings.limit.is_some_and(|limit| value.truncate(limit)) {
        warnings.push("results truncated due to limit".to_owned());
    }
    warnings.extend(settings.stats_warning());
    let explain = stats.explain.take();
    let stats = (!settings.stats.is_empty()).then_some(stats);
    let plain = stats.is_none() && explain.is_none();
    if format == Format::Arrow && plain && arrow::has_columns(&value) {
        return arrow::answer(value, &warnings, &infos).unwrap_or_else(|error| {
            failure(&QueryError::new(ErrorType::Internal, error.to_string()))
        });
    }
    if let Value::Matrix(matrix) = &mut value
        && spread::pays(matrix, shards)
    {
        let (mut head, mut tail) = (OPEN.to_vec(), b"]".to_vec());
        json::raw(&mut head, r#"{"resultType":"matrix","result":["#);
        value_json::write_end(&mut tail, stats.as_ref(), explain.as_deref());
        close(&mut tail, Notes { warnings: &warnings, infos: &infos });
        let spread = Spread::new(shards.clone(), std::mem::take(matrix), tail);
        return Response::spread(head, spread);
    }
    let mut data = QueryData::new(value, stats, explain);
    success_in_pieces(warnings, infos, move |out| data.write(out))
}

fn parsed(params: &Params, options: ParserOptions) -> Result<Expr, QueryError> {
    parse(params.get("query"), &options).map_err(|error| invalid("query", error))
}

/// The query over as many lines as it needs.
pub fn format_query(params: &Params, options: ParserOptions) -> Response {
    match parsed(params, options) {
        Ok(expr) => success(Notes::default(), |out| json::html_safe_string(out, &pretty(&expr))),
        Err(error) => failure(&error),
    }
}

/// The query's syntax tree.
pub fn parse_query(params: &Params, options: ParserOptions) -> Response {
    match parsed(params, options) {
        Ok(expr) => success(Notes::default(), |out| tree(out, &expr)),
        Err(error) => failure(&error),
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::model::labels::Labels;

    use super::*;
    use crate::value::{QueryStats, SampleValue, VectorSample};
    use tidemark_core::runtime::sim;

    fn range_error(query: &str) -> String {
        RangeRequest::new(&Params::parse(query, b"")).unwrap_err().message
    }

    #[test]
    fn ranges_are_checked_in_order() {
        for (query, expected) in [
            ("limit=x", r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#),
            ("", r#"invalid parameter "start": cannot parse "" to a valid timestamp"#),
            ("start=1", r#"invalid parameter "end": cannot parse "" to a valid timestamp"#),
            (
                "start=2&end=1",
                r#"invalid parameter "end": end timestamp must not be before start time"#,
            ),
            ("start=1&end=2", r#"invalid parameter "step": cannot parse "" to a valid duration"#),
            (
                "start=1&end=2&step=0",
                r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
            (
                "start=0&end=0&step=1e-9",
                r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
            (
                "start=0&end=1&step=1e-9",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
            (
                "start=0&end=11001&step=1",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
            (
                "start=0&end=1&step=1&timeout=x",
                r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#,
            ),
            (
                "start=0&end=1&step=1&lookback_delta=x",
                r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
            ),
        ] {
            assert_eq!(range_error(query), expected);
        }
        let fine =
            RangeRequest::new(&Params::parse("query=up&start=0&end=11000&step=1&timeout=5s", b""));
        let fine = fine.unwrap();
        assert_eq!((fine.start_ms, fine.end_ms, fine.step_ms), (0, 11_000_000, 1000));
        assert_eq!(fine.settings.timeout_ms, Some(5000));
    }

    #[test]
    fn results_are_cut_to_the_limit() {
        let request =
            InstantRequest::new(&Params::parse("query=up&limit=1&stats=yes", b""), 7).unwrap();
        assert_eq!(request.time_ms, 7);
        let sample = VectorSample {
            labels: Labels::empty(),
            timestamp_ms: 0,
            value: SampleValue::Float(1.0),
        };
        let result = QueryResult {
            value: Value::Vector(vec![sample; 2]),
            warnings: vec![],
            infos: vec![],
            stats: QueryStats::default(),
        };
        let answer = sim::run(1, async move {
            answer(Ok(result), &request.settings, Format::Json, &Shards::local(Vec::new()))
        });
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains(r#""result":[{"metric":{},"value":[0,"1"]}],"stats""#), "{text}");
        assert!(text.contains(r#"["results truncated due to limit","value \"yes\" for"#), "{text}");
    }

    #[test]
    fn columns_are_for_who_prefers_them() {
        for (accept, expected) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("application/json", Format::Json),
            ("application/vnd.apache.arrow.stream", Format::Arrow),
            ("application/vnd.apache.arrow.stream;q=0", Format::Json),
            ("application/json;q=0.5, Application/vnd.apache.arrow.stream; q=0.9", Format::Arrow),
            ("application/json, application/vnd.apache.arrow.stream;q=0.9", Format::Json),
            ("application/vnd.apache.arrow.stream, application/json", Format::Arrow),
        ] {
            assert_eq!(Format::of(accept), expected, "{accept}");
        }
    }

    #[test]
    fn texts_alone() {
        let options = ParserOptions::default();
        let formatted = format_query(&Params::parse("query=sum(a)+by+(b)", b""), options);
        assert_eq!(formatted.body, r#"{"status":"success","data":"sum by (b) (a)"}"#);
        let bad = parse_query(&Params::parse("query=1%2B", b""), options);
        assert_eq!(bad.status, 400);
        assert_eq!(
            bad.body,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:3: parse error: unexpected end of input"}"#
        );
    }
}
