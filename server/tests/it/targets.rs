//! Real targets and what stands before them: `pushgateway`, `blackbox_exporter`, nginx that wants a client's certificate,
//! tinyproxy.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tidemark_bench::process::{Server, free_port};

use crate::components::program;
use crate::exporter::Exporter;
use crate::harness::{SOON, Tidemark, eventually, value};

const CONFIG: &str = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n";

fn start(mut command: Command, port: u16, directory: &Path, ready: Option<&str>) -> Server {
    let mut server =
        Server::start(&mut command, port, &directory.join("log")).expect("the component starts");
    if let Some(path) = ready {
        server.wait_ready(path, SOON).expect("the component becomes ready");
    } else {
        eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    }
    server
}

fn scratch() -> (TempDir, u16) {
    (tempfile::tempdir().expect("a scratch directory"), free_port().expect("a free port"))
}

#[test]
fn what_was_pushed_is_scraped_with_its_own_labels() {
    let (directory, port) = scratch();
    let mut command = Command::new(program("prometheus-pushgateway"));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let gateway = start(command, port, directory.path(), Some("/metrics"));
    let pushed = gateway.client().request(
        "PUT",
        "/metrics/job/batch/instance/one",
        &[("Content-Type", "text/plain")],
        b"# TYPE rows gauge\nrows 7\n",
    );
    assert!(pushed.expect("an answer").is_success());
    let tidemark = Tidemark::start(&format!(
        "{CONFIG}- {{job_name: gateway, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    ));
    eventually("the pushed series", || {
        value(tidemark.url(), r#"rows{job="batch", instance="one"}"#).filter(|rows| *rows == 7.0)
    });
}

#[test]
fn sites_are_probed_through_an_exporter() {
    let site = Exporter::with_text("hello 1\n");
    let (directory, port) = scratch();
    let modules = directory.path().join("blackbox.yml");
    std::fs::write(&modules, "modules: {http_2xx: {prober: http, timeout: 2s}}\n")
        .expect("written");
    let mut command = Command::new(program("prometheus-blackbox-exporter"));
    command.arg(format!("--config.file={}", modules.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _exporter = start(command, port, directory.path(), Some("/metrics"));
    let config = format!(
        "{CONFIG}- job_name: blackbox\n  metrics_path: /probe\n  params: {{module: [http_2xx]}}\n  static_configs:\n  - targets: ['http://{}/', 'http://127.0.0.1:1/']\n  \
         relabel_configs:\n  - {{source_labels: [__address__], target_label: __param_target}}\n  \
         - {{source_labels: [__param_target], target_label: instance}}\n  - {{target_label: __address__, replacement: '127.0.0.1:{port}'}}\n",
        site.address()
    );
    let tidemark = Tidemark::start(&config);
    for (site, success) in
        [(format!("http://{}/", site.address()), 1.0), ("http://127.0.0.1:1/".into(), 0.0)]
    {
        let probe = format!(r#"probe_success{{job="blackbox", instance="{site}"}}"#);
        eventually(&probe, || value(tidemark.url(), &probe).filter(|v| *v == success));
    }
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() {
    let (directory, port) = scratch();
    let dir = directory.path();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls");
    let c = certificates.display();
    std::fs::write(dir.join("metrics"), "behind_tls 1\n").expect("written");
    let d = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {d}/pid; error_log {d}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {c}/server.pem; ssl_certificate_key {c}/server.key;\n\
         ssl_client_certificate {c}/ca.pem; ssl_verify_client on; default_type text/plain; root {d}; }} }}\n"
    );
    std::fs::write(dir.join("nginx.conf"), config).expect("written");
    let nginx = ["/usr/sbin/nginx"].map(std::path::PathBuf::from).into_iter().find(|p| p.is_file());
    let mut command = Command::new(nginx.unwrap_or_else(|| program("nginx")));
    command.args(["-c", &format!("{d}/nginx.conf"), "-p", &format!("{d}")]);
    command.args(["-e", &format!("{d}/error.log")]);
    let _nginx = start(command, port, dir, None);
    let job = |name: &str, tls: &str| {
        format!(
            "- {{job_name: {name}, scheme: https, tls_config: {{ca_file: {c}/ca.pem{tls}}}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
        )
    };
    let own = format!(", cert_file: {c}/server.pem, key_file: {c}/server.key");
    let tidemark =
        Tidemark::start(&format!("{CONFIG}{}{}", job("known", &own), job("stranger", "")));
    eventually("the metric", || value(tidemark.url(), r#"behind_tls{job="known"}"#));
    eventually("the refusal", || {
        value(tidemark.url(), r#"up{job="stranger"}"#).filter(|up| *up == 0.0)
    });
    let error = tidemark.target("stranger")["lastError"].to_string();
    assert!(error.contains("400"), "{error}");
}

/// A SOCKS 5 proxy for one user, as little of it as it takes; looks every name up as 127.0.0.1.
fn socks_proxy(user: &'static str, password: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let serve = move |mut client: TcpStream| -> std::io::Result<()> {
        let read = |client: &mut TcpStream, count: u8| {
            let mut bytes = vec![0; usize::from(count)];
            client.read_exact(&mut bytes).map(|()| bytes)
        };
        let methods = read(&mut client, 2)?[1];
        read(&mut client, methods)?;
        client.write_all(&[5, 2])?;
        let length = read(&mut client, 2)?[1];
        let named = read(&mut client, length)?;
        let length = read(&mut client, 1)?[0];
        let right = named == user.as_bytes() && read(&mut client, length)? == password.as_bytes();
        client.write_all(&[1, u8::from(!right)])?;
        let length = read(&mut client, 5)?[4];
        read(&mut client, length)?;
        let port = read(&mut client, 2)?;
        let target = TcpStream::connect(("127.0.0.1", u16::from_be_bytes([port[0], port[1]])));
        let refused = u8::from(target.is_err()) * 5;
        client.write_all(&[5, refused, 0, 1, 127, 0, 0, 1, 0, 0])?;
        let target = target?;
        let (mut up, mut back) = ((client.try_clone()?, target.try_clone()?), (target, client));
        std::thread::spawn(move || std::io::copy(&mut up.0, &mut up.1));
        std::io::copy(&mut back.0, &mut back.1).map(drop)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client));
        }
    });
    port
}

