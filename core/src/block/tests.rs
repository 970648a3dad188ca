//! A block against a model: random series and matchers, every page damaged, a golden fixture.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::chunk::xor::XorEncoder;
use crate::chunk::{ChunkStatistics, Encoding};
use crate::error::{Error, Result};
use crate::model::columns::SampleColumns;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::time::TimeRange;
use crate::runtime::disk::Disk;
use crate::runtime::sim::{self, SimDisk};

const BLOCKS: &str = "/shard/blocks";

type Model = BTreeMap<Labels, Vec<Vec<(i64, f64)>>>;

fn new_chunk(samples: &[(i64, f64)]) -> NewChunk {
    let mut encoder = XorEncoder::new();
    for &(t, v) in samples {
        encoder.push(t, v);
    }
    NewChunk {
        range: TimeRange::new(samples[0].0, samples[samples.len() - 1].0),
        samples: samples.len() as u16,
        encoding: Encoding::Xor,
        bytes: encoder.seal(),
        details: Vec::new(),
        statistics: ChunkStatistics::of(&samples.iter().map(|(_, v)| *v).collect::<Vec<_>>()),
    }
}

async fn write(disk: &Disk, sequence: u32, model: &Model) -> Result<Option<BlockMeta>> {
    let plan = BlockPlan {
        sequence,
        level: 1,
        base_ms: 1000,
        cut_ms: 7_200_000,
        next_series: 9,
        sources: vec![],
    };
    let mut writer = BlockWriter::create(disk, Path::new(BLOCKS), plan).await?;
    for (labels, chunks) in model {
        writer.begin_series(labels.encoded());
        for chunk in chunks {
            writer.push(&new_chunk(chunk)).await?;
        }
        writer.end_series().await?;
    }
    writer.finish().await
}

async fn open(disk: &Disk, sequence: u32) -> Result<Block> {
    Block::open(disk, Path::new(BLOCKS), sequence, Pages::new(1 << 20)).await
}

/// Everything that passes `matchers`.
async fn read(
    block: &Block,
    matchers: &[Matcher],
    range: TimeRange,
) -> Result<Vec<(Labels, Vec<(i64, f64)>)>> {
    let numbers = block.select(matchers).await?;
    let mut found = Vec::new();
    block
        .series(&numbers, |_, labels, chunks| {
            found.push((Labels::from_encoded(labels).unwrap(), chunks.to_vec()));
        })
        .await?;
    let (mut all, mut scratch) = (Vec::new(), ReadScratch::default());
    for (labels, chunks) in found {
        let mut out = SampleColumns::new();
        for chunk in &chunks {
            block.read_chunk(chunk, range, u64::MAX, &mut scratch, &mut out).await?;
        }
        all.push((labels, out.timestamps.into_iter().zip(out.values).collect()));
    }
    Ok(all)
}

/// Some hundred series in several groups, some with several chunks.
fn model(series: u32) -> Model {
    let series = (0..series).map(|i| {
        let (host, cpu) = (format!("host-{:02}", i % 23), (i / 23).to_string());
        let name = if i % 3 == 0 { "a_total" } else { "b" };
        let labels = Labels::from_pairs([("__name__", name), ("cpu", &cpu), ("host", &host)]);
        let chunk =
            |c: i64| (0..40).map(|s| (5000 + (c * 40 + s) * 15, f64::from(i) + s as f64)).collect();
        (labels, (0..=i64::from(i % 3)).map(chunk).collect())
    });
    series.collect()
}

#[test]
fn a_block_gives_back_what_was_written() {
    sim::run(1, async {
        let (disk, model) = (SimDisk::new(1).disk(), model(400));
        let meta = write(&disk, 3, &model).await.unwrap().unwrap();
        let block = open(&disk, 3).await.unwrap();
        assert_eq!(block.meta(), &meta);
        let samples: usize = model.values().flatten().map(Vec::len).sum();
        assert_eq!((meta.series, meta.samples), (400, samples as u64));
        assert_eq!(meta.range, TimeRange::new(5000, 5000 + 119 * 15));
        let all = read(&block, &[], TimeRange::ALL).await.unwrap();
        assert!(
            all.iter().eq(model
                .iter()
                .map(|(l, c)| (l.clone(), c.concat()))
                .collect::<Vec<_>>()
                .iter())
        );
        let some = read(&block, &[Matcher::equal("host", "host-07")], TimeRange::new(5600, 5700))
            .await
            .unwrap();
        assert!(
            some.len() > 10
                && some.iter().all(|(l, s)| {
                    l.get("host") == Some("host-07")
                        && s.iter().all(|(t, _)| (5600..=5700).contains(t))
                })
        );
        assert!(block.label_names().eq(["__name__", "cpu", "host"]));
        let mut values = Vec::new();
        block
            .label_values("__name__", |value, series| {
                values.push((value.to_owned(), series));
                true
            })
            .await
            .unwrap();
        assert_eq!(values, [("a_total".to_owned(), 134), ("b".to_owned(), 266)]);
        block.verify().await.unwrap();
        let mut cursor = BlockCursor::open(&disk, Path::new(BLOCKS), 3).await.unwrap();
        for (i, labels) in (0..).zip(model.keys()) {
            let series = cursor.advance().await.unwrap().unwrap();
            assert_eq!((series.number, &*series.labels), (i, labels.encoded()));
        }
        assert!(cursor.advance().await.unwrap().is_none());
    });
}

