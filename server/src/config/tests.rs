//! Whole files, good and bad.

use std::path::Path;

use super::idle::idle;
use super::load::load_text;
use super::*;

fn load(text: &str) -> Result<Config, String> {
    load_text("p.yml", text, Path::new("/etc/p")).map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\n", "global:\nrule_files:\nscrape_configs:\nalerting:\n"] {
        let config = load(text).unwrap();
        assert_eq!(
            config.to_yaml(),
            "global:\n  scrape_interval: 1m\n  scrape_timeout: 10s\n  evaluation_interval: 1m\nruntime:\n  gogc: 75\n\
             otlp:\n  \
             translation_strategy: UnderscoreEscapingWithSuffixes\n  label_name_underscore_sanitization: true\n  \
             label_name_preserve_multiple_underscores: true\n",
            "{text:?}"
        );
    }
}

#[test]
fn jobs_inherit_and_print_in_full() {
    let config = load(
        "global: {scrape_interval: 5s, sample_limit: 7, external_labels: {site: a}}\n\
         scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: ['localhost:9100']\n    labels: {a: b}\n\
         - job_name: other\n  scrape_interval: 1m\n  sample_limit: 9\n  basic_auth: {username: me, password: hunter2}\n  \
         tls_config: {ca_file: ca.pem}\n",
    )
    .unwrap();
    let [node, other] = &config.scrape_configs[..] else { panic!() };
    assert_eq!(node.scrape_interval.to_string(), "5s");
    assert_eq!(node.scrape_timeout.to_string(), "5s");
    assert_eq!((node.sample_limit, other.sample_limit), (7, 9));
    assert_eq!(other.scrape_timeout.to_string(), "5s");
    assert_eq!(other.http.tls_config.ca_file, "/etc/p/ca.pem");
    let yaml = config.to_yaml();
    assert!(!yaml.contains("hunter2"), "{yaml}");
    assert!(yaml.contains("password: <secret>"), "{yaml}");
    assert!(
        yaml.contains("  - targets:\n    - localhost:9100\n    labels:\n      a: b\n"),
        "{yaml}"
    );
    let again = load(&yaml).unwrap();
    assert_eq!(again.to_yaml(), yaml, "the printed configuration is a fixed point");
}

#[test]
fn errors_name_file_line_and_column() {
    for (text, expected) in [
        (
            "global:\n  scrape_intervall: 5s\n",
            "p.yml:2:3: unknown field \"scrape_intervall\", did you mean \"scrape_interval\"?",
        ),
        ("global:\n  scrape_interval: 5\n", "p.yml:2:20: not a valid duration string: \"5\""),
        (
            "global: {scrape_interval: 5s, scrape_timeout: 6s}\n",
            "p.yml:1:31: global scrape timeout greater than scrape interval",
        ),
        (
            "scrape_configs:\n- job_name: a\n- job_name: a\n",
            "p.yml:3:3: found multiple scrape configs with job name \"a\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
            "p.yml:2:3: scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        ("scrape_configs:\n- scheme: http\n", "p.yml:2:3: job_name is empty"),
        (
            "scrape_configs:\n- job_name: a\n  job_name: b\n",
            "p.yml:3:3: duplicate mapping key: job_name",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['http://x/']\n",
            "p.yml:3:3: \"http://x/\" is not a valid hostname",
        ),
        (
            "scrape_configs:\n- job_name: a\n  basic_auth: {usernme: x}\n",
            "p.yml:3:16: unknown field \"usernme\", did you mean \"username\"?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  bearer_token: x\n  bearer_token_file: y\n",
            "p.yml:3:3: at most one of bearer_token & bearer_token_file must be configured",
        ),
        (
            "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: [{role: vacuum}]\n",
            "p.yml:3:28: unknown Kubernetes SD role \"vacuum\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {action: labeldrop, target_label: x}\n",
            "p.yml:4:6: labeldrop action requires only 'regex', and no other fields",
        ),
        ("remote_write:\n- name: x\n", "p.yml:2:3: url for remote_write is empty"),
        ("rule_files: ['a*/b*.yml']\n", "p.yml: invalid rule file path \"/etc/p/a*/b*.yml\""),
        ("tracing: {}\n", "p.yml:1:10: tracing endpoint must be set"),
        ("nonsense\n", "p.yml:1:1: expected mapping start"),
        ("a: [\n", "p.yml:1:1: unknown field \"a\""),
    ] {
        assert_eq!(load(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn what_is_not_acted_on_is_named() {
    let config = load(
        "rule_files: [a.yml]\nremote_write: [{url: 'http://x/'}]\nscrape_configs:\n- job_name: k\n  tls_config: {key_ref: x, cert: c}\n  \
         serverset_sd_configs: [{servers: [z], paths: [/a]}]\n- job_name: s\n  static_configs: [{targets: [a]}]\n",
    )
    .unwrap();
    assert_eq!(
        idle(&config),
        [
            "rule_files is read but not acted on by this version",
            "remote_write is read but not acted on by this version",
            "job \"k\": serverset_sd_configs, a secret named by *_ref (there is no secret manager) are read but not acted on by this version",
        ]
    );
}
