//! Tidy: the rules of `docs/ARCHITECTURE.md` and `docs/CONTRIBUTING.md` that neither the compiler nor clippy can check.
//!
//! Each test is one rule. It collects every breach first and then fails with the list, so that one run shows them all. A rule's
//! exceptions are a table beside it, each with its reason; an exception that is not needed any more is a breach too.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::workspace::{TextFile, files, root};

/// Lines past which a file wants a split, or an entry in [`LONG_FILES`].
const LINES_MAX: usize = 800;

/// Files above [`LINES_MAX`], each with the reason why it is one piece.
const LONG_FILES: &[(&str, &str)] = &[];

/// What each crate may depend on within the workspace, and besides that in its tests.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("core", &[], &[]),
    ("query", &["core"], &[]),
    ("ingest", &["core"], &[]),
    ("alerting", &["core", "query"], &[]),
    ("server", &["core", "query", "ingest", "alerting"], &["bench"]),
    ("bench", &["core", "query", "ingest", "alerting"], &[]),
];

/// The only door to the operating system; what may be named there alone.
const RUNTIME: &str = "core/src/runtime";
const RUNTIME_ONLY: &[&str] = &["glommio", "io_uring"];

/// Where no lock may be named: state belongs to one core, and cores talk by messages.
const LOCK_FREE: &[&str] = &["core/src", "query/src", "ingest/src", "alerting/src"];
const LOCKS: &[&str] = &["Mutex", "RwLock", "Condvar", "OnceLock", "LazyLock"];

/// Files outside the runtime and the SIMD kernels that may hold `unsafe`, each with its reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("core/src/model/labels.rs", "labels were checked to be UTF-8 when they were made"),
    ("core/src/published.rs", "what crossbeam-epoch lends under a pin is a raw pointer"),
];

/// Words that speak of how the project was made instead of what it is, and paths of somebody's machine.
const WORDS: &[(&str, &str)] = &[
    (r"(?i)\bissues? #?\d", "a number in somebody's tracker"),
    (r"(?i)\bthis session\b|\bsub-?agent", "how the text was written"),
    (r"(?i)\bCONTRACT\.md\b|\bthe brief\b", "a paper that is not in the repository"),
    (r"(^|[^\w.])/(work|root|home)/", "a path of one machine"),
    (r"todo!\(|unimplemented!\(|#\[ignore", "unfinished work"),
    (r"\b(TODO|FIXME|XXX)\b", "unfinished work"),
];

/// Fails with every breach that was found.
fn assert_none(rule: &str, breaches: &[String]) {
    assert!(
        breaches.is_empty(),
        "{rule}: {} breaches\n  {}",
        breaches.len(),
        breaches.join("\n  ")
    );
}

/// Whether `name` stands in `code` as a word of its own.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].ends_with(word) && !code[at + name.len()..].starts_with(word)
    })
}