#[test]
fn a_block_without_series_leaves_nothing() {
    sim::run(1, async {
        let disk = SimDisk::new(1);
        let model = Model::from([(Labels::from_pairs([("a", "1")]), Vec::new())]);
        assert_eq!(write(&disk.disk(), 3, &model).await.unwrap(), None);
        assert!(disk.files().is_empty());
    });
}

#[test]
fn damage_is_told_and_never_read_as_samples() {
    sim::run(1, async {
        let (disk, model) = (SimDisk::new(1), model(300));
        write(&disk.disk(), 3, &model).await.unwrap();
        for (path, content) in disk.files() {
            for byte in (7..content.len()).step_by(1499) {
                disk.flip_bit(&path, byte as u64 * 8 + 3);
                let damaged = async {
                    let block = open(&disk.disk(), 3).await?;
                    let verified = block.verify().await;
                    assert!(verified.is_err(), "{} byte {byte}", path.display());
                    for (labels, samples) in read(&block, &[], TimeRange::ALL).await? {
                        assert_eq!(samples, model[&labels].concat());
                    }
                    Ok::<_, Error>(())
                };
                if let Err(error) = damaged.await {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                }
                disk.flip_bit(&path, byte as u64 * 8 + 3);
            }
        }
        assert_eq!(open(&disk.disk(), 3).await.unwrap().meta().series, 300);
    });
}

#[test]
fn chunks_that_the_file_does_not_have_are_named() {
    sim::run(1, async {
        let (long, short) = (SimDisk::new(1), SimDisk::new(1));
        write(&long.disk(), 3, &model(300)).await.unwrap();
        let few = model(300).into_iter().take(2).collect();
        write(&short.disk(), 3, &few).await.unwrap();
        let (path, chunks) =
            short.files().into_iter().find(|(path, _)| path.ends_with(CHUNKS_FILE)).unwrap();
        // Each of the files is as it was written; only they are not of one block.
        long.put_file(&path, &chunks);
        let read = async {
            let block = open(&long.disk(), 3).await?;
            read(&block, &[], TimeRange::ALL).await
        };
        let error = read.await.unwrap_err();
        assert!(error.to_string().contains("found a stream of "), "{error}");
    });
}

/// Blocks as versions 1 and 2 write them: they have to stay readable for ever.
const FIXTURES: [[(&str, &[u8]); 2]; 2] = [
    [
        ("chunks", include_bytes!("fixtures/v1/chunks")),
        ("index", include_bytes!("fixtures/v1/index")),
    ],
    [
        ("chunks", include_bytes!("fixtures/v2/chunks")),
        ("index", include_bytes!("fixtures/v2/index")),
    ],
];

#[test]
fn the_fixtures_are_readable_and_the_last_is_what_is_written() {
    sim::run(1, async {
        let model = model(70);
        let written = SimDisk::new(1);
        write(&written.disk(), 3, &model).await.unwrap();
        for (version, fixture) in (1..).zip(FIXTURES) {
            let stored = SimDisk::new(2);
            for (name, content) in fixture {
                stored.put_file(&block_dir(Path::new(BLOCKS), 3).join(name), content);
            }
            let same = written.files() == stored.files();
            assert_eq!(same, version == FIXTURES.len(), "the bytes are fixed for ever");
            let block = open(&stored.disk(), 3).await.unwrap();
            assert_eq!(block.has_figures(), version > 1);
            let all = read(&block, &[], TimeRange::ALL).await.unwrap();
            let expected = model.iter().map(|(l, c)| (l.clone(), c.concat()));
            assert!(all.into_iter().eq(expected));
            check_figures(&block, &model).await;
        }
    });
}

/// The figures of every chunk are those of its values, if the block has any.
async fn check_figures(block: &Block, model: &Model) {
    let numbers: Vec<u32> = (0..block.meta().series).collect();
    let mut found = Vec::new();
    block
        .series(&numbers, |number, _, chunks| found.push((number, chunks.to_vec())))
        .await
        .unwrap();
    let mut figures = Figures::default();
    for ((number, chunks), samples) in found.into_iter().zip(model.values()) {
        block.read_figures(number, &mut figures).await.unwrap();
        for (chunk, samples) in chunks.iter().zip(samples) {
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let expected = ChunkStatistics::of(&values).filter(|_| block.has_figures());
            assert_eq!(figures.of(chunk), expected);
        }
    }
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex),
    ];
    let value = prop_oneof![
        Just(""),
        Just("x"),
        Just("y"),
        Just("x|y"),
        Just("x|"),
        Just(".*"),
        Just(".+"),
        Just("x.*"),
        Just("x.+"),
        Just("[xz]"),
        Just("none"),
    ];
    (op, prop_oneof![Just("a"), Just("b"), Just("absent")], value)
        .prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn selects_what_a_scan_selects(
        sets in proptest::collection::btree_set(
            proptest::collection::btree_map("[abc]", "[xyz]{1,2}", 0..4), 1..30),
        matchers in proptest::collection::vec(matcher(), 0..4),
    ) {
        let model: Model = sets
            .iter()
            .map(|set| set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Labels>())
            .map(|labels| (labels, vec![vec![(7, 1.0)]]))
            .collect();
        let passes = |labels: &&Labels| matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or("")));
        let expected: Vec<Labels> = model.keys().filter(passes).cloned().collect();
        sim::run(1, async {
            let disk = SimDisk::new(1).disk();
            write(&disk, 1, &model).await.unwrap();
            let found = read(&open(&disk, 1).await.unwrap(), &matchers, TimeRange::ALL).await.unwrap();
            assert_eq!(found.into_iter().map(|(labels, _)| labels).collect::<Vec<_>>(), expected);
        });
    }
}
