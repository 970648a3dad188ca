//! Every query of Prometheus' acceptance tests and of the compliance suite is read, and its canonical text reads the same.
//!
//! The files are another project's and not part of this one: they are looked for in the folder that the environment
//! variable `TIDEMARK_PROMQL_REFERENCE` names, else in `../shared/promql` beside the workspace.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidemark_query::parser::{ParserOptions, parse};

fn reference() -> Option<PathBuf> {
    let folder = match std::env::var_os("TIDEMARK_PROMQL_REFERENCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/promql"),
    };
    let present = folder.is_dir();
    if !present {
        eprintln!("no reference queries at {}", folder.display());
    }
    present.then_some(folder)
}

/// Reads the query and its canonical text; gives the latter.
fn check(query: &str) -> Result<(), String> {
    let read = |text: &str| parse(text, &ParserOptions::ALL).map(|expr| expr.to_string());
    let canonical = read(query).map_err(|error| format!("{query}: {error}"))?;
    match read(&canonical) {
        Ok(again) if again == canonical => Ok(()),
        other => Err(format!("{query}: {canonical}: {other:?}")),
    }
}

/// The expression of an `eval` line of a test script.
fn expression(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("eval")?.split_ascii_whitespace();
    if line[4..].starts_with('_') {
        words.next();
    }
    let skip = match words.next()? {
        "instant" => 2,
        "range" => 6,
        _ => return None,
    };
    let first = words.nth(skip)?;
    let start = first.as_ptr() as usize - line.as_ptr() as usize;
    Some(&line[start..])
}

#[test]
fn acceptance_tests_are_read() {
    let Some(folder) = reference() else { return };
    let mut count = 0;
    for entry in fs::read_dir(folder.join("testdata")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for query in text.lines().filter_map(|line| expression(line.trim())) {
            count += 1;
            check(query).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    assert_eq!(count, 2214);
}

#[derive(Deserialize)]
struct Templates {
    test_cases: Vec<Template>,
}

#[derive(Deserialize)]
struct Template {
    query: String,
    #[serde(default)]
    variant_args: Vec<String>,
    /// Some of these are wrong already as text.
    #[serde(default)]
    should_fail: bool,
}

/// Every combination of the values of the template's variables.
fn expand(template: &Template, values: &HashMap<String, Vec<String>>) -> Vec<String> {
    template.variant_args.iter().fold(vec![template.query.clone()], |queries, name| {
        let hole = format!("{{{{.{name}}}}}");
        let fill =
            |value: &String| queries.iter().map(|q| q.replace(&hole, value)).collect::<Vec<_>>();
        values[name].iter().flat_map(fill).collect()
    })
}

#[test]
fn compliance_queries_are_read() {
    let Some(folder) = reference() else { return };
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    let templates: Templates = serde_saphyr::from_str(&read("promql-test-queries.yml")).unwrap();
    let values = serde_saphyr::from_str(&read("promql-test-variants.yml")).unwrap();
    let valid = templates.test_cases.iter().filter(|template| !template.should_fail);
    let queries: Vec<_> = valid.flat_map(|template| expand(template, &values)).collect();
    assert!(queries.len() > 500, "{}", queries.len());
    for query in &queries {
        check(query).unwrap();
    }
}
