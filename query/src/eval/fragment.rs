//! The part of a query that runs on a shard: one selection, each series through a row plan, the rows collected or
//! aggregated on the spot.

use std::sync::Arc;

use tidemark_core::error::Error as CoreError;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::runtime;
use tidemark_core::runtime::clock::Instant;
use tidemark_core::shard::Shard;

use super::aggregate::{AggregateSpec, Groups, PartialGroups};
use super::batch::{Batch, Row};
use super::count_values::{CountSpec, ValueCounts};
use super::histogram_stats;
use super::notes::Notes;
use super::row::{RowInput, RowOptions, RowScratch, evaluate};
use super::select_k::{Pick, pick};
use super::wide::Wide;
use crate::budget::Budget;
use crate::functions::labels::without_metadata;
use crate::limits::{AHEAD_BYTES_MIN, PICK_ROWS_MIN};
use crate::plan::split::RowPlan;
use crate::value::{ErrorType, QueryError, ShardCost};

/// What becomes of the rows of a shard.
#[derive(Clone, Debug)]
pub enum Reduce {
    /// They are the answer.
    Nothing,
    /// They are aggregated: groups are the answer.
    Groups(AggregateSpec),
    /// Their values are counted: a row for each group and value is the answer.
    Values(CountSpec),
    /// Some are picked: what is picked from all shards is picked from what each of them picks.
    Pick(Pick),
}

/// What a shard is to do.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Which series.
    pub matchers: Arc<[Matcher]>,
    /// Of histograms only count and sum are looked at.
    pub stats_only: bool,
    /// What is computed of each.
    pub plan: RowPlan,
    /// What becomes of the rows.
    pub reduce: Reduce,
    /// Settings.
    pub options: RowOptions,
    /// What the query may cost.
    pub budget: Budget,
    /// Where the time goes is to be told.
    pub timed: bool,
    /// How many samples each step looks at is to be told.
    pub counts_steps: bool,
}

/// What a shard answers.
#[derive(Debug)]
pub struct Gathered {
    /// The rows, those that were picked or all; counts if values were counted; none if they were aggregated.
    pub rows: Vec<Row>,
    /// The groups, if rows were aggregated.
    pub groups: Option<PartialGroups>,
    /// Annotations.
    pub notes: Notes,
    /// What it cost; times only if they were to be told.
    pub cost: ShardCost,
    /// Samples that each step looked at, if that was to be told.
    pub seen: Vec<u64>,
}

impl Gathered {
    fn new() -> Self {
        Gathered {
            rows: Vec::new(),
            groups: None,
            notes: Notes::default(),
            cost: ShardCost::default(),
            seen: Vec::new(),
        }
    }
}

/// What the rows of a shard become while they come.
enum Reducing {
    Rows,
    Groups(Groups),
    Values(ValueCounts),
}

impl Reducing {
    fn new(reduce: &Reduce) -> Self {
        match reduce {
            Reduce::Nothing | Reduce::Pick(_) => Reducing::Rows,
            Reduce::Groups(spec) => Reducing::Groups(Groups::new(spec.clone())),
            Reduce::Values(spec) => Reducing::Values(ValueCounts::new(spec.clone())),
        }
    }

    fn finish(self, gathered: &mut Gathered) {
        match self {
            Reducing::Rows => {}
            Reducing::Groups(groups) => gathered.groups = Some(groups.into_partial()),
            Reducing::Values(counts) => gathered.rows = counts.into_rows(),
        }
    }
}

/// Runs a fragment on one shard.
pub async fn run(fragment: Arc<Fragment>, shard: &Shard) -> Result<Gathered, QueryError> {
    let mut gathered = Gathered::new();
    let mut reducing = Reducing::new(&fragment.reduce);
    let mut picking = Picking::new(&fragment);
    let watch = Stopwatch::new(fragment.timed);
    if let Some(range) = fragment.plan.time_range() {
        let selection =
            shard.select(&fragment.matchers, range).await.map_err(|e| storage_error(&e))?;
        gathered.cost.select_seconds = watch.seconds();
        let mut columns = SampleColumns::new();
        let mut scratch = RowScratch::new(fragment.counts_steps.then_some(fragment.plan.steps));
        let mut wide =
            Wide::of(&fragment.plan, fragment.options).filter(|_| !fragment.counts_steps);
        for i in 0..selection.len() {
            runtime::yield_if_needed().await;
            fragment.budget.check()?;
            columns.clear();
            let began = watch.seconds();
            let told = match &mut wide {
                Some(wide) => wide.evaluate(&selection, i, range).await,
                None => Ok(None),
            };
            let told = told.map_err(|e| storage_error(&e))?;
            if told.is_none() {
                selection.read(i, range, &mut columns).await.map_err(|e| storage_error(&e))?;
            }
            gathered.cost.read_seconds += watch.seconds() - began;
            let read = told.as_ref().map_or(columns.len(), |told| told.read);
            if told.is_none() && read == 0 {
                continue;
            }
            fragment.budget.count_read(read);
            gathered.cost.series += 1;
            gathered.cost.samples += read;
            let labels = selection.labels(i);
            let told = told.map(|told| (told.cells, told.seen));
            let input = RowInput {
                labels: &labels,
                columns: &mut columns,
                told,
                options: fragment.options,
            };
            fragment.add_series(input, &mut scratch, &mut reducing, &mut gathered)?;
            picking.pick_if_many(&mut gathered);
        }
        picking.pick(&mut gathered);
        gathered.seen = scratch.take_step_counts();
        gathered.notes.add_storage(selection.warnings());
    }
    reducing.finish(&mut gathered);
    gathered.cost.seconds = watch.seconds();
    Ok(gathered)
}

