//! DNS: a real dnsmasq, asked by Tidemark and by a real Prometheus.
//!
//! Both ask port 53 of the servers in `/etc/resolv.conf`. So all three run in namespaces of their own, where that file is
//! another one and port 53 is free; a script there starts them and prints what both found.

use std::process::Command;

use serde_json::Value;

use crate::components::program;
use crate::harness::{binary, serve_arguments};

/// Brings up the loopback interface, puts the file in place, starts everything, and prints both answers once they have as
/// many targets as wanted.
const SCRIPT: &str = r"
import fcntl, json, socket, struct, subprocess, sys, time, urllib.request
wanted, conf, dnsmasq, ours, theirs = int(sys.argv[1]), *map(json.loads, sys.argv[2:])
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))
subprocess.check_call(['mount', '--bind', conf, '/etc/resolv.conf'])
null = subprocess.DEVNULL
for command in dnsmasq, ours['run'], theirs['run']:
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null)
def targets(port):
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/api/v1/targets?state=active', timeout=5) as answer:
            return json.load(answer)['data']['activeTargets']
    except OSError:
        return []
for _ in range(300):
    found = [targets(ours['port']), targets(theirs['port'])]
    if all(len(one) == wanted for one in found):
        break
    time.sleep(0.2)
print(json.dumps(found))
";

/// What dnsmasq serves. Debian's Prometheus does not know name servers' records yet.
const RECORDS: [&str; 7] = [
    "--srv-host=_web._tcp.example,a.example,8080",
    "--srv-host=_web._tcp.example,b.example,8081",
    "--host-record=h.example,127.0.0.1,::1",
    "--host-record=g.example,127.0.0.2",
    "--cname=alias.example,g.example",
    "--local=/example/",
    "--mx-host=example,mail.example",
];

#[test]
fn records_of_a_real_dns_server() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| directory.path().join(name);
    let job = |kind: &str, names: &str| {
        format!(
            "- {{job_name: {kind}, scrape_interval: 1m, dns_sd_configs: [{{type: {kind}, names: [{names}], port: 9100, refresh_interval: 1s}}]}}\n"
        )
    };
    let config = format!(
        "scrape_configs:\n{}{}{}{}",
        job("SRV", "_web._tcp.example, _none._tcp.example"),
        job("A", "h, alias.example"),
        job("AAAA", "h.example"),
        job("MX", "example")
    );
    std::fs::write(at("config.yml"), config).expect("it is written");
    std::fs::write(at("resolv.conf"), "nameserver 127.0.0.1\nsearch example\n")
        .expect("it is written");
    let text = |path: std::path::PathBuf| path.display().to_string();
    let mut dnsmasq = vec![text(program("dnsmasq"))];
    // Without a daemon it stays who it is: a user namespace may not change groups.
    let plain = [
        "--no-daemon",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
    ];
    dnsmasq.extend(plain.iter().chain(&RECORDS).map(|argument| (*argument).to_owned()));
    let mut ours = vec![text(binary())];
    ours.extend(serve_arguments(directory.path(), 1));
    let port = ours
        .iter_mut()
        .find(|argument| argument.starts_with("--web.listen-address"))
        .expect("it listens");
    "--web.listen-address=127.0.0.1:9001".clone_into(port);
    let theirs = [
        text(program("prometheus")),
        format!("--config.file={}", text(at("config.yml"))),
        format!("--storage.tsdb.path={}", text(at("prometheus"))),
        "--web.listen-address=127.0.0.1:9002".to_owned(),
    ];
    let json = |value: Value| value.to_string();
    let output = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "python3",
            "-c",
            SCRIPT,
            "6",
        ])
        .arg(json(text(at("resolv.conf")).into()))
        .arg(json(serde_json::json!(dnsmasq)))
        .arg(json(serde_json::json!({"run": ours, "port": 9001})))
        .arg(json(serde_json::json!({"run": theirs, "port": 9002})))
        .output()
        .expect("unshare starts: it is part of util-linux");
    let errors = String::from_utf8_lossy(&output.stderr);
    let found: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: this takes root or unprivileged user namespaces: {errors}")
    });
    let sorted = |all: &[Value]| {
        let mut all: Vec<String> = all.iter().map(super::shown).collect();
        all.sort();
        all
    };
    let (ours, theirs) = (sorted(&found[0]), sorted(&found[1]));
    assert_eq!(ours, theirs, "{errors}");
    assert_eq!(ours.len(), 6, "{ours:#?}");
}
