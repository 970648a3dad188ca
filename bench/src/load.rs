//! Sending: connections that each own a part of the series and post its bodies one after the other.
//!
//! A series belongs to one connection, so its samples arrive in order. A *round* is one body for each group of neighbouring
//! series: `steps` samples further in time for all of them. Rounds are either [cycled](Plan::cycled), prepared in memory
//! and sent again and again with later dates so that the generator costs next to nothing, or [streamed](Plan::streamed), each
//! encoded when it is due, with values that never repeat.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::body::{Body, Encoder};
use crate::dataset::{Dataset, STEP_MS};
use crate::http::Client;

/// Bytes of prepared bodies at most; more rounds would only use memory.
const PREPARED_BYTES_MAX: usize = 512 << 20;
/// Prepared rounds at most.
const PREPARED_ROUNDS_MAX: usize = 64;
/// The pause after a server asks for one (429 or 503).
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The pause of a connection that is ahead of the others.
const AHEAD_PAUSE: Duration = Duration::from_micros(200);

const WRITE_PATH: &str = "/api/v1/write";
const WRITE_HEADERS: &[(&str, &str)] = &[
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ("User-Agent", "tidemark-bench"),
];

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Active series.
    pub series: usize,
    /// Samples of a series in each request.
    pub steps: usize,
    /// Samples in a request.
    pub samples_per_request: usize,
    /// Connections that send at the same time.
    pub connections: usize,
}

/// The bodies of one group of neighbouring series.
enum Group {
    Cycled(Vec<Body>),
    Streamed(Encoder),
}

/// All connections' work, and where they are in time.
pub struct Load {
    plan: Plan,
    lanes: Vec<Lane>,
    /// The time of the first sample of round 0.
    first_ms: i64,
}

/// One connection's part.
struct Lane {
    groups: Vec<Group>,
    round: u64,
}

/// When sending ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Each connection has sent so many rounds more.
    Rounds(u64),
    /// So long has passed.
    Elapsed(Duration),
}

/// What was sent, summed over the connections.
#[derive(Debug, Default)]
pub struct Sent {
    /// Samples that were acknowledged.
    pub samples: u64,
    /// Time from the first request to the last answer.
    pub elapsed: Duration,
    /// Each request's time from when it was due to its answer, sorted.
    pub latencies: Vec<Duration>,
    /// Requests that were sent again because the server asked for it.
    pub retries: u64,
    /// The first failure that ended a connection's work.
    pub error: Option<String>,
}

impl Plan {
    /// Prepares rounds to be sent again and again.
    pub fn cycled(self, dataset: &Dataset, first_ms: i64) -> Load {
        let budget = PREPARED_BYTES_MAX / self.connections;
        self.load(dataset, first_ms, |mut encoders| {
            let mut groups: Vec<Vec<Body>> = encoders.iter().map(|_| Vec::new()).collect();
            let mut bytes = 0;
            for round in 0..PREPARED_ROUNDS_MAX {
                if round >= 2 && bytes + bytes / round > budget {
                    break;
                }
                for (group, encoder) in groups.iter_mut().zip(&mut encoders) {
                    group.push(encoder.next_body(self.steps));
                    bytes += group.last().map_or(0, Body::len);
                }
            }
            groups.into_iter().map(Group::Cycled).collect()
        })
    }

    /// Encodes each round when it is due.
    pub fn streamed(self, dataset: &Dataset, first_ms: i64) -> Load {
        self.load(dataset, first_ms, |encoders| encoders.into_iter().map(Group::Streamed).collect())
    }

    /// Deals the series to the connections, and makes each connection's groups on a thread of its own.
    fn load(
        self,
        dataset: &Dataset,
        first_ms: i64,
        prepare: impl Fn(Vec<Encoder>) -> Vec<Group> + Sync,
    ) -> Load {
        let per_request = (self.samples_per_request / self.steps).max(1);
        let share = |lane: usize| self.series * lane / self.connections;
        let lane = |at: usize| {
            let (from, to) = (share(at), share(at + 1));
            let starts = (from..to).step_by(per_request);
            let groups =
                starts.map(|start| Encoder::new(dataset, start..(start + per_request).min(to)));
            Lane { groups: prepare(groups.collect()), round: 0 }
        };
        let lanes = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.connections).map(|at| scope.spawn(move || lane(at))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("preparing does not panic"))
                .collect()
        });
        Load { plan: self, lanes, first_ms }
    }
}

