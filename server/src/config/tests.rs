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
         oci_sd_configs: [{region: r, auth: instance_principal}]\n- job_name: s\n  static_configs: [{targets: [a]}]\n",
    )
    .unwrap();
    assert_eq!(
        idle(&config),
        [
            "rule_files is read but not acted on by this version",
            "remote_write is read but not acted on by this version",
            "job \"k\": a secret named by *_ref (there is no secret manager), oci_sd_configs with auth: instance_principal are read but not acted on by this version",
        ]
    );
}

/// Every field that may hold a secret, each in a file of its own; `SECRET` is the secret.
const SECRETS: &[&str] = &[
    "basic_auth: {username: u, password: SECRET}",
    "authorization: {credentials: SECRET}",
    "bearer_token: SECRET",
    "tls_config: {cert: c, key: SECRET}",
    "proxy_url: 'http://p', proxy_connect_header: {A: [SECRET]}",
    "proxy_url: 'http://user:SECRET@p'",
    "http_headers: {A: {secrets: [SECRET]}}",
    "oauth2: {client_id: c, client_secret: SECRET, token_url: 'http://t'}",
    "oauth2: {client_id: c, client_secret: x, token_url: 'http://user:SECRET@t'}",
    "oauth2: {client_id: c, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', client_certificate_key: SECRET, token_url: 'http://t'}",
    "aws_sd_configs: [{role: ec2, access_key: a, secret_key: SECRET}]",
    "ec2_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "ecs_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "elasticache_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "msk_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "rds_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "lightsail_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "azure_sd_configs: [{subscription_id: s, tenant_id: t, client_id: c, client_secret: SECRET}]",
    "oci_sd_configs: [{region: r, tenancy: t, user: u, fingerprint: f, key_file: k, key_passphrase: SECRET}]",
    "openstack_sd_configs: [{role: instance, region: r, password: SECRET}]",
    "openstack_sd_configs: [{role: instance, region: r, application_credential_secret: SECRET}]",
    "outscale_sd_configs: [{access_key: a, secret_key: SECRET}]",
    "ovhcloud_sd_configs: [{application_key: a, application_secret: SECRET, consumer_key: c, service: vps}]",
    "ovhcloud_sd_configs: [{application_key: a, application_secret: s, consumer_key: SECRET, service: vps}]",
    "scaleway_sd_configs: [{role: instance, project_id: p, access_key: a, secret_key: SECRET}]",
    "stackit_sd_configs: [{project: p, service_account_key: SECRET}]",
    "stackit_sd_configs: [{project: p, private_key: SECRET}]",
    "consul_sd_configs: [{token: SECRET}]",
    "consul_sd_configs: [{username: u, password: SECRET}]",
    "marathon_sd_configs: [{servers: [s], auth_token: SECRET}]",
    "uyuni_sd_configs: [{server: 'http://s', username: u, password: SECRET}]",
    "http_sd_configs: [{url: 'http://user:SECRET@x'}]",
    "consul_sd_configs: [{server: 'user:SECRET@x'}]",
    "docker_sd_configs: [{host: 'http://user:SECRET@x'}]",
    "dockerswarm_sd_configs: [{host: 'http://user:SECRET@x', role: nodes}]",
    "ec2_sd_configs: [{endpoint: 'http://user:SECRET@x'}]",
    "eureka_sd_configs: [{server: 'http://user:SECRET@x'}]",
    "kuma_sd_configs: [{server: 'http://user:SECRET@x'}]",
    "kubernetes_sd_configs: [{role: node, api_server: 'http://user:SECRET@x'}]",
    "marathon_sd_configs: [{servers: ['http://user:SECRET@x']}]",
    "nomad_sd_configs: [{server: 'http://user:SECRET@x'}]",
    "openstack_sd_configs: [{role: instance, region: r, identity_endpoint: 'http://user:SECRET@x'}]",
    "puppetdb_sd_configs: [{url: 'http://user:SECRET@x', query: q}]",
    "remote_write: [{url: 'http://user:SECRET@x'}]",
    "remote_write: [{url: 'http://x', sigv4: {access_key: a, secret_key: SECRET}}]",
    "remote_write: [{url: 'http://x', azuread: {oauth: {client_id: 00000000-0000-0000-0000-000000000000, client_secret: SECRET, tenant_id: 00000000-0000-0000-0000-000000000000}}}]",
    "remote_write: [{url: 'http://x', azuread: {certificate: {client_id: 00000000-0000-0000-0000-000000000000, tenant_id: 00000000-0000-0000-0000-000000000000, certificate_path: c, certificate_password: SECRET}}}]",
];

/// A file with one of [`SECRETS`].
fn file_with(fields: &str, secret: &str) -> String {
    let fields = fields.replace("SECRET", secret);
    if fields.starts_with("remote_write") {
        return fields;
    }
    format!("scrape_configs: [{{job_name: j, {fields}}}]")
}

#[test]
fn no_secret_is_shown_wherever_it_stands() {
    for fields in SECRETS {
        let text = file_with(fields, "hunter2");
        let config = load(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (shown, debugged) = (config.to_yaml(), format!("{config:?}"));
        assert!(!shown.contains("hunter2"), "{text}:\n{shown}");
        assert!(shown.contains("<secret>") || shown.contains("xxxxx"), "{text}:\n{shown}");
        assert!(!debugged.contains("hunter2"), "{text}:\n{debugged}");
        // Errors repeat nothing of it either.
        for wrong in ["[hunter2, x]", "{hunter2: x}"] {
            if let Err(error) = load(&file_with(fields, wrong)) {
                assert!(!error.contains("hunter2"), "{fields}: {error}");
            }
        }
    }
}

#[test]
fn every_field_of_a_secret_is_tried() {
    let sources = [
        include_str!("http_client.rs"),
        include_str!("remote.rs"),
        include_str!("discovery/clouds.rs"),
        include_str!("discovery/services.rs"),
    ];
    let lines = sources.iter().flat_map(|source| source.lines());
    let fields = lines.filter_map(|line| {
        let before = [": Secret,", ": Vec<Secret>,", ": BTreeMap<String, Vec<Secret>>,"]
            .iter()
            .find_map(|kind| line.split_once(kind))?;
        before.0.rsplit(' ').next()
    });
    let fields: std::collections::BTreeSet<&str> = fields.collect();
    assert!(fields.len() > 15, "{fields:?}");
    for field in fields {
        let named = format!("{field}: ");
        assert!(SECRETS.iter().any(|fields| fields.contains(&named)), "{field} is not tried");
    }
}