impl Fragment {
    /// Makes what takes up to so many bytes, once there is room for it.
    fn ahead<T>(&self, bytes: usize, make: impl FnOnce() -> T) -> Result<T, QueryError> {
        if bytes < AHEAD_BYTES_MIN {
            return Ok(make());
        }
        self.budget.hold_bytes(bytes)?;
        let made = make();
        self.budget.release_bytes(bytes);
        Ok(made)
    }

    /// One series, read, into the groups, the counts or the rows.
    fn add_series(
        &self,
        mut input: RowInput<'_>,
        scratch: &mut RowScratch,
        reducing: &mut Reducing,
        gathered: &mut Gathered,
    ) -> Result<(), QueryError> {
        let labels = input.labels;
        if self.stats_only && !input.columns.histograms.is_empty() {
            histogram_stats::strip(input.columns);
        }
        let column = self.plan.steps_max() * size_of::<f64>();
        let cells =
            self.ahead(column, || evaluate(&self.plan, &mut input, scratch, &mut gathered.notes))?;
        let seen = scratch.take_seen();
        self.budget.count_seen(seen.total);
        self.budget.hold(seen.widest)?;
        self.budget.release(seen.widest);
        if !cells.any_present() {
            return Ok(());
        }
        let drop_name = self.plan.drops_name();
        if let Reducing::Groups(groups) = reducing {
            let before = groups.byte_len();
            self.ahead(groups.group_byte_len(), || {
                groups.add(labels, drop_name, &cells, &mut gathered.notes);
            })?;
            return self.budget.hold_bytes(groups.byte_len() - before);
        }
        let drop_now = drop_name && !self.options.delayed_name_removal;
        let labels = if drop_now { without_metadata(labels) } else { labels.clone() };
        if let Reducing::Values(counts) = reducing {
            return counts.add(&labels, &cells, &self.budget);
        }
        let row = Row { labels, drop_name, cells };
        let weight = row.weight();
        gathered.rows.push(row);
        self.budget.hold(weight.samples)?;
        self.budget.hold_bytes(weight.bytes)
    }
}

/// Picks rows now and then, so that no more are held than a few times what is picked.
struct Picking<'a> {
    fragment: &'a Fragment,
    /// How many rows are worth picking from.
    many: usize,
}

impl<'a> Picking<'a> {
    fn new(fragment: &'a Fragment) -> Self {
        Picking { fragment, many: PICK_ROWS_MIN }
    }

    fn pick_if_many(&mut self, gathered: &mut Gathered) {
        if gathered.rows.len() >= self.many {
            self.pick(gathered);
            self.many = PICK_ROWS_MIN.max(2 * gathered.rows.len());
        }
    }

    fn pick(&self, gathered: &mut Gathered) {
        let Reduce::Pick(spec) = &self.fragment.reduce else { return };
        let rows = std::mem::take(&mut gathered.rows);
        let batch = Batch::new(self.fragment.plan.steps, rows);
        let before = batch.weight();
        let picked = pick(spec, batch, &mut gathered.notes);
        let freed = before.minus(picked.weight());
        self.fragment.budget.release(freed.samples);
        self.fragment.budget.release_bytes(freed.bytes);
        gathered.rows = picked.rows;
    }
}

/// Tells the time since it was made; zero if nobody wants to know.
struct Stopwatch(Option<Instant>);

impl Stopwatch {
    fn new(runs: bool) -> Self {
        Stopwatch(runs.then(Instant::now))
    }

    #[inline]
    fn seconds(&self) -> f64 {
        self.0.map_or(0.0, |began| began.elapsed().as_secs_f64())
    }
}

/// What a failure of storage means for a query.
pub fn storage_error(error: &CoreError) -> QueryError {
    let kind = if error.is_transient() { ErrorType::Unavailable } else { ErrorType::Internal };
    QueryError::new(kind, format!("expanding series: {error}"))
}
