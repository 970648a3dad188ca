//! Thousands of scrape targets in one thread, as cheap as they can be: every answer was written and compressed beforehand.
//!
//! Target `n` is the address `127.64.0.1 + n` on one common port; one socket listens for all of them, bound to the loopback
//! device. Its series are a slice of one host's [catalogue](crate::dataset), its body one of a few dozen consecutive steps of
//! their walks, which targets of one slice share. When each request came is kept: whether a schedule is kept is seen from here.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{cell::RefCell, fmt::Write as _, io};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use crate::dataset::Dataset;

/// The address of target 0.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);

/// Different bodies of one slice; after that many scrapes its counters begin again.
const STEPS: usize = 48;

/// Connections that wait until they are accepted.
const BACKLOG: i32 = 4_096;

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Labels that tell hosts apart: they are the target's, the others the series' own.
const HOST_LABELS: [&str; 6] = ["cluster", "datacenter", "environment", "instance", "job", "rack"];

/// When each target was asked, by its number, since the targets started.
pub type Arrivals = Vec<Vec<Duration>>;

/// Targets that answer until they are [finished](Targets::finish).
pub struct Targets {
    /// The port that all of them have.
    pub port: u16,
    /// When they started.
    pub began: Instant,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<Arrivals>>,
}

impl Targets {
    /// Starts `count` targets with `series_each` series.
    pub fn start(dataset: &Dataset, count: usize, series_each: usize) -> io::Result<Self> {
        let listener = listen()?;
        let port = listener.local_addr()?.port();
        let answers = Answers::new(dataset, series_each)?;
        let (stop, stopped) = oneshot::channel();
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            let state = State { began, answers, arrivals: RefCell::new(vec![Vec::new(); count]) };
            LocalSet::new().block_on(&runtime, serve(listener, Rc::new(state), stopped))
        });
        Ok(Self { port, began, stop, thread })
    }

    /// Ends them and tells who was asked when.
    pub fn finish(self) -> io::Result<Arrivals> {
        // A thread that has ended already says why below.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| io::Error::other("the targets' thread panicked"))?
    }

    /// A configuration that scrapes them every `interval_s` seconds.
    pub fn configuration(&self, dataset: &Dataset, count: usize, interval_s: u64) -> String {
        let mut text = format!(
            "global: {{scrape_interval: {interval_s}s, scrape_timeout: {}s}}\n\
             scrape_configs:\n- job_name: node-exporter\n  static_configs:\n",
            interval_s.min(10)
        );
        for n in 0..count {
            let host = dataset.series(n * dataset.series_per_host());
            let labels = host.labels.iter().filter(|(name, _)| is_of_target(name));
            let labels: Vec<_> = labels.map(|(name, value)| format!("{name}: '{value}'")).collect();
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "  - {{targets: ['{}:{}'], labels: {{{}}}}}",
                address(n),
                self.port,
                labels.join(", ")
            );
        }
        text
    }
}

fn is_of_target(label: &str) -> bool {
    HOST_LABELS.contains(&label) && label != "job"
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + n as u32)
}

fn listen() -> io::Result<StdListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The answers, head and body, by slice and step; each plain and compressed.
struct Answers(Vec<Vec<[Vec<u8>; 2]>>);

impl Answers {
    fn new(dataset: &Dataset, series_each: usize) -> io::Result<Self> {
        let slices = (dataset.series_per_host() / series_each).max(1);
        let slice = |at| slice_bodies(dataset, at * series_each, series_each);
        let both = |body: String| Ok([answer(body.as_bytes(), "")?, answer(&gzip(&body)?, GZIP)?]);
        let answers = (0..slices).map(|at| slice(at).into_iter().map(both).collect());
        Ok(Self(answers.collect::<io::Result<_>>()?))
    }

    /// What target `n` answers to its `scrape`-th scrape. Neighbours are at different steps.
    fn of(&self, n: usize, scrape: usize, compressed: bool) -> &[u8] {
        let slice = &self.0[n % self.0.len()];
        &slice[(n + scrape) % slice.len()][usize::from(compressed)]
    }
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

fn answer(body: &[u8], coding: &str) -> io::Result<Vec<u8>> {
    let mut whole = Vec::with_capacity(body.len() + 200);
    write!(
        whole,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n{coding}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    whole.extend_from_slice(body);
    Ok(whole)
}

fn gzip(body: &str) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.as_bytes())?;
    encoder.finish()
}