#[test]
fn targets_are_reached_through_socks() {
    let target = Exporter::with_text("behind_socks 1\n");
    let port = socks_proxy("me", "secret");
    let target_port = target.address().rsplit(':').next().unwrap_or_default().to_owned();
    let job = |name: &str, login: &str, target: &str| {
        format!(
            "- {{job_name: {name}, proxy_url: 'socks5://{login}@127.0.0.1:{port}', static_configs: [{{targets: ['{target}']}}]}}\n"
        )
    };
    // Only the proxy knows the name.
    let named = format!("far-away.invalid:{target_port}");
    let tidemark = Tidemark::start(&format!(
        "{CONFIG}{}{}{}",
        job("good", "me:secret", &named),
        job("stranger", "me:wrong", &named),
        job("refused", "me:secret", "far-away.invalid:1")
    ));
    eventually("the metric", || value(tidemark.url(), r#"behind_socks{job="good"}"#));
    for (job, words) in [("stranger", "authentication failed"), ("refused", "connection refused")] {
        eventually(job, || {
            let error = tidemark.target(job)["lastError"].as_str().unwrap_or_default().to_owned();
            assert!(!error.contains("wrong"), "{error}");
            error.contains(words).then_some(())
        });
    }
}

#[test]
fn targets_are_reached_through_a_proxy() {
    let target = Exporter::with_text("behind_proxy 1\n");
    let (directory, port) = scratch();
    let config = directory.path().join("tinyproxy.conf");
    let text = format!("Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\n");
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new(program("tinyproxy"));
    command.args(["-d", "-c", &config.display().to_string()]);
    let _proxy = start(command, port, directory.path(), None);
    let address = target.address();
    let tidemark = Tidemark::start(&format!(
        "{CONFIG}- {{job_name: proxied, proxy_url: 'http://127.0.0.1:{port}', static_configs: [{{targets: ['{address}']}}]}}\n"
    ));
    eventually("the metric", || value(tidemark.url(), r#"behind_proxy{job="proxied"}"#));
    let proxy = |scheme: &str| {
        format!(
            "- {{job_name: {scheme}, scheme: {scheme}, proxy_url: 'http://127.0.0.1:{port}', static_configs: [{{targets: ['127.0.0.1:1']}}]}}\n"
        )
    };
    let broken = Tidemark::start(&format!("{CONFIG}{}", proxy("https")));
    let error = eventually("what the proxy says", || {
        let error = broken.target("https")["lastError"].as_str().unwrap_or_default().to_owned();
        (!error.is_empty()).then_some(error)
    });
    assert!(error.contains("proxy 127.0.0.1"), "{error}");
}
