//! A shard under load, and the model of what it must hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tidemark_core::append::AppendBatch;
use tidemark_core::error::Result;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::metadata::{Metadata, MetricType};
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::sim::{self, Random, SimDisk};
use tidemark_core::runtime::{self, clock};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::wal::WalOptions;

/// Where the shard lives.
const DIRECTORY: &str = "/data/shard-0000";

/// Time between two samples of a series: a chunk is sealed after two hours, so after a dozen samples.
const STEP_MS: i64 = 10 * 60 * 1000;

/// How far back the first sample lies.
const HISTORY_MS: i64 = 60 * 24 * 60 * 60 * 1000;

/// Tasks that append at the same time, each to series of its own.
const APPENDERS: u64 = 3;

/// Series of one appender.
const SERIES: u64 = 5;

/// Seeds to run: `quick` of them, or what the environment says.
pub(crate) fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("TIDEMARK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEMARK_SEEDS").unwrap_or(quick),
    }
}

/// Some of the operations of a scenario; all of them when the environment asks for more seeds.
pub(crate) fn every_few(operations: u64, seed: u64) -> impl Iterator<Item = u64> {
    let stride = if std::env::var_os("TIDEMARK_SEEDS").is_some() { 1 } else { 5 };
    (seed % stride..operations).step_by(stride as usize)
}

/// Segments so small that a short load fills many.
fn options() -> ShardOptions {
    let wal = WalOptions { segment_bytes: 16 << 10, ..WalOptions::default() };
    ShardOptions { wal, ..ShardOptions::default() }
}

/// Opens the shard.
pub(crate) async fn open(disk: &SimDisk) -> Result<Rc<Shard>> {
    Shard::open(disk.disk(), Path::new(DIRECTORY), options()).await
}

/// Labels of series `n` of an appender.
fn labels(appender: u64, n: u64) -> Labels {
    let (appender, n) = (appender.to_string(), n.to_string());
    Labels::from_pairs([("__name__", "load"), ("appender", &appender), ("series", &n)])
}

/// What was sent, and what was acknowledged of it.
#[derive(Default)]
pub(crate) struct Model {
    series: BTreeMap<String, BTreeMap<i64, Sent>>,
    /// Time of the last sample sent by any appender, in steps.
    step: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    value: f64,
    acknowledged: bool,
}

impl Model {
    fn acknowledge(&mut self, sent: &[(String, i64)]) {
        for (series, timestamp_ms) in sent {
            let sample = self.series.get_mut(series).and_then(|s| s.get_mut(timestamp_ms));
            sample.expect("it was sent").acknowledged = true;
        }
    }

    /// How many samples were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.series.values().flat_map(BTreeMap::values).filter(|sent| sent.acknowledged).count()
    }

    /// Nothing found was not sent.
    fn check_nothing_foreign(&self, found: &Found) {
        for (series, samples) in found {
            for (timestamp_ms, value) in samples {
                let sent = self.series.get(series).and_then(|s| s.get(timestamp_ms));
                let as_sent = sent.is_some_and(|sent| sent.value.to_bits() == value.to_bits());
                assert!(
                    as_sent,
                    "{series} at {timestamp_ms}: {value} was never sent; {sent:?} was"
                );
            }
        }
    }

    /// All that was acknowledged before `before` was taken is found.
    fn check_all_there(&self, found: &Found, before: &[(String, i64)]) {
        for (series, timestamp_ms) in before {
            let there = found.get(series).is_some_and(|s| s.contains_key(timestamp_ms));
            assert!(there, "{series} at {timestamp_ms} was acknowledged and is gone");
        }
        self.check_nothing_foreign(found);
    }

    fn all_acknowledged(&self) -> Vec<(String, i64)> {
        let of_series = |(name, samples): (&String, &BTreeMap<i64, Sent>)| {
            let acknowledged = samples.iter().filter(|(_, sent)| sent.acknowledged);
            acknowledged.map(|(timestamp_ms, _)| (name.clone(), *timestamp_ms)).collect::<Vec<_>>()
        };
        self.series.iter().flat_map(of_series).collect()
    }

    /// Makes what recovery found the truth: it was read from the disk, so it has to stay there.
    fn settle(&mut self, found: &Found) {
        for (name, samples) in &mut self.series {
            let there = |t: &i64| found.get(name).is_some_and(|s| s.contains_key(t));
            samples.retain(|timestamp_ms, sent| {
                sent.acknowledged = there(timestamp_ms);
                sent.acknowledged
            });
        }
    }
}

type Found = BTreeMap<String, BTreeMap<i64, f64>>;

/// Everything the shard holds.
async fn read_all(shard: &Shard) -> Result<Found> {
    let mut found = Found::new();
    let selection = shard.select(&[Matcher::equal("__name__", "load")], TimeRange::ALL).await?;
    for i in 0..selection.len() {
        let mut columns = SampleColumns::new();
        selection.read(i, TimeRange::ALL, &mut columns).await?;
        let ascending = columns.timestamps.is_sorted_by(|a, b| a < b);
        assert!(ascending, "samples of {} ascend in time", selection.labels(i));
        let samples = columns.timestamps.iter().copied().zip(columns.values.iter().copied());
        let before = found.insert(selection.labels(i).to_string(), samples.collect());
        assert!(before.is_none(), "{} is one series", selection.labels(i));
    }
    Ok(found)
}

