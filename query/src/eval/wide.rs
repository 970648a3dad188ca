//! Wide windows: functions of windows that are longer than chunks, from the figures that blocks keep of them.
//!
//! The maximum of a month is in the index of the blocks but for the chunks at both of its ends. The *edges* of all windows cut the time of
//! a series; a chunk that no edge cuts is in each window as a whole or not at all, so it is not decoded. The others are, and are told
//! of between edges as chunks are, so that a window is a few extents in a row:
//!
//! ```text
//! chunks       [---------][---------][---------][---------]   [ head ...
//! windows          |------------------------------------|
//!                         |------------------------------------|
//! extents      [--][-----][---------][---------][-------][]   [-][---
//! ```
//!
//! What figures cannot tell exactly, such as sums of floats, and series with anything but finite floats, are evaluated sample by sample.

use tidemark_core::chunk::ChunkStatistics;
use tidemark_core::error::Result as CoreResult;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::sample::is_stale;
use tidemark_core::model::time::{TimeRange, TimestampMs};
use tidemark_core::shard::{Selection, Stretch};

use super::batch::{Cells, Steps};
use super::row::RowOptions;
use super::window::{Seen, WindowSpec};
use crate::functions::signature::Function;
use crate::functions::{Extent, Teller, uses_starts};
use crate::limits::WIDE_RANGE_MS_MIN;
use crate::parser::ast::EdgeMode;
use crate::plan::split::{RowExpr, RowPlan};

/// Evaluates the wide windows of a row plan.
pub(super) struct Wide {
    function: Function,
    spec: WindowSpec,
    steps: Steps,
    stretches: Vec<Stretch>,
    columns: SampleColumns,
    extents: Vec<Extent>,
}

/// The cells of a series.
pub(super) struct Told {
    /// What the window function gives.
    pub(super) cells: Cells,
    /// How many samples the windows held.
    pub(super) seen: Seen,
    /// How many of them were read.
    pub(super) read: usize,
}

impl Wide {
    /// `None` if a row plan has no windows that are wide enough, or that figures can tell of.
    pub(super) fn of(plan: &RowPlan, options: RowOptions) -> Option<Self> {
        let RowExpr::Window { function, spec, subquery: None, .. } = innermost(&plan.expr) else {
            return None;
        };
        let plain = spec.edges == EdgeMode::Plain && spec.at_ms.is_none();
        let starts = options.use_start_timestamps && uses_starts(*function);
        let wide = spec.range_ms >= WIDE_RANGE_MS_MIN;
        Teller::new(*function).filter(|_| plain && wide && !starts)?;
        Some(Wide {
            function: *function,
            spec: *spec,
            steps: plan.steps,
            stretches: Vec::new(),
            columns: SampleColumns::new(),
            extents: Vec::new(),
        })
    }

    /// The cells of series `i`; `None` if its samples have to be looked at, or if that is as cheap.
    pub(super) async fn evaluate(
        &mut self,
        selection: &Selection,
        i: usize,
        range: TimeRange,
    ) -> CoreResult<Option<Told>> {
        self.stretches.clear();
        selection.outline(i, range, &mut self.stretches).await?;
        let edges = Edges { spec: &self.spec, steps: self.steps };
        let mut told = 0;
        for stretch in &mut self.stretches {
            stretch.statistics = stretch.statistics.filter(|_| !edges.cut(stretch.range));
            told += stretch.statistics.map_or(0, |statistics| statistics.samples);
        }
        let teller = Teller::new(self.function);
        let mut known = self.stretches.iter().filter_map(|stretch| stretch.statistics.as_ref());
        let understood = teller.is_some_and(|teller| known.all(|s| teller.understands(s)));
        // Many windows over few chunks are cheaper when they slide.
        let work = (self.stretches.len() * self.steps.count) as u64;
        if told == 0 || !understood || work > told {
            return Ok(None);
        }
        self.extents.clear();
        let mut read = 0;
        for &Stretch { range, statistics } in &self.stretches {
            if let Some(statistics) = statistics {
                let TimeRange { start_ms: first_ms, end_ms: last_ms } = range;
                self.extents.push(Extent { first_ms, last_ms, statistics });
                continue;
            }
            self.columns.clear();
            selection.read(i, range, &mut self.columns).await?;
            read += self.columns.len();
            if !edges.divide(&mut self.columns, &mut self.extents) {
                return Ok(None);
            }
        }
        let windows = self.windows();
        Ok(windows.map(|(cells, seen)| Told { cells, seen, read }))
    }

