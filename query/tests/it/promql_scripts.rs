//! PromQL test scripts against the engine: the project's own, and Prometheus' acceptance tests where they lie beside the
//! workspace (`../shared/promql/testdata`, or `TIDEMARK_PROMQL_TESTDATA`).

use std::path::{Path, PathBuf};

use tidemark_query::promqltest::run_file;

/// How many evaluations of each of Prometheus' files pass. May only rise.
const FLOOR: [(&str, usize); 21] = [
    ("aggregators.test", 160),
    ("at_modifier.test", 78),
    ("collision.test", 2),
    ("duration_expression.test", 59),
    ("extended_vectors.test", 169),
    ("fill-modifier.test", 46),
    ("functions.test", 431),
    ("histograms.test", 185),
    ("info.test", 53),
    ("limit.test", 37),
    ("literals.test", 25),
    ("name_label_dropping.test", 30),
    ("native_histograms.test", 522),
    ("operators.test", 214),
    ("range_queries.test", 18),
    ("selectors.test", 31),
    ("staleness.test", 17),
    ("start_timestamps.test", 26),
    ("subquery.test", 34),
    ("trig_functions.test", 19),
    ("type_and_unit.test", 58),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace")
}

/// The project's own scripts: all pass, on one shard and on several.
#[test]
fn own_scripts() {
    let directory = workspace().join("query/tests/promql");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        for shards in [1, 5] {
            let report = run_file(&path, shards).unwrap();
            let differences = report.first_differences(5);
            assert!(report.passed > 0, "{}: nothing was evaluated", path.display());
            assert_eq!(report.failed(), 0, "{} on {shards} shards:\n{differences}", path.display());
            count += report.passed;
        }
    }
    assert!(count > 120, "{count} evaluations");
}

/// Prometheus' acceptance tests, where they can be had.
#[test]
fn reference_scripts() {
    let given = std::env::var_os("TIDEMARK_PROMQL_TESTDATA").map(PathBuf::from);
    let beside = workspace().parent().map(|parent| parent.join("shared/promql/testdata"));
    let Some(directory) = given.or(beside).filter(|directory| directory.is_dir()) else {
        eprintln!("Prometheus' test scripts are not beside the workspace: nothing to run");
        return;
    };
    for (name, floor) in FLOOR {
        let report = run_file(&directory.join(name), 3).unwrap();
        let differences = report.first_differences(5);
        assert!(report.passed >= floor, "{name}: {} of {floor} pass\n{differences}", report.passed);
    }
}