impl Load {
    /// Sends to a server, optionally at a fixed rate of samples a second, until `until` or `stop`, or a connection fails.
    pub fn send(&mut self, url: &str, until: Until, rate: Option<f64>, stop: &AtomicBool) -> Sent {
        let began = Instant::now();
        let pace = Pace {
            url,
            steps: self.plan.steps,
            first_ms: self.first_ms,
            until,
            rate: rate.map(|rate| rate / self.plan.connections as f64),
            stop,
            rounds: self.lanes.iter().map(|lane| AtomicU64::new(lane.round)).collect(),
        };
        let results: Vec<Sent> = thread::scope(|scope| {
            let sender = |(at, lane): (usize, _)| {
                let pace = &pace;
                scope.spawn(move || {
                    let sent = pace.send_lane(lane, at);
                    // Whoever has ended holds nobody back.
                    pace.rounds[at].store(u64::MAX, Ordering::Relaxed);
                    sent
                })
            };
            let threads: Vec<_> = self.lanes.iter_mut().enumerate().map(sender).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("sending does not panic"))
                .collect()
        });
        let mut sent = Sent { elapsed: began.elapsed(), ..Sent::default() };
        for lane in results {
            sent.samples += lane.samples;
            sent.latencies.extend(lane.latencies);
            sent.retries += lane.retries;
            sent.error = sent.error.or(lane.error);
        }
        sent.latencies.sort_unstable();
        sent
    }

    /// Rounds that every connection has sent whole.
    pub fn whole_rounds(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.round).min().unwrap_or(0)
    }

    /// The time of the first sample of a round.
    pub fn round_start_ms(&self, round: u64) -> i64 {
        self.first_ms + round as i64 * self.plan.steps as i64 * STEP_MS
    }

    /// One past the last round of which anything may have been sent.
    pub fn rounds_begun(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.round + 1).max().unwrap_or(0)
    }

    /// How many samples so many whole rounds hold.
    pub fn samples_in(&self, rounds: u64) -> u64 {
        rounds * self.plan.steps as u64 * self.plan.series as u64
    }

    /// Begins anew at another time, for the next server.
    pub fn rewind(&mut self, first_ms: i64) {
        self.first_ms = first_ms;
        self.lanes.iter_mut().for_each(|lane| lane.round = 0);
    }
}

/// What the connections of one sending have in common.
struct Pace<'a> {
    url: &'a str,
    steps: usize,
    first_ms: i64,
    until: Until,
    /// Samples a second of each connection.
    rate: Option<f64>,
    stop: &'a AtomicBool,
    /// Each connection's round. Nobody is more than a round ahead of the slowest: a server would refuse the late samples.
    rounds: Vec<AtomicU64>,
}

impl Pace<'_> {
    /// One connection: posts its groups' bodies round after round. Ends only between rounds, but for a failure.
    fn send_lane(&self, lane: &mut Lane, at: usize) -> Sent {
        let mut sent = Sent::default();
        let mut client = match Client::new(self.url) {
            Ok(client) => client,
            Err(error) => return Sent { error: Some(format!("{}: {error}", self.url)), ..sent },
        };
        let began = Instant::now();
        let first_round = lane.round;
        loop {
            let ended = match self.until {
                Until::Rounds(rounds) => lane.round - first_round >= rounds,
                Until::Elapsed(time) => began.elapsed() >= time,
            };
            if ended || self.stop.load(Ordering::Relaxed) {
                return sent;
            }
            self.rounds[at].store(lane.round, Ordering::Relaxed);
            while self
                .rounds
                .iter()
                .any(|other| other.load(Ordering::Relaxed).saturating_add(1) < lane.round)
            {
                thread::sleep(AHEAD_PAUSE);
            }
            if let Err(error) = self.send_round(lane, &mut client, began, &mut sent) {
                sent.error = Some(error.to_string());
                return sent;
            }
            lane.round += 1;
        }
    }

    fn send_round(
        &self,
        lane: &mut Lane,
        client: &mut Client,
        began: Instant,
        sent: &mut Sent,
    ) -> io::Result<()> {
        let date = self.first_ms + lane.round as i64 * self.steps as i64 * STEP_MS;
        for group in &mut lane.groups {
            let mut fresh;
            let body = match group {
                Group::Cycled(bodies) => {
                    let at = lane.round as usize % bodies.len();
                    &mut bodies[at]
                }
                Group::Streamed(encoder) => {
                    fresh = encoder.next_body(self.steps);
                    &mut fresh
                }
            };
            let samples = body.samples();
            let due = self.rate.map_or_else(Instant::now, |rate| {
                wait_until(began + Duration::from_secs_f64(sent.samples as f64 / rate))
            });
            post(client, body.dated(date), &mut sent.retries)?;
            sent.latencies.push(due.elapsed());
            sent.samples += samples;
        }
        Ok(())
    }
}

fn wait_until(due: Instant) -> Instant {
    thread::sleep(due.saturating_duration_since(Instant::now()));
    due
}

/// Posts a body until the server takes it; anything but a request to wait is an error.
fn post(client: &mut Client, body: &[u8], retries: &mut u64) -> io::Result<()> {
    loop {
        let response = client.request("POST", WRITE_PATH, WRITE_HEADERS, body)?;
        match response.status {
            200..300 => return Ok(()),
            429 | 503 => {
                *retries += 1;
                thread::sleep(RETRY_PAUSE);
            }
            status => return Err(io::Error::other(format!("{status}: {}", response.text()))),
        }
    }
}
