//! Random PromQL: expressions that both versions know, of every kind, mostly with a result.
//!
//! An expression is text in the dialect of Prometheus 3. Ranges stand between `‹` and `›`, so that
//! [`theirs`](super::dialect::theirs) finds them.

use tidemark_core::runtime::sim::Random;

use super::store::{END_MS, START_MS};

/// Deepest nesting.
const DEPTH_MAX: u32 = 4;

/// What the random expressions of one query may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edges {
    /// Window edges fall between samples: everything goes.
    Between,
    /// They may fall on samples: no function that extrapolates to the edge.
    OnSamples,
}

/// Makes expressions.
pub(super) struct Generator<'a> {
    random: &'a mut Random,
    edges: Edges,
    subqueries: u32,
}

const METRICS: &[&str] = &[
    "requests_total",
    "requests_total",
    "temperature",
    "temperature",
    "memory_bytes",
    "up",
    "odd",
    "lonely",
    "churn",
    "latency_seconds_count",
    "latency_seconds_sum",
    "latency_seconds_bucket",
    "young_total",
    "missing",
];
const LABELS: &[&str] = &["job", "instance", "method", "code", "zone", "le", "pod", "kind", "nope"];
const MATCHERS: &[&str] = &[
    r#"job="api""#,
    r#"job!="api""#,
    r#"job=~"a.*|w.+""#,
    r#"instance="a:80""#,
    r#"instance=~"[ab]:80""#,
    r#"instance!~"a.*""#,
    r#"method="GET""#,
    r#"code=~"2..|5..""#,
    r#"code!~"4..""#,
    r#"zone=~".+""#,
    r#"zone="""#,
    r#"zone!="""#,
    r#"pod=~"p[0-4]""#,
    r#"nope="""#,
    r#"le="+Inf""#,
    "kind='x'",
];
const DURATIONS: &[&str] = &["30s", "1m", "5m", "7m30s", "15m", "1h"];
const OFFSETS: &[&str] = &["30s", "1m", "-1m", "5m", "20m", "-10m"];

/// Functions of an instant vector alone.
const OF_VECTOR: &[&str] = &[
    "abs",
    "ceil",
    "floor",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "round",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "deg",
    "rad",
    "timestamp",
    "absent",
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "sort",
    "sort_desc",
];

/// Functions of a range vector alone.
const OF_RANGE: &[&str] = &[
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "changes",
    "resets",
    "irate",
    "idelta",
    "deriv",
];

/// Those that extrapolate to the edges of the window.
const EXTRAPOLATING: &[&str] = &["rate", "increase", "delta"];