/// Where Rust code of `files` names one of `words`.
fn code_that_names<'a>(files: impl Iterator<Item = &'a TextFile>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.filter(|file| file.is(".rs")) {
        for (number, code) in file.code_lines() {
            for word in words.iter().filter(|word| names(&code, word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    found
}

/// Paths in `table` that no file needs as an exception.
fn idle_exceptions(table: &[(&str, &str)], needed: &BTreeSet<String>) -> Vec<String> {
    let idle = |path: &str| format!("{path}: the exception is not needed any more");
    table.iter().filter(|(path, _)| !needed.contains(*path)).map(|(path, _)| idle(path)).collect()
}

#[test]
fn crates_form_the_documented_dag() {
    let mut breaches = Vec::new();
    for (name, normal, for_tests) in CRATES {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml"))
            .expect("each crate of the table has a manifest");
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line.trim();
            } else if let Some(rest) = line.strip_prefix("tidemark-") {
                let on = rest.split(['.', ' ', '=']).next().unwrap_or_default();
                let allowed = normal.contains(&on)
                    || (section == "[dev-dependencies]" && for_tests.contains(&on));
                if !allowed {
                    breaches.push(format!("{name} depends on {on} in {section}"));
                }
            } else if *name != "core"
                && RUNTIME_ONLY.iter().any(|c| line.replace('-', "_").starts_with(c))
            {
                breaches.push(format!("{name}/Cargo.toml: {line}"));
            }
        }
    }
    assert_none("the crates are a DAG", &breaches);
}

#[test]
fn only_the_runtime_names_its_libraries() {
    let files = files();
    let outside = files.iter().filter(|file| !file.under(&[RUNTIME, "bench/tests"]));
    assert_none("named under core/src/runtime alone", &code_that_names(outside, RUNTIME_ONLY));
}

#[test]
fn no_lock_is_named_in_the_data_path() {
    let files = files();
    let data_path = files.iter().filter(|file| file.under(LOCK_FREE) && !file.under(&[RUNTIME]));
    assert_none("no locks", &code_that_names(data_path, LOCKS));
}

#[test]
fn unsafe_stays_in_its_places() {
    let files = files();
    let mut needed = BTreeSet::new();
    let mut breaches = Vec::new();
    for breach in code_that_names(
        files.iter().filter(|file| !file.under(&[RUNTIME]) && !file.path.contains("/simd/")),
        &["unsafe"],
    ) {
        let path = breach.split(':').next().unwrap_or_default();
        if UNSAFE_FILES.iter().any(|(known, _)| *known == path) {
            needed.insert(path.to_owned());
        } else {
            breaches.push(breach);
        }
    }
    breaches.extend(idle_exceptions(UNSAFE_FILES, &needed));
    assert_none("unsafe only in the runtime, SIMD kernels and named files", &breaches);
}

#[test]
fn every_source_file_says_what_it_is() {
    let breaches: Vec<_> = files()
        .iter()
        .filter(|file| file.is(".rs") && !file.text.starts_with("//!"))
        .map(|file| file.path.clone())
        .collect();
    assert_none("a file opens with //!", &breaches);
}

#[test]
fn no_file_grows_past_a_reader() {
    let mut needed = BTreeSet::new();
    let mut breaches = Vec::new();
    for file in files().iter().filter(|file| file.is(".rs") && file.lines().count() > LINES_MAX) {
        if LONG_FILES.iter().any(|(path, _)| *path == file.path) {
            needed.insert(file.path.clone());
        } else {
            breaches.push(format!("{}: {} lines", file.path, file.lines().count()));
        }
    }
    breaches.extend(idle_exceptions(LONG_FILES, &needed));
    assert_none("files of at most 800 lines", &breaches);
}

#[test]
fn texts_speak_of_the_project_alone() {
    let patterns: Vec<_> = WORDS
        .iter()
        .map(|(pattern, what)| (Regex::new(pattern).expect("a valid pattern"), what))
        .collect();
    let mut breaches = Vec::new();
    // This file holds the patterns themselves, and test scripts of other projects keep their words.
    for file in files().iter().filter(|file| !file.under(&["bench/tests/it/", "Cargo.lock"])) {
        for (number, line) in file.lines() {
            for (_, what) in patterns.iter().filter(|(pattern, _)| pattern.is_match(line)) {
                breaches.push(format!("{}:{number}: {what}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none("words", &breaches);
}

/// The relative link targets of a Markdown text with their lines; code blocks are left out.
fn links(file: &TextFile) -> Vec<(usize, String)> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a valid pattern");
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let targets = link.captures_iter(line).map(|capture| capture[1].to_owned());
        found.extend(targets.filter(|to| !to.contains("://")).map(|to| (number, to)));
    }
    found
}

/// The anchors that a Markdown text's headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#')))
        .collect()
}

/// `base/../target` without its dots.
fn resolve(base: &Path, target: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in base.join(target).components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = root();
    let mut breaches = Vec::new();
    for file in files().iter().filter(|file| file.is(".md")) {
        let directory = Path::new(&file.path).parent().expect("a file has a directory");
        for (number, target) in links(file) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let full = if path.is_empty() {
                root.join(&file.path)
            } else {
                root.join(resolve(directory, path))
            };
            let found = full.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&full)
                        .is_ok_and(|text| anchors(&text).contains(anchor)));
            if !found {
                breaches.push(format!("{}:{number}: {target}", file.path));
            }
        }
    }
    assert_none("links", &breaches);
}

#[test]
fn every_format_page_is_there_and_linked() {
    let files = files();
    let page = Regex::new(r"docs/formats/([\w-]+)\.md").expect("a valid pattern");
    let pages: BTreeSet<_> = files
        .iter()
        .filter_map(|f| f.path.strip_prefix("docs/formats/"))
        .map(str::to_owned)
        .collect();

    let mut breaches = Vec::new();
    let mut named_in_code = BTreeSet::new();
    for file in files.iter().filter(|file| file.is(".rs") && !file.under(&["bench/tests"])) {
        for capture in page.captures_iter(&file.text) {
            let name = format!("{}.md", &capture[1]);
            if !pages.contains(&name) {
                breaches
                    .push(format!("{}: names docs/formats/{name}, which is not there", file.path));
            }
            named_in_code.insert(name);
        }
    }
    let linked: BTreeSet<_> = files
        .iter()
        .filter(|file| file.is(".md"))
        .flat_map(|file| {
            let directory =
                Path::new(&file.path).parent().expect("a file has a directory").to_owned();
            links(file).into_iter().map(move |(_, target)| resolve(&directory, &target))
        })
        .collect();
    for name in pages.iter().filter(|name| *name != "README.md") {
        if !named_in_code.contains(name) {
            breaches
                .push(format!("docs/formats/{name}: no source file names it as its format's page"));
        }
        if !linked.contains(&Path::new("docs/formats").join(name)) {
            breaches.push(format!("docs/formats/{name}: no page links to it"));
        }
    }
    assert_none("format pages", &breaches);
}