/// A batch of a few series with a few samples each, most of them in order.
fn batch(
    model: &RefCell<Model>,
    random: &mut Random,
    appender: u64,
) -> (AppendBatch, Vec<(String, i64)>) {
    let (mut batch, mut sent) = (AppendBatch::new(), Vec::new());
    let mut model = model.borrow_mut();
    // The clock of every life starts anew; the samples' time does not.
    let start_ms = clock::now_ms() / STEP_MS * STEP_MS - HISTORY_MS;
    for n in 0..SERIES {
        if random.chance(40) {
            continue;
        }
        let labels = labels(appender, n);
        batch.push_series(labels.fingerprint(), labels.encoded());
        for _ in 0..=random.below(3) {
            model.step += 1;
            // Some samples come after newer ones: four steps and a half late, so that no two have the same time.
            let late_ms = if random.chance(15) { STEP_MS * 9 / 16 } else { 0 };
            let timestamp_ms = start_ms + model.step * STEP_MS / 8 - late_ms;
            let value = f64::from_bits(random.bits());
            batch.push_sample(timestamp_ms, value);
            let name = labels.to_string();
            let sample = Sent { value, acknowledged: false };
            model.series.entry(name.clone()).or_default().insert(timestamp_ms, sample);
            sent.push((name, timestamp_ms));
        }
    }
    if random.chance(20) {
        let help = format!("help {}", random.bits());
        let metadata = Metadata { kind: MetricType::Gauge, help, unit: String::new() };
        batch.push_metadata("load", metadata);
    }
    (batch, sent)
}

/// Waits, mostly for less than an operation of the disk takes, so that tasks meet, and else for up to `ms`, so that time passes.
async fn pause(random: &mut Random, ms: u64) {
    let us = if random.chance(60) { 300 } else { ms * 1_000 };
    runtime::sleep(Duration::from_micros(random.below(us))).await;
}

/// Appends batches until `count` are acknowledged or one fails that cannot be sent again.
async fn append(
    shard: Rc<Shard>,
    model: Rc<RefCell<Model>>,
    mut random: Random,
    appender: u64,
    count: u64,
) {
    for _ in 0..count {
        pause(&mut random, 15_000).await;
        let (batch, sent) = batch(&model, &mut random, appender);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match shard.append(batch.clone()).await {
                Ok(outcome) => {
                    assert_eq!(outcome.refused_total(), 0, "{:?}", outcome.first_refusal);
                    model.borrow_mut().acknowledge(&sent);
                    break;
                }
                // As a sender does that gets a 503: the same again, a little later.
                Err(error) if error.is_transient() && attempts < 5 => {
                    runtime::sleep(Duration::from_secs(1)).await;
                }
                Err(_) => return,
            }
        }
    }
}

/// Puts a load on the shard until it is done or the disk fails: appends, ticks, reads.
pub(crate) async fn work(
    shard: &Rc<Shard>,
    model: &Rc<RefCell<Model>>,
    random: &mut Random,
    batches: u64,
) {
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let task = append(shard.clone(), model.clone(), random.fork(), appender, batches);
            runtime::spawn(task)
        })
        .collect();
    let ticking = {
        let (shard, mut random) = (shard.clone(), random.fork());
        runtime::spawn(async move {
            loop {
                pause(&mut random, 15_000).await;
                // What fails stays due.
                let _ = shard.tick().await;
            }
        })
    };
    let maintaining = {
        let (shard, mut random) = (shard.clone(), random.fork());
        runtime::spawn(async move {
            loop {
                pause(&mut random, 20_000).await;
                let _ = shard.maintain().await;
            }
        })
    };
    let reading = {
        let (shard, model, mut random) = (shard.clone(), model.clone(), random.fork());
        runtime::spawn(async move {
            loop {
                pause(&mut random, 30_000).await;
                let before = model.borrow().all_acknowledged();
                let Ok(found) = read_all(&shard).await else { return };
                model.borrow().check_all_there(&found, &before);
            }
        })
    };
    for appender in appenders {
        appender.await;
    }
    drop((ticking, maintaining, reading));
}

/// Opens what a crash has left and compares it with the model.
pub(crate) fn recover(seed: u64, disk: &SimDisk, model: &RefCell<Model>) {
    sim::run(seed, async {
        let shard = open(disk).await.expect("what a crash leaves can be opened");
        let found = read_all(&shard).await.expect("and read");
        let mut model = model.borrow_mut();
        let acknowledged = model.all_acknowledged();
        model.check_all_there(&found, &acknowledged);
        model.settle(&found);
        let stats = shard.stats();
        assert_eq!(stats.wal_damage, 0, "a crash damages nothing");
    });
}

/// Opens what decay has left. It may have lost samples, and it may refuse with an error, but it holds nothing foreign.
pub(crate) fn open_damaged(seed: u64, disk: &SimDisk, model: &RefCell<Model>) -> Option<usize> {
    sim::run(seed, async {
        let shard = open(disk).await.ok()?;
        let found = read_all(&shard).await.ok()?;
        model.borrow().check_nothing_foreign(&found);
        Some(found.values().map(BTreeMap::len).sum())
    })
}