const AGGREGATIONS: &[&str] =
    &["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "sum", "count"];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISON: &[&str] = &["==", "!=", ">", "<", ">=", "<="];
const SETS: &[&str] = &["and", "or", "unless"];
const NUMBERS: &[&str] =
    &["0", "1", "2", "-1", "0.5", "1e3", "100", "NaN", "Inf", "-Inf", "0x1f", "1.5e-7"];

impl<'a> Generator<'a> {
    /// A generator that draws from `random`.
    pub(super) fn new(random: &'a mut Random, edges: Edges) -> Self {
        Generator { random, edges, subqueries: 0 }
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.random.below(from.len() as u64) as usize]
    }

    /// An expression whose value is an instant vector or a scalar.
    pub(super) fn any(&mut self) -> String {
        if self.random.chance(8) { self.scalar(DEPTH_MAX) } else { self.vector(DEPTH_MAX) }
    }

    /// A range selector, which only an instant query may have at its top.
    pub(super) fn range_selector(&mut self) -> String {
        self.range(1, false)
    }

    /// A selector without a range or modifiers.
    pub(super) fn plain_selector(&mut self) -> String {
        let matchers = self.random.below(3);
        let matchers: Vec<_> = (0..matchers).map(|_| self.pick(MATCHERS)).collect();
        if !matchers.is_empty() && self.random.chance(10) {
            let named = r#"__name__=~"requests_.*|temp.*""#;
            let named = if self.random.chance(50) { named } else { r#"job=~".+""# };
            return format!("{{{named},{}}}", matchers.join(","));
        }
        let metric = self.pick(METRICS);
        if matchers.is_empty() {
            metric.to_owned()
        } else {
            format!("{metric}{{{}}}", matchers.join(", "))
        }
    }

    fn modifiers(&mut self) -> String {
        match self.random.below(100) {
            0..12 => format!(" offset {}", self.pick(OFFSETS)),
            12..17 => format!(" @ {}", self.moment()),
            17..19 => format!(" @ {} offset {}", self.moment(), self.pick(OFFSETS)),
            19..21 => format!(" offset {} @ {}", self.pick(OFFSETS), self.moment()),
            _ => String::new(),
        }
    }

    fn moment(&mut self) -> String {
        match self.random.below(3) {
            0 => "start()".to_owned(),
            1 => "end()".to_owned(),
            _ => {
                let span = (END_MS - START_MS) as u64 / 1000;
                format!("{}.5", START_MS / 1000 + self.random.below(span) as i64)
            }
        }
    }

    fn selector(&mut self) -> String {
        self.plain_selector() + &self.modifiers()
    }

    /// A range selector or a subquery. Functions that extrapolate get no subquery inside another: its steps are whole seconds,
    /// and so would be the edges.
    fn range(&mut self, depth: u32, extrapolates: bool) -> String {
        let exact = if extrapolates { ["", ""] } else { ["‹", "›"] };
        let wrap = |duration: &str| format!("{}{duration}{}", exact[0], exact[1]);
        if depth > 0 && self.subqueries < 2 && self.random.chance(15) {
            if extrapolates && self.subqueries > 0 {
                return format!("{}[{}]", self.plain_selector(), self.pick(DURATIONS));
            }
            self.subqueries += 1;
            let inner = self.vector(depth - 1);
            self.subqueries -= 1;
            let range = wrap(self.pick(&["2m", "5m", "10m"]));
            let step = self.pick(&["", "15s", "30s", "1m"]);
            return format!("({inner})[{range}:{step}]{}", self.modifiers());
        }
        let range = wrap(self.pick(DURATIONS));
        format!("{}[{range}]{}", self.plain_selector(), self.modifiers())
    }

    fn scalar(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(NUMBERS).to_owned();
        }
        match self.random.below(10) {
            0 => "time()".to_owned(),
            1 => "pi()".to_owned(),
            2 => format!("scalar({})", self.vector(depth - 1)),
            3 => {
                let op = self.pick(ARITHMETIC);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            4 => {
                let op = self.pick(COMPARISON);
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            5 => format!("-({})", self.scalar(depth - 1)),
            _ => self.pick(NUMBERS).to_owned(),
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector();
        }
        match self.random.below(100) {
            0..14 => self.selector(),
            14..26 => {
                let function = self.pick(OF_VECTOR);
                format!("{function}({})", self.vector(depth - 1))
            }
            26..42 => self.over_time(depth),
            42..60 => self.aggregation(depth),
            60..80 => self.binary(depth),
            80..84 => format!("-({})", self.vector(depth - 1)),
            84..88 => self.labels_changed(depth),
            88..91 => self.quantile(),
            91..93 => format!("vector({})", self.scalar(depth - 1)),
            93..96 => self.clamped(depth),
            96..97 => self.pick(&["minute()", "hour()", "day_of_year()", "year()"]).to_owned(),
            _ => format!("({})", self.vector(depth - 1)),
        }
    }

    fn over_time(&mut self, depth: u32) -> String {
        match self.random.below(100) {
            0..30 if self.edges == Edges::Between => {
                let function = self.pick(EXTRAPOLATING);
                format!("{function}({})", self.range(depth, true))
            }
            30..36 => {
                let phi = self.pick(&["0.5", "0.9", "0", "1", "-1", "2", "NaN"]);
                format!("quantile_over_time({phi}, {})", self.range(depth, false))
            }
            36..41 => {
                let seconds = self.pick(&["60", "-300", "3600"]);
                format!("predict_linear({}, {seconds})", self.range(depth, false))
            }
            41..45 => format!(
                "double_exponential_smoothing({}, 0.{}, 0.{})",
                self.range(depth, false),
                1 + self.random.below(9),
                1 + self.random.below(9)
            ),
            _ => {
                let function = self.pick(OF_RANGE);
                format!("{function}({})", self.range(depth, false))
            }
        }
    }

    fn label_list(&mut self) -> String {
        let count = self.random.below(4);
        let labels: Vec<_> = (0..count).map(|_| self.pick(LABELS)).collect();
        labels.join(", ")
    }

    fn grouping(&mut self) -> String {
        match self.random.below(10) {
            0..2 => String::new(),
            2..7 => format!(" by ({})", self.label_list()),
            _ => format!(" without ({})", self.label_list()),
        }
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let grouping = self.grouping();
        match self.random.below(100) {
            // Only of values that differ from each other: which of equal ones are taken is nobody's promise.
            0..10 => {
                let k = self.pick(&["1", "2", "5", "0", "-1", "100"]);
                let which = self.pick(&["topk", "bottomk"]);
                let inner = self.pick(&["temperature", "memory_bytes", "requests_total"]);
                format!("{which}{grouping} ({k}, {inner}{})", self.modifiers())
            }
            10..17 => {
                let phi = self.pick(&["0.5", "0.9", "0", "1", "-1", "2", "NaN"]);
                format!("quantile{grouping} ({phi}, {})", self.vector(depth - 1))
            }
            17..21 => {
                format!("count_values{grouping} (\"value\", {})", self.vector(depth - 1))
            }
            _ => {
                let which = self.pick(AGGREGATIONS);
                format!("{which}{grouping} ({})", self.vector(depth - 1))
            }
        }
    }

    fn binary(&mut self, depth: u32) -> String {
        let (left, right) = match self.random.below(10) {
            0..2 => (self.scalar(depth - 1), self.vector(depth - 1)),
            2..5 => (self.vector(depth - 1), self.scalar(depth - 1)),
            5..8 => {
                // The same series on both sides, which match one by one.
                let one = self.vector(depth - 1);
                return format!("({one}) {} ({one})", self.pick(ARITHMETIC));
            }
            _ => return self.joined(depth),
        };
        if self.random.chance(70) {
            return format!("({left}) {} ({right})", self.pick(ARITHMETIC));
        }
        let bool = self.pick(&["", " bool"]);
        format!("({left}) {}{bool} ({right})", self.pick(COMPARISON))
    }

    /// Two vectors, matched by some labels.
    fn joined(&mut self, depth: u32) -> String {
        let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
        let matching = match self.random.below(6) {
            0..3 => format!(" on ({})", self.label_list()),
            3..5 => format!(" ignoring ({})", self.label_list()),
            _ => String::new(),
        };
        if self.random.chance(40) {
            return format!("({left}) {}{matching} ({right})", self.pick(SETS));
        }
        let group = match self.random.below(4) {
            0 if !matching.is_empty() => " group_left ()".to_owned(),
            1 if matching.starts_with(" on") => {
                format!(" group_right ({})", self.pick(&["", "zone", "nope"]))
            }
            _ => String::new(),
        };
        if self.random.chance(70) {
            return format!("({left}) {}{matching}{group} ({right})", self.pick(ARITHMETIC));
        }
        let bool = self.pick(&["", " bool"]);
        format!("({left}) {}{bool}{matching}{group} ({right})", self.pick(COMPARISON))
    }

    fn labels_changed(&mut self, depth: u32) -> String {
        let inner = self.vector(depth - 1);
        let (to, from) = (self.pick(&["target", "job", "zone", "__name__"]), self.pick(LABELS));
        if self.random.chance(60) {
            let with = self.pick(&["$1", "x-$1", "$name", "", "${1}y", "$0"]);
            let pattern = self.pick(&["(.*)", "(a).*", "(?P<name>[a-z]+).*", "nothing", ""]);
            return format!(
                "label_replace({inner}, \"{to}\", \"{with}\", \"{from}\", \"{pattern}\")"
            );
        }
        let other = self.pick(LABELS);
        format!("label_join({inner}, \"{to}\", \"-\", \"{from}\", \"{other}\")")
    }

    fn quantile(&mut self) -> String {
        let phi = self.pick(&["0.5", "0.9", "0.99", "0", "1", "-1", "1.1", "NaN"]);
        let buckets = match self.random.below(3) {
            0 => "latency_seconds_bucket".to_owned(),
            1 if self.edges == Edges::Between => {
                format!("rate(latency_seconds_bucket[{}])", self.pick(DURATIONS))
            }
            _ => format!("sum by (le, {}) (latency_seconds_bucket)", self.pick(LABELS)),
        };
        format!("histogram_quantile({phi}, {buckets})")
    }

    fn clamped(&mut self, depth: u32) -> String {
        let inner = self.vector(depth - 1);
        match self.random.below(4) {
            0 => format!("clamp({inner}, {}, {})", self.scalar(1), self.scalar(1)),
            1 => format!("clamp_min({inner}, {})", self.scalar(1)),
            2 => format!("clamp_max({inner}, {})", self.scalar(1)),
            _ => format!("round({inner}, {})", self.pick(&["5", "0.1", "0", "-2", "1e3"])),
        }
    }
}
