//! What is meant to differ from a Prometheus 2.42, by name, each with how it is told and why.
//!
//! What can be said to 2.42 in its own words is not here but in [`dialect`](super::dialect). A predicate is as narrow as it can be:
//! it looks at the call and at both answers.

use super::call::Call;
use super::compare::Said;
use super::dialect;

/// One of them.
pub(super) struct Difference {
    /// Its name.
    pub(super) name: &'static str,
    /// Why it is meant.
    pub(super) reason: &'static str,
    /// Whether it explains what two answers to a call say.
    pub(super) explains: fn(&Call, &Said, &Said) -> bool,
}

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "young counters",
        reason: "Prometheus 3 looks first whether a window has a sample near its edge, then how long the counter takes to come \
                 from zero; 2.42 the other way round. Only values near zero show it.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            let near_zero = ["young_total", "temperature", "lonely", "odd", "churn", "up", "("];
            both_answer(ours, theirs)
                && ["rate(", "increase("].iter().any(|function| {
                    query.match_indices(function).any(|(at, _)| {
                        let argument = &query[at + function.len()..];
                        !query[..at].ends_with('i')
                            && near_zero.iter().any(|name| argument.starts_with(name))
                    })
                })
        },
    },
    Difference {
        name: "atan2 drops the name",
        reason: "2.42 keeps the metric's name where the other side is a scalar, unlike with every other arithmetic operator.",
        explains: |call, ours, theirs| {
            call.parameter("query").contains("atan2")
                && (both_answer(ours, theirs) || is_same_labelset(ours, theirs))
        },
    },
    Difference {
        name: "deviation of what is not finite",
        reason: "2.42 gives 0 for the standard deviation of a single NaN or infinity, 3 gives NaN.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            both_answer(ours, theirs) && (query.contains("stddev") || query.contains("stdvar"))
        },
    },
    Difference {
        name: "dates of no time",
        reason: "The year of an infinity is whatever a processor makes of converting it to an integer.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            let functions = ["year(", "month(", "hour(", "minute(", "day_of_"];
            both_answer(ours, theirs) && functions.iter().any(|function| query.contains(function))
        },
    },
    Difference {
        name: "the wrong parameter is named",
        reason: "2.42 says of a range query's text what is wrong with it, 3 also that it is the parameter \"query\".",
        explains: |_, ours, theirs| {
            let rest = ours.error().strip_prefix("invalid parameter \"query\": ");
            rest.is_some_and(|rest| rest == theirs.error() || rest == without_first_place(theirs))
        },
    },
    Difference {
        name: "small letters",
        reason: "\"Invalid time value\" became \"invalid time value\".",
        explains: |_, ours, theirs| {
            theirs.error().replace("Invalid time value", "invalid time value") == ours.error()
        },
    },
    Difference {
        name: "an empty query has no position",
        reason: "2.42 names line 1, column 1 of it.",
        explains: |_, ours, theirs| ours.error() == without_first_place(theirs),
    },
    Difference {
        name: "a longer text has other columns",
        reason: "What is said to 2.42 in its own words is longer or shorter, and columns after it are others.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            dialect::ours(query) != dialect::theirs(query)
                && without_places(ours.error())
                    .replace("double_exponential_smoothing", "holt_winters")
                    .ends_with(&without_places(theirs.error()))
        },
    },
    Difference {
        name: "names in quotes",
        reason: "3 takes the names of metrics and labels in quotes between braces.",
        explains: |_, _, theirs| {
            let places = ["in label matching", "in grouping opts"];
            theirs.error().contains("unexpected string")
                && places.iter().any(|place| theirs.error().contains(place))
        },
    },
    Difference {
        name: "names with colons as labels",
        reason: "To 3 every text is the name of a label, `:` too; 2.42 says that it is a metric's.",
        explains: |_, _, theirs| {
            theirs.error().contains("unexpected metric identifier")
                && theirs.error().contains("in grouping opts")
        },
    },
    Difference {
        name: "letters between brackets",
        reason: "3 says which letter is no part of a duration; 2.42 complains of a colon that is not there.",
        explains: |_, ours, theirs| {
            theirs.error().contains("unexpected colon") && ours.error().contains("parse error")
        },
    },
    Difference {
        name: "regular expressions as they were written",
        reason: "2.42 shows them as it wraps them to anchor them.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            // What is said to 2.42 in its own words has other columns.
            let same_text = dialect::ours(query) == dialect::theirs(query);
            let before = |said: &Said| {
                let (before, _) = said.error().split_once("error parsing regexp")?;
                Some(if same_text { before.to_owned() } else { without_places(before) })
            };
            before(ours).is_some() && before(ours) == before(theirs)
        },
    },
    Difference {
        name: "where the time ran out",
        reason: "Of a query without any time left, Go chooses by lot whether it waits for its turn or has it.",
        explains: |_, ours, theirs| {
            theirs.error() == "query timed out in query queue"
                && ours.error() == "query timed out in query execution"
        },
    },
    Difference {
        name: "functions called start and end",
        reason: "They stand for the times of the query; 2.42 knows the words after `@` alone.",
        explains: |call, _, theirs| {
            let query = call.parameter("query");
            theirs.error().contains("parse error")
                && ["start()", "end()"].iter().any(|name| {
                    query.match_indices(name).any(|(at, _)| !query[..at].ends_with("@ "))
                })
        },
    },
    Difference {
        name: "the first of several mistakes",
        reason: "Series that match several ways are wrong in several words; steps and series are not looked at in the same order.",
        explains: |_, ours, theirs| {
            let matching =
                ["multiple matches for labels", "found duplicate series", "same labelset"];
            ours.status == 422
                && theirs.status == 422
                && [ours, theirs]
                    .iter()
                    .all(|said| matching.iter().any(|words| said.error().contains(words)))
        },
    },
    Difference {
        name: "numbers that are none",
        reason: "3 reads numbers and durations by one rule, and says so.",
        explains: |_, ours, theirs| {
            theirs.error().contains("error parsing number") && ours.error().contains("parse error")
                || ours.error().contains("bad number or duration syntax")
                    && theirs.error().contains("parse error")
        },
    },
    Difference {
        name: "steps finer than a millisecond",
        reason: "Times have milliseconds; 2.42 divides by a step of none of them.",
        explains: |call, ours, _| {
            let step = call.parameter("step").parse::<f64>();
            ours.error().contains("zero or negative query resolution step")
                && step.is_ok_and(|step| step > 0.0 && step < 1e-3)
        },
    },
    Difference {
        name: "several matches, all of which a comparison leaves out",
        reason: "3 refuses what matches more than once also where the comparison would drop it.",
        explains: |call, ours, theirs| {
            ours.error().contains("multiple matches for labels")
                && theirs.is_success()
                && ["<", ">", "==", "!="].iter().any(|op| call.parameter("query").contains(op))
        },
    },
    Difference {
        name: "a sign before series that take turns",
        reason: "Series that are the same without their names, of which one ends before the other begins, are one to 3; to 2.42 they \
                 are in the way of each other behind a minus alone.",
        explains: |call, ours, theirs| {
            let query = call.parameter("query");
            ours.is_success()
                && theirs.error() == "vector cannot contain metrics with the same labelset"
                && (call.path.ends_with("/query_range") || query.contains(':'))
                && query.contains("-(")
        },
    },
    Difference {
        name: "series cannot be deleted by DELETE",
        reason: "2.42 has a handler for it, which says that it is not implemented; 3 has none.",
        explains: |call, ours, theirs| {
            call.method == "DELETE" && (ours.status, theirs.status) == (405, 500)
        },
    },
    Difference {
        name: "durations are numbers and expressions",
        reason: "3 takes `[300]`, `offset 2 * 5m` and the like, and complains in other words of what is no duration either.",
        explains: |_, ours, theirs| {
            ["duration", "subquery or range"].iter().any(|words| theirs.error().contains(words))
                && (ours.is_success() || ours.error().contains("parse error"))
        },
    },
    Difference {
        name: "durations as arguments",
        reason: "To 3 a duration is a number, and what is wrong comes later; 2.42 takes the comma before it for the last.",
        explains: |call, ours, theirs| {
            let is_duration = |text: &str| {
                let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
                unit.len() < text.len() && unit.starts_with(['s', 'm', 'h', 'd', 'w', 'y'])
            };
            theirs.error().contains("trailing commas not allowed")
                && ours.error().contains("parse error")
                && call
                    .parameter("query")
                    .split(',')
                    .skip(1)
                    .any(|text| is_duration(text.trim_start()))
        },
    },
    Difference {
        name: "words for tokens",
        reason: "2.42 calls some operators in its messages by the numbers that its parser has for them.",
        explains: |_, ours, theirs| {
            let Some((before, rest)) = theirs.error().split_once("\"<Item ") else { return false };
            let after = rest.split_once("\" ").map_or("", |(_, after)| after);
            format!("{before}{after}") == ours.error()
        },
    },
    Difference {
        name: "numbers are laid out without exponent",
        reason: "`format_query` of 3 writes 0.00000015 where 2.42 writes 1.5e-07.",
        explains: |call, ours, theirs| {
            let text = |said: &Said| said.body["data"].as_str().unwrap_or("").to_owned();
            call.path.ends_with("/format_query")
                && text(theirs).replace("1.5e-07", "0.00000015") == text(ours)
        },
    },
    Difference {
        name: "names of any UTF-8 text",
        reason: "To 3 every text is the name of a label, and a path may escape it (`U__...`); 2.42 refuses `a-b`.",
        explains: |call, _, theirs| {
            call.path.contains("/label/a-b/")
                || call.path.contains("/label/U__")
                || [
                    "invalid source label name",
                    "invalid destination label name",
                    "invalid label name",
                ]
                .iter()
                .any(|words| theirs.error().contains(words))
        },
    },
    Difference {
        name: "times that no clock shows",
        reason: "2.42 makes some time of NaN, infinities and numbers past 64 bits, whatever the processor gives; here they are an error.",
        explains: |call, ours, _| {
            ours.status == 400
                && ["to a valid timestamp", "to a valid duration"]
                    .iter()
                    .any(|words| ours.error().contains(words))
                && ["start", "end", "time", "timeout", "step"].iter().any(|name| {
                    let value = call.parameter(name).parse::<f64>();
                    value.is_ok_and(|t| t.is_nan() || t.abs() >= 9.2e15)
                })
        },
    },
    Difference {
        name: "each has its own flags",
        reason: "What a flag is called follows from what there is to set.",
        explains: |call, ours, theirs| {
            call.path.ends_with("/status/flags") && both_answer(ours, theirs)
        },
    },
];

/// Whether both gave a value.
fn both_answer(ours: &Said, theirs: &Said) -> bool {
    ours.is_success() && theirs.is_success()
}

/// Whether one of them complains that two series became the same.
fn is_same_labelset(ours: &Said, theirs: &Said) -> bool {
    [ours, theirs].iter().any(|said| said.error().contains("same labelset"))
}

/// An error of 2.42 as 3 says it of an empty text.
fn without_first_place(theirs: &Said) -> String {
    theirs.error().replace("1:1: parse error", "unknown position: parse error")
}

/// An error without lines and columns.
fn without_places(error: &str) -> String {
    error.replace(|c: char| c.is_ascii_digit(), "")
}
