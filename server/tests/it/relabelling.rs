//! Relabelling by random rules of random targets: the same targets and labels as a real Prometheus makes of them.
//!
//! Both load one configuration in which nothing is ever scraped, and show their targets. `TIDEMARK_RELABEL_PAIRS` says of how many
//! pairs of rules and labels, `TIDEMARK_SEED` with which seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemark_core::runtime::sim::Random;

use crate::components::prometheus;
use crate::harness::{SOON, Tidemark, api};

/// Targets of one job, which share its rules.
const TARGETS_PER_JOB: u64 = 20;

const NAMES: &[&str] = &["a", "b", "c", "__meta_x", "__meta_y_a", "__tmp", "job", "env"];
const VALUES: &[&str] =
    &["", "a", "b", "ab", "abc", "A_b", "a1", "x-y", "a;b", "Äß", "1", "a.b:80"];
const PATTERNS: &[&str] = &[
    "(.*)",
    "a",
    "(a)(b?)(.*)",
    "a|b",
    "([a-z]+)[0-9]*",
    ".+;.*",
    "(.+):(\\d+)",
    "",
    "^a$",
    "__meta_(.+)",
    "[a-c]",
    "(?i:A).*",
    "(?P<word>\\w+).*",
    "__tmp|b",
];
const TARGET_LABELS: &[&str] =
    &["a", "b", "to", "to_$1", "${1}_x", "env", "job", "__tmp", "instance"];
const REPLACEMENTS: &[&str] =
    &["$1", "${1}-$2", "fixed", "", "$2$1", "${word}", "$$1", "x$1y", "$1_$3", "$0"];
const SEPARATORS: &[&str] = &[";", "", "-", "@@"];
const ACTIONS: &[&str] = &[
    "replace",
    "replace",
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

/// Text as YAML takes it between quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One rule that a Prometheus loads, whatever it makes of targets.
fn rule(random: &mut Random) -> String {
    let action = pick(random, ACTIONS);
    let mut fields = vec![format!("action: {action}")];
    let sources: Vec<_> = (0..random.below(3)).map(|_| pick(random, NAMES)).collect();
    let source = format!("source_labels: [{}]", sources.join(", "));
    let plain_target =
        |random: &mut Random| format!("target_label: {}", pick(random, &["a", "b", "to", "env"]));
    match action {
        // No two labels become one, whose value would be that of either.
        "labelmap" => {
            let pattern = pick(random, &["__meta_(.+)", "(a|b)", "(c|env)", "_?(_tmp)"]);
            let replacement = pick(random, &["$1", "m_$1", "${1}_m"]);
            fields.push(format!("regex: {}", quoted(pattern)));
            fields.push(format!("replacement: {}", quoted(replacement)));
        }
        "labeldrop" | "labelkeep" => {
            let patterns =
                ["__meta_(.+)", "a|b|__address__", "(.)", "e(n)v", "__.*|job|a", "[^j]+"];
            fields.push(format!("regex: {}", quoted(pick(random, &patterns))));
        }
        "keepequal" | "dropequal" | "lowercase" | "uppercase" => {
            fields.extend([source, plain_target(random)]);
        }
        "hashmod" => {
            let modulus = format!("modulus: {}", 1 + random.below(20));
            fields.extend([source, plain_target(random), modulus]);
        }
        _ => {
            fields.push(source);
            fields.push(format!("regex: {}", quoted(pick(random, PATTERNS))));
            fields.push(format!("separator: {}", quoted(pick(random, SEPARATORS))));
            if action == "replace" {
                fields.push(format!("target_label: {}", quoted(pick(random, TARGET_LABELS))));
                fields.push(format!("replacement: {}", quoted(pick(random, REPLACEMENTS))));
            }
        }
    }
    format!("{{{}}}", fields.join(", "))
}

/// Jobs with `pairs` targets in all.
fn configuration(random: &mut Random, pairs: u64) -> String {
    let mut text =
        "global: {scrape_interval: 10h, scrape_timeout: 10s}\nscrape_configs:\n".to_owned();
    for job in 0..pairs.div_ceil(TARGETS_PER_JOB) {
        let rules: Vec<_> = (0..=random.below(4)).map(|_| rule(random)).collect();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "- job_name: j{job}\n  relabel_configs: [{}]", rules.join(", "));
        text.push_str("  static_configs:\n");
        for target in 0..TARGETS_PER_JOB {
            let mut labels = BTreeMap::from([("__meta_number", target.to_string())]);
            for _ in 0..random.below(5) {
                labels.insert(pick(random, NAMES), pick(random, VALUES).to_owned());
            }
            let labels: Vec<_> =
                labels.iter().map(|(n, v)| format!("{n}: {}", quoted(v))).collect();
            let _ = writeln!(
                text,
                "  - {{targets: ['127.0.0.1:{}'], labels: {{{}}}}}",
                1 + target,
                labels.join(", ")
            );
        }
    }
    text
}

/// What targets are compared by: the job, their labels, and where they are scraped. Those that are dropped are the others.
type Shown = BTreeSet<[String; 3]>;

fn shown(targets: &Value) -> Shown {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let active = targets["activeTargets"].as_array().into_iter().flatten();
    let of = |target: &Value| {
        [text(&target["scrapePool"]), target["labels"].to_string(), text(&target["scrapeUrl"])]
    };
    active.map(of).collect()
}

#[test]
fn random_rules_make_the_targets_that_prometheus_makes() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (pairs, seed) = (number("TIDEMARK_RELABEL_PAIRS", 400), number("TIDEMARK_SEED", 1));
    let config = configuration(&mut Random::new(seed), pairs);
    let prometheus = prometheus(&config);
    // Debian's Prometheus knows only names that need no quotes.
    let legacy = "global: {metric_name_validation_scheme: legacy, ";
    let tidemark = Tidemark::start(&config.replacen("global: {", legacy, 1));
    let only = |these: &Shown, those: &Shown| {
        let only = these.difference(those).take(5).map(|target| {
            let job = format!("- job_name: {}\n  relabel_configs:", target[0]);
            let rules = config.split(&job).nth(1).and_then(|rest| rest.lines().next());
            format!("  {target:?} by{}\n", rules.unwrap_or_default())
        });
        only.collect::<String>()
    };
    // Both make targets by and by, Prometheus some seconds after it is ready.
    let began = Instant::now();
    let enough = |targets: &Shown| targets.len() as u64 > pairs / 4;
    let ours = loop {
        let ours = shown(&api(tidemark.url(), "/api/v1/targets", &[]));
        let theirs = shown(&api(prometheus.url(), "/api/v1/targets", &[]));
        if ours == theirs && enough(&ours) {
            break ours;
        }
        assert!(
            began.elapsed() < SOON,
            "seed {seed}\nonly ours:\n{}only theirs:\n{}",
            only(&ours, &theirs),
            only(&theirs, &ours)
        );
        std::thread::sleep(Duration::from_millis(500));
    };
    let dropped = api(tidemark.url(), "/api/v1/targets", &[("state", "dropped")]);
    let dropped = dropped["droppedTargets"].as_array().map_or(0, Vec::len) as u64;
    assert!(dropped > pairs / 20, "{} are scraped and {dropped} dropped of {pairs}", ours.len());
}