    /// Puts the extents of each window together.
    fn windows(&self) -> Option<(Cells, Seen)> {
        let mut teller = Teller::new(self.function)?;
        let (mut cells, mut seen) = (Cells::absent(self.steps.count), Seen::default());
        for (step, step_ms) in self.steps.iter().enumerate() {
            let end_ms = self.spec.end(step_ms);
            let start_ms = end_ms.saturating_sub(self.spec.range_ms);
            let from = self.extents.partition_point(|extent| extent.first_ms <= start_ms);
            let to = self.extents.partition_point(|extent| extent.last_ms <= end_ms);
            let Some((first, later)) = self.extents.get(from..to).and_then(<[_]>::split_first)
            else {
                continue;
            };
            let mut window = *first;
            for extent in later {
                window.append(extent);
            }
            seen.count(window.statistics.samples as usize);
            cells.floats_mut()[step] = teller.tell(&window, (start_ms, end_ms))?;
        }
        Some((cells, seen))
    }
}

/// The expression that looks at samples.
fn innermost(expr: &RowExpr) -> &RowExpr {
    match expr {
        RowExpr::Cells { input, .. } => innermost(input),
        other => other,
    }
}

/// Where all windows begin and end. An edge lies behind the sample of its own time.
struct Edges<'a> {
    spec: &'a WindowSpec,
    steps: Steps,
}

impl Edges<'_> {
    /// The first edge that is not before `t`.
    fn next(&self, t: TimestampMs) -> Option<TimestampMs> {
        let first_end_ms = self.spec.end(self.steps.start_ms);
        let interval_ms = self.steps.interval_ms;
        let next = |first_ms: TimestampMs| {
            let distance = t.saturating_sub(first_ms).max(0);
            let step = distance / interval_ms + i64::from(distance % interval_ms > 0);
            let is_any = (step as usize) < self.steps.count;
            is_any.then(|| first_ms + step * interval_ms)
        };
        let (end, start) = (next(first_end_ms), next(first_end_ms - self.spec.range_ms));
        [end, start].into_iter().flatten().min()
    }

    /// Whether an edge lies between samples of these times.
    fn cut(&self, TimeRange { start_ms, end_ms }: TimeRange) -> bool {
        self.next(start_ms).is_some_and(|edge| edge < end_ms)
    }

    /// Adds what is to be told of samples between edges, staleness markers left out; false if there is anything but finite floats.
    fn divide(&self, columns: &mut SampleColumns, extents: &mut Vec<Extent>) -> bool {
        if !columns.histograms.is_empty() {
            return false;
        }
        let stale = columns.values.iter().any(|v| is_stale(*v));
        let (mut times, mut values) = (&columns.timestamps[..], &columns.values[..]);
        let kept: (Vec<TimestampMs>, Vec<f64>);
        if stale {
            let samples = times.iter().zip(values).filter(|(_, v)| !is_stale(**v));
            kept = samples.map(|(t, v)| (*t, *v)).unzip();
            (times, values) = (&kept.0[..], &kept.1[..]);
        }
        while let Some(&first_ms) = times.first() {
            let edge = self.next(first_ms);
            let end = edge.map_or(times.len(), |edge| times.partition_point(|t| *t <= edge));
            let Some(statistics) = ChunkStatistics::of(&values[..end]) else { return false };
            extents.push(Extent { first_ms, last_ms: times[end - 1], statistics });
            (times, values) = (&times[end..], &values[end..]);
        }
        true
    }
}
