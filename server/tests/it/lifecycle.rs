//! Start, reload, stop: signals, exit codes, and what is still there afterwards.

use std::time::Duration;

use crate::exporter::Exporter;
use crate::harness::{Tidemark, api, eventually, now_ms, value, vector};
use crate::remote_write::{series, write};

fn config(jobs: &[(&str, &str)]) -> String {
    let job = |(name, address): &(&str, &str)| {
        format!("- {{job_name: {name}, static_configs: [{{targets: ['{address}']}}]}}\n")
    };
    let jobs: String = jobs.iter().map(job).collect();
    format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}")
}

#[test]
fn sighup_takes_the_new_configuration() {
    let (first, second) = (Exporter::with_text("first 1\n"), Exporter::with_text("second 2\n"));
    let tidemark = Tidemark::start(&config(&[("first", first.address())]));
    eventually("the first target is scraped", || value(tidemark.url(), "first"));

    let both = config(&[("first", first.address()), ("second", second.address())]);
    std::fs::write(tidemark.config(), &both).expect("written");
    tidemark.server.signal("HUP").expect("a signal");
    eventually("the second target is scraped", || value(tidemark.url(), "second"));
    assert!(
        api(tidemark.url(), "/api/v1/status/config", &[])["yaml"].to_string().contains("second")
    );

    // A file with a mistake is refused by name and place, and what ran goes on.
    std::fs::write(tidemark.config(), "scrape_configs:\n- job_name: x\n  scrape_intervall: 1s\n")
        .expect("written");
    let response =
        tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("an answer");
    assert_eq!(response.status, 500, "{}", response.text());
    assert!(response.text().contains("scrape_intervall"), "{}", response.text());
    let scrapes = |name: &str| value(tidemark.url(), &format!("count_over_time({name}[1h])"));
    let before = scrapes("second");
    eventually("scraping goes on", || (scrapes("second") > before).then_some(()));

    // A target that is no longer configured goes stale.
    std::fs::write(tidemark.config(), config(&[("second", second.address())])).expect("written");
    let response =
        tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("an answer");
    assert!(response.is_success(), "{}", response.text());
    eventually("the first target is stale", || {
        vector(tidemark.url(), "first").is_empty().then_some(())
    });
}

#[test]
fn a_reload_leaves_connections_alone_where_nothing_changed() {
    let (kept, other) = (Exporter::with_text("kept 1\n"), Exporter::with_text("other 1\n"));
    let tidemark = Tidemark::start(&config(&[("kept", kept.address())]));
    let scrapes = || value(tidemark.url(), "count_over_time(kept[1h])").unwrap_or_default();
    eventually("it is scraped", || (scrapes() >= 2.0).then_some(()));
    for name in ["one", "two", "three"] {
        let both = config(&[("kept", kept.address()), (name, other.address())]);
        std::fs::write(tidemark.config(), both).expect("written");
        let response =
            tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("an answer");
        assert!(response.is_success(), "{}", response.text());
        let before = scrapes();
        eventually("scraping goes on", || (scrapes() > before + 1.0).then_some(()));
        eventually("the other is scraped", || {
            value(tidemark.url(), &format!("up{{job=\"{name}\"}}"))
        });
    }
    assert_eq!((kept.connections(), other.connections()), (1, 3));
    assert_eq!(value(tidemark.url(), "min_over_time(up{job=\"kept\"}[1h])"), Some(1.0));
}

#[test]
fn sigterm_ends_cleanly_and_everything_is_there_again() {
    let mut tidemark = Tidemark::start("");
    let time_ms = now_ms();
    let samples: Vec<_> =
        (0..100).map(|step| (time_ms - 100_000 + step * 1_000, step as f64)).collect();
    write(
        &mut tidemark.server.client(),
        vec![series(&[("__name__", "kept"), ("a", "b")], &samples)],
    );
    for signal in ["TERM", "INT"] {
        let status = tidemark.server.stop_by(signal).expect("it ends");
        assert!(status.success(), "SIG{signal}: {status}\n{}", tidemark.server.log());
        tidemark.start_again();
        assert_eq!(
            value(tidemark.url(), "count_over_time(kept[1h])"),
            Some(100.0),
            "after SIG{signal}"
        );
    }
}

#[test]
fn the_same_data_on_another_number_of_cores() {
    let mut tidemark = Tidemark::start_with("", &["--cores=1", "--storage.shards=3"]);
    let time_ms = now_ms();
    let one =
        |n: usize| series(&[("__name__", "dealt"), ("n", &n.to_string())], &[(time_ms, n as f64)]);
    write(&mut tidemark.server.client(), (0..50).map(one).collect());
    for cores in ["--cores=2", "--cores=1"] {
        assert!(tidemark.server.stop().expect("it ends").success());
        tidemark.start_again_with(&[cores]);
        assert_eq!(value(tidemark.url(), "count(dealt)"), Some(50.0), "{cores}");
        assert_eq!(value(tidemark.url(), "sum(dealt)"), Some(1_225.0), "{cores}");
    }
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let tidemark = Tidemark::start("");
    let directory = tidemark.config().parent().expect("a directory").to_owned();
    let port = tidemark_bench::process::free_port().expect("a free port");
    let mut command = std::process::Command::new(crate::harness::binary());
    command.args(crate::harness::serve_arguments(&directory, port));
    let log = directory.join("second.log");
    let mut second =
        tidemark_bench::process::Server::start(&mut command, port, &log).expect("it starts");
    let error =
        second.wait_ready("/-/ready", Duration::from_secs(20)).expect_err("it must not run");
    assert!(error.to_string().contains("ended"), "{error}");
    assert!(second.log().contains("lock"), "{}", second.log());
    assert!(tidemark.get("/-/healthy").is_success());
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, "global:\n  scrape_interval: 15s\n  surprise: 1\n").expect("written");
    let output = std::process::Command::new(crate::harness::binary())
        .args(["check", "config"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("prometheus.yml:3:3") && said.contains("surprise"), "{said}");
}
