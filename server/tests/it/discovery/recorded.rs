//! A server that gives recorded answers by path, for Tidemark and for Prometheus.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
            let server = TcpStream::connect(&address).expect("the server listens");
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

/// A request, with its head in small letters.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Answers each request, whatever its method, by `answer`; its threads end with the test's process.
pub(crate) fn api(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                // Who asks may leave in the middle of it.
                let _ = serve(stream, &*answer);
            });
        }
    });
    address
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut head, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if path.is_empty() {
            line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
        }
        let line = line.to_lowercase();
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = answer(&Asked { path, head, body });
    let stream = reader.get_mut();
    match answer {
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Stream(write) => {
            write(stream);
            Ok(())
        }
        Answer::Silence(time) => {
            std::thread::sleep(time);
            Ok(())
        }
        Answer::Metrics(_) | Answer::Body(..) => unreachable!("answers of an API are raw"),
    }
}
