//! A server that gives recorded answers by path, for Tidemark and for Prometheus.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::exporter::{Answer, Exporter};

/// An answer in JSON with more headers, each with its line end.
pub(crate) fn json(headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    Answer::Raw(format!("{head}{body}").into_bytes())
}

/// 404.
pub(crate) fn nothing() -> Answer {
    Answer::Raw(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    )
}

/// Answers by the first part that the path contains.
pub(crate) fn server(answers: &'static [(&'static str, &'static str)]) -> Exporter {
    Exporter::start(move |path| {
        let found = answers.iter().find(|(part, _)| path.contains(part));
        found.map_or_else(nothing, |(_, body)| json("", body))
    })
}

/// Lets the Unix socket at `path` lead to a TCP server.
pub(crate) fn socket_to(path: &Path, address: &str) {
    let listener = UnixListener::bind(path).expect("the socket is made");
    let address = address.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = std::net::TcpStream::connect(&address).expect("the server listens");
            let (mut up, mut server_up) =
                (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
            std::thread::spawn(move || std::io::copy(&mut up, &mut server_up));
            std::thread::spawn(move || {
                let (mut client, mut server) = (client, server);
                drop(std::io::copy(&mut server, &mut client));
                drop(client.shutdown(std::net::Shutdown::Both));
            });
        }
    });
}

/// Waits like Consul: until `now` is not the index that the question carries, or for a second.
pub(crate) fn wait_for_change(path: &str, now: &Arc<AtomicU64>) -> u64 {
    let asked = path.split(['?', '&']).find_map(|pair| pair.strip_prefix("index=")?.parse().ok());
    let began = Instant::now();
    while asked == Some(now.load(Ordering::Relaxed)) && began.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    now.load(Ordering::Relaxed)
}