/// The bodies of `count` series of one host, from the `first`, one for each step.
fn slice_bodies(dataset: &Dataset, first: usize, count: usize) -> Vec<String> {
    let mut bodies = vec![String::new(); STEPS];
    let mut family = "";
    for n in first..first + count {
        // Of more series than a host has, the later ones are told apart by a label.
        let round = n / dataset.series_per_host();
        let mut series = dataset.series(n % dataset.series_per_host());
        let mut own = Vec::new();
        let mut metric = String::new();
        for (name, value) in series.labels.drain(..) {
            match name {
                "__name__" => metric = value,
                name if HOST_LABELS.contains(&name) => {}
                name => own.push(format!("{name}=\"{value}\"")),
            }
        }
        if round > 0 {
            own.push(format!("round=\"{round}\""));
        }
        let (stem, kind) = family_of(&metric);
        let labels = if own.is_empty() { String::new() } else { format!("{{{}}}", own.join(",")) };
        let begins = stem != family;
        for body in &mut bodies {
            if begins {
                let _ = write!(body, "# HELP {stem} What {stem} counts.\n# TYPE {stem} {kind}\n");
            }
            let _ = writeln!(body, "{metric}{labels} {}", series.walk.advance());
        }
        family = dataset.metric_names().into_iter().find(|name| stem == *name).unwrap_or("");
    }
    bodies
}

/// The name of a metric's family, and its type.
fn family_of(metric: &str) -> (&str, &'static str) {
    let parts = ["_bucket", "_count", "_sum"];
    match parts.iter().find_map(|part| metric.strip_suffix(part)) {
        Some(stem) => (stem, "histogram"),
        None if metric.ends_with("_total") => (metric, "counter"),
        None => (metric, "gauge"),
    }
}

struct State {
    began: Instant,
    answers: Answers,
    arrivals: RefCell<Arrivals>,
}

async fn serve(
    listener: StdListener,
    state: Rc<State>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<Arrivals> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(state.arrivals.take()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let state = Rc::clone(&state);
                // A connection that breaks is the client's business: it shows as a scrape that is missing.
                spawn_local(async move { drop(connection(stream, &state).await) });
            }
        }
    }
}

/// Answers the requests of one connection.
async fn connection(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let IpAddr::V4(here) = stream.local_addr()?.ip() else { return Ok(()) };
    let n = here.to_bits().wrapping_sub(FIRST.to_bits()) as usize;
    let mut head = Vec::with_capacity(1 << 10);
    loop {
        let read = stream.read_buf(&mut head).await?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let scrape = match state.arrivals.borrow_mut().get_mut(n) {
            Some(of_target) => {
                of_target.push(state.began.elapsed());
                of_target.len()
            }
            None => return Ok(()),
        };
        let compressed = head.windows(4).any(|word| word == b"gzip");
        stream.write_all(state.answers.of(n, scrape, compressed)).await?;
        head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn every_address_is_a_target_with_its_own_series() {
        let dataset = Dataset::new();
        let targets = Targets::start(&dataset, 20, 100).expect("they start");
        let ask = |n| {
            let mut client = Client::to((address(n), targets.port).into());
            client.get("/metrics").expect("it answers").text()
        };
        let lines = |text: &str| -> Vec<String> {
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            samples.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
        };
        let (first, again, other) = (ask(0), ask(0), ask(1));
        assert_eq!((lines(&first).len(), lines(&first)), (100, lines(&again)));
        assert_ne!(first, again, "values move");
        assert_ne!(lines(&first), lines(&other));
        assert!(!first.contains("host-"), "what tells hosts apart is the target's");
        let config = targets.configuration(&dataset, 20, 15);
        assert_eq!(config.matches("targets: ['127.64.0.").count(), 20);
        let arrivals = targets.finish().expect("they end");
        assert_eq!(arrivals.iter().map(Vec::len).collect::<Vec<_>>()[..3], [2, 1, 0]);
    }

    #[test]
    fn more_series_than_a_host_has_are_still_different() {
        let dataset = Dataset::new();
        let body = &slice_bodies(&dataset, 0, 2_000)[0];
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<_> = samples.filter_map(|line| line.split(' ').next()).collect();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), 2_000);
    }
}
