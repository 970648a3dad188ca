//! What each of the 27 expressions costs on shards whose disk is memory, from the text of a query to the bytes of its answer: where to
//! look first when queries are slow, without a server and its sockets.
//!
//! `cargo run --release -p tidemark-bench --example expressions -- [SERIES [HOURS [RANGE]]]`: so many series of so many hours are loaded into two
//! shards of one core, and asked for over a range of 1, 6 or 24 hours, or with 0 at one instant. Of three rounds the fastest counts.

#![allow(
    clippy::disallowed_methods,
    reason = "the simulation's clock stands still while code runs"
)]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidemark_bench::dataset::{Dataset, STEP_MS};
use tidemark_bench::expressions::EXPRESSIONS;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_query::api::Params;
use tidemark_query::api::query::{Format, QuerySettings, RangeRequest, answer};
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SHARDS: u32 = 2;
const ROUNDS: usize = 3;
const START_MS: i64 = 1_763_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn main() -> Outcome<()> {
    let argument = |i: usize, default: i64| {
        std::env::args().nth(i).map_or(Ok(default), |text| text.parse::<i64>())
    };
    let (series, hours, range_hours) = (argument(1, 5_000)?, argument(2, 2)?, argument(3, 1)?);
    sim::run(1, async move {
        let end_ms = START_MS + hours * HOUR_MS;
        let engine = load(series as usize, end_ms).await?;
        let mut total = Duration::ZERO;
        for (title, query) in EXPRESSIONS {
            let (best, samples) = measure(&engine, query, end_ms, range_hours).await?;
            total += best;
            println!("{:9.3} ms  {samples:9} samples  {title}", best.as_secs_f64() * 1e3);
        }
        println!("{:9.3} ms  in all", total.as_secs_f64() * 1e3);
        Ok(())
    })
}

/// Series by series, with the background work of a server.
async fn load(series: usize, end_ms: i64) -> Outcome<Engine> {
    let disk = SimDisk::new(1).disk();
    let mut mine = Vec::new();
    for number in 0..SHARDS {
        let options = ShardOptions { future_ms_max: i64::MAX, ..ShardOptions::default() };
        let directory = PathBuf::from(format!("/shard-{number:04}"));
        mine.push(Shard::open(disk.clone(), &directory, options).await?);
    }
    let shards = Shards::local(mine.clone());
    let dataset = Dataset::new();
    for n in 0..series {
        let mut series = dataset.series(n);
        let labels: Labels = series.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut batch = AppendBatch::new();
        batch.push_series(labels.fingerprint(), labels.encoded());
        let mut t = START_MS;
        while t < end_ms {
            t += STEP_MS;
            batch.push_sample(t, series.walk.advance());
        }
        shards.append(vec![(shards.owner(labels.fingerprint()), batch)]).await?;
        if n % 100 == 99 {
            for shard in &mine {
                shard.tick().await?;
            }
        }
    }
    Ok(Engine::new(shards, EngineOptions::default()))
}

/// The fastest of the rounds, and how many samples were read.
async fn measure(
    engine: &Engine,
    query: &str,
    end_ms: i64,
    range_hours: i64,
) -> Outcome<(Duration, u64)> {
    let step_ms = match range_hours {
        0 | 1 => 15_000,
        6 => 60_000,
        _ => 300_000,
    };
    let settings = settings()?;
    let (mut best, mut samples) = (Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let start_ms = end_ms - range_hours * HOUR_MS;
        let options = QueryOptions::default();
        let result = match range_hours {
            0 => engine.instant(query, end_ms, &options).await?,
            _ => engine.range(query, start_ms, end_ms, step_ms, &options).await?,
        };
        samples = result.stats.samples_read;
        std::hint::black_box(answer(Ok(result), &settings, Format::Json, engine.shards()));
        best = best.min(began.elapsed());
    }
    Ok((best, samples))
}

/// What a client says that wants nothing special.
fn settings() -> Outcome<QuerySettings> {
    let params = Params::parse("query=up&start=0&end=1&step=1", b"");
    Ok(RangeRequest::new(&params)?.settings)
}
