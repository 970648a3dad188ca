//! A target made for a test: serves whatever a closure answers, well-formed or not.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What to answer to a request.
pub(crate) enum Answer {
    /// 200 with a text in the Prometheus format.
    Metrics(String),
    /// 200 with a body of this content type.
    Body(String, Vec<u8>),
    /// These bytes, whatever they are, and the end of the connection.
    Raw(Vec<u8>),
    /// Whatever this writes, piece by piece, and the end of the connection.
    Stream(Box<dyn FnOnce(&mut TcpStream) + Send>),
    /// Nothing for so long.
    Silence(Duration),
}

/// A listening exporter; its threads end with the test's process.
pub(crate) struct Exporter {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Exporter {
    /// Answers each GET by `answer`, which is given the path.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let answer = Arc::new(answer);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self { address, connections }
    }

    /// How often somebody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// One that always exposes the same text.
    pub(crate) fn with_text(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |_| Answer::Metrics(text.clone()))
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// One connection, until either side has enough.
fn serve(stream: TcpStream, answer: &dyn Fn(&str) -> Answer) {
    let mut reader = BufReader::new(stream);
    loop {
        let Some(path) = read_request(&mut reader) else { return };
        let stream = reader.get_mut();
        let written = match answer(&path) {
            Answer::Metrics(text) => respond(stream, "text/plain; version=0.0.4", text.as_bytes()),
            Answer::Body(content_type, body) => respond(stream, &content_type, &body),
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Stream(write) => {
                write(stream);
                return;
            }
            Answer::Silence(time) => {
                thread::sleep(time);
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

fn respond(stream: &mut TcpStream, content_type: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// The path of the next request, with its head read.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            return Some(path);
        }
    }
}
