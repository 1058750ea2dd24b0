//! The metrics of all arms as curves, aligned by step, tokens or time, and thinned to what a plot can show.
//!
//! A point is all rows of a `width` of the axis: point k has those with k · width < x ≤ (k + 1) · width. The widths are the
//! same for all arms and seeds, so seeds can be compared point by point; and they stay as a run goes on, until it has become
//! about twice as long, so that a client that has the curves needs only their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::held_out::HeldOut;
use super::metrics::selects;
use records::ArmId;

/// Points of a curve without `points`, and the most.
const DEFAULT_POINTS: usize = 300;
const MOST_POINTS: usize = 2_000;

/// The fields without `fields`.
const DEFAULT_FIELDS: &str = "reward,accuracy,think_rate,components";

/// What the curves are aligned by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Axis {
    /// The number of the step.
    #[default]
    Step,
    /// The tokens that were trained on until then.
    Tokens,
    /// The seconds that the steps took until then, without evaluations, checkpoints and pauses.
    Seconds,
}

/// Whether the seeds of an arm are one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Seeds {
    /// A line for each arm: the mean over its seeds.
    #[default]
    Together,
    /// A line for each arm under each seed.
    Apart,
}

/// Which curves, and what part of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CurvesQuery {
    /// Columns, separated by commas; a group such as `components` selects all of its columns, and those that no arm has are
    /// left out. Default: `reward,accuracy,think_rate,components`.
    pub fields: Option<String>,
    /// `step`, `tokens` or `seconds`: what the curves are aligned by. Default: `step`.
    pub x: Axis,
    /// `together` or `apart`: one line for all seeds of an arm, or one for each. Default: `together`.
    pub seeds: Seeds,
    /// Whether to send `low` and `high` of each point. Default: false.
    pub band: bool,
    /// The beginning of the range, in the unit of `x`. Default: 0.
    pub from: Option<f64>,
    /// The end of the range, in the unit of `x`. Default: where the longest arm is.
    pub to: Option<f64>,
    /// The most points of a line in the range. Default 300, at most 2000.
    pub points: Option<usize>,
    /// The last step of each arm that the client has, in the order of the arms in the state of the run, separated by
    /// commas; empty for an arm of which it has none. Only what is new since then is sent, if `width` is still the width.
    pub since: Option<String>,
    /// The width of a point in the curves that the client has.
    pub width: Option<f64>,
}

/// The curves of the arms.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Curves {
    /// What a point covers, in the unit of the axis: point k has the rows with k · width < x ≤ (k + 1) · width.
    pub width: f64,
    /// Where the longest arm is, in the unit of the axis.
    pub to: f64,
    /// Whether these are the whole curves; otherwise points from the first that is sent on replace those that the client
    /// has, and lines that are not sent stay as they are.
    pub whole: bool,
    /// The number of arms whose records are still to be read, since they are long and nobody has asked for them yet; ask again.
    pub pending: usize,
    /// All metrics that have a value in some arm.
    pub fields: Vec<CurveField>,
    /// The curves of the arms that were asked for, without those that have nothing new.
    pub lines: Vec<CurveLine>,
}

/// A metric that has a value in some arm.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct CurveField {
    /// The name of its column.
    pub name: String,
    /// Whether any value is above 0.
    pub positive: bool,
}

/// An arm under one seed or several.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CurveLine {
    /// The arm's name in the scenario.
    pub arm: String,
    /// The seeds that the line is the mean of; several have a band.
    pub seeds: Vec<CurveSeed>,
    /// Where each point is: at the last row that it covers.
    pub x: Vec<f64>,
    /// By the name of the column.
    pub values: BTreeMap<String, CurveValues>,
    /// The evaluations of the first suite; `null` if there is none since the step that the client has.
    pub held_out: Option<HeldOutCurve>,
}

/// A seed of a line.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CurveSeed {
    pub seed: u64,
    /// The last step with metrics.
    pub step: u64,
    /// All metrics of that step that have a value.
    pub latest: BTreeMap<String, f64>,
    /// The last step at each point, `null` where it has none; empty if the axis is the step.
    pub steps: Vec<Option<u64>>,
}

/// The values of one column, one for each point; `null` where there is none.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct CurveValues {
    /// The mean over the rows of the point; with several seeds, the mean of their means.
    pub mean: Vec<Option<f64>>,
    /// The smallest mean of a seed; with one seed, the smallest value of a row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub low: Vec<Option<f64>>,
    /// The largest mean of a seed; with one seed, the largest value of a row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub high: Vec<Option<f64>>,
}

/// Evaluations, thinned like the curves.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct HeldOutCurve {
    pub x: Vec<f64>,
    /// By the name of the metric: the mean over seeds; `null` where there is no share.
    pub values: BTreeMap<String, Vec<Option<f64>>>,
}

impl CurvesQuery {
    fn x(&self, columns: &Columns, row: usize) -> f64 {
        match self.x {
            Axis::Step => columns.steps[row] as f64,
            Axis::Tokens => columns.tokens[row],
            Axis::Seconds => columns.seconds[row],
        }
    }

    /// Where the last row of an arm is; 0 without rows.
    pub fn end(&self, columns: &Columns) -> f64 {
        columns.steps.len().checked_sub(1).map_or(0.0, |row| self.x(columns, row))
    }

    /// The width of a point if the longest arm is at `end`: 1, 2 or 5 times a power of ten.
    pub fn width(&self, end: f64) -> f64 {
        let span = self.to.unwrap_or(end) - self.from.unwrap_or(0.0);
        let points = self.points.unwrap_or(DEFAULT_POINTS).clamp(2, MOST_POINTS);
        let least = if self.x == Axis::Seconds { 1e-3 } else { 1.0 };
        let rough = (span / points as f64).max(least);
        if !rough.is_finite() {
            return least;
        }
        let power = 10_f64.powi(rough.log10().floor() as i32);
        let nice =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|width| *width >= rough);
        nice.filter(|width| width.is_finite()).unwrap_or(rough)
    }

    /// The last step that the client has of each arm, in their order; none if it needs the whole curves.
    pub fn known(&self, width: f64) -> Option<Vec<Option<u64>>> {
        let since = self.since.as_deref().filter(|_| self.width == Some(width))?;
        Some(since.split(',').map(|step| step.trim().parse().ok()).collect())
    }

    /// The columns that are asked for, of those that an arm has.
    fn wants(&self, name: &str) -> bool {
        let fields = self.fields.as_deref().unwrap_or(DEFAULT_FIELDS);
        name != "step"
            && fields.split(',').map(str::trim).any(|field| !field.is_empty() && selects(field, name))
    }
}

/// The rows of one column at one point.
#[derive(Clone, Copy)]
struct Spread {
    mean: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// `None` without a finite value.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut sum, mut number, mut low, mut high) = (0.0, 0_u32, f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            sum += value;
            number += 1;
            (low, high) = (low.min(value), high.max(value));
        }
        (number > 0).then(|| Spread { mean: sum / f64::from(number), low, high })
    }
}

/// A point of the axis: its number.
fn point_of(x: f64, width: f64) -> u64 {
    // Saturates: below 0 is 0.
    ((x / width - 1e-9).ceil() - 1.0) as u64
}

/// What a client does not have of an arm, or of several seeds of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct News {
    /// The first point that may have changed.
    from: u64,
    /// Whether there are evaluations that it may not have.
    evaluations: bool,
}

impl News {
    /// Of an arm whose last step known to the client is `known`; `None` if there is nothing new.
    pub fn of(
        columns: &Columns,
        held_out: &HeldOut,
        query: &CurvesQuery,
        width: f64,
        known: Option<u64>,
    ) -> Option<Self> {
        let Some(known) = known else { return Some(News { from: 0, evaluations: true }) };
        let evaluations = held_out.steps.last().is_some_and(|step| *step >= known);
        if columns.steps.last().is_none_or(|step| *step == known) && !evaluations {
            return None;
        }
        // The point of the row that the client has may have got more rows. If that row is gone, all are new.
        let row = columns.steps.partition_point(|step| *step < known);
        let from = if row < columns.steps.len() { point_of(query.x(columns, row), width) } else { 0 };
        Some(News { from, evaluations })
    }

    /// What is new in either.
    pub fn and(self, other: News) -> News {
        News { from: self.from.min(other.from), evaluations: self.evaluations || other.evaluations }
    }
}

/// By the number of the point: where the last evaluation is, and the mean of each share.
type Evaluations = BTreeMap<u64, (f64, BTreeMap<String, f64>)>;

/// An arm under one seed, thinned.
pub(super) struct SeedCurve {
    id: ArmId,
    step: u64,
    latest: BTreeMap<String, f64>,
    points: Vec<Point>,
    /// By the name of the column, one for each point.
    values: BTreeMap<String, Vec<Option<Spread>>>,
    held_out: Option<Evaluations>,
}

struct Point {
    number: u64,
    /// Where its last row is, and the step of that row.
    x: f64,
    step: u64,
    rows: Range<usize>,
}

impl SeedCurve {
    /// The curves of an arm as far as they are new.
    pub fn of(
        id: &ArmId,
        columns: &Columns,
        held_out: &HeldOut,
        query: &CurvesQuery,
        width: f64,
        news: News,
    ) -> Self {
        let last = columns.steps.len().checked_sub(1);
        let latest = |row: usize| {
            let figures = columns.all().iter().filter(|column| column.values[row].is_finite());
            figures.map(|column| (column.name.clone(), column.values[row])).collect()
        };
        let points = points(columns, query, width, news.from);
        let wanted = columns.all().iter().filter(|column| column.has_value && query.wants(&column.name));
        let spreads = |values: &[f64]| {
            points.iter().map(|point| Spread::of(values[point.rows.clone()].iter().copied())).collect()
        };
        SeedCurve {
            id: id.clone(),
            step: last.map_or(0, |row| columns.steps[row]),
            latest: last.map_or_else(BTreeMap::new, latest),
            values: wanted.map(|column| (column.name.clone(), spreads(&column.values))).collect(),
            held_out: news.evaluations.then(|| thinned(columns, held_out, query, width)),
            points,
        }
    }

    fn point(&self, number: u64) -> Option<usize> {
        self.points.binary_search_by_key(&number, |point| point.number).ok()
    }
}

/// The points of the range that is asked for, and one beyond each end of it. The axis never falls from row to row.
fn points(columns: &Columns, query: &CurvesQuery, width: f64, from: u64) -> Vec<Point> {
    let lowest = query.from.map_or(0, |from| point_of(from, width).saturating_sub(1)).max(from);
    let highest = query.to.map_or(u64::MAX, |to| point_of(to, width).saturating_add(1));
    let number = |row: usize| point_of(query.x(columns, row), width);
    let rows = columns.steps.len();
    let (mut first, mut behind) = (0, rows);
    while first < behind {
        let middle = usize::midpoint(first, behind);
        if number(middle) < lowest { first = middle + 1 } else { behind = middle }
    }
    let mut found: Vec<Point> = Vec::new();
    for row in first..rows {
        let number = number(row);
        if number > highest {
            break;
        }
        let (x, step) = (query.x(columns, row), columns.steps[row]);
        match found.last_mut() {
            Some(point) if point.number == number => {
                (point.x, point.step, point.rows.end) = (x, step, row + 1);
            }
            _ => found.push(Point { number, x, step, rows: row..row + 1 }),
        }
    }
    found
}

/// The evaluations at each point.
fn thinned(columns: &Columns, held_out: &HeldOut, query: &CurvesQuery, width: f64) -> Evaluations {
    let mut points: BTreeMap<u64, (f64, BTreeMap<String, Vec<f64>>)> = BTreeMap::new();
    for (place, step) in held_out.steps.iter().enumerate() {
        let x = match columns.steps.partition_point(|taken| taken <= step) {
            0 => 0.0,
            _ if query.x == Axis::Step => *step as f64,
            rows => query.x(columns, rows - 1),
        };
        let (at, values) = points.entry(point_of(x, width)).or_default();
        *at = x;
        for (name, column) in held_out.values.iter().filter(|(name, _)| query.wants(name)) {
            values.entry(name.clone()).or_default().push(column[place]);
        }
    }
    let mean = |values: Vec<f64>| Spread::of(values.into_iter()).map(|spread| spread.mean);
    let means = |values: BTreeMap<String, Vec<f64>>| {
        values.into_iter().filter_map(|(name, values)| Some((name, mean(values)?))).collect()
    };
    points.into_iter().map(|(point, (x, values))| (point, (x, means(values)))).collect()
}

impl CurveLine {
    /// Puts the seeds of an arm into one line; at least one.
    pub fn of(seeds: &[SeedCurve], query: &CurvesQuery) -> Self {
        let numbers: BTreeSet<u64> =
            seeds.iter().flat_map(|seed| seed.points.iter().map(|point| point.number)).collect();
        let names: BTreeSet<&String> = seeds.iter().flat_map(|seed| seed.values.keys()).collect();
        let values = names.into_iter().map(|name| {
            let mut values = CurveValues::default();
            for &number in &numbers {
                let mut spreads =
                    seeds.iter().filter_map(|seed| seed.values.get(name)?[seed.point(number)?]);
                let spread = match seeds.len() {
                    1 => spreads.next(),
                    _ => Spread::of(spreads.map(|spread| spread.mean)),
                };
                values.mean.push(spread.map(|spread| short(spread.mean)));
                if query.band {
                    values.low.push(spread.map(|spread| short(spread.low)));
                    values.high.push(spread.map(|spread| short(spread.high)));
                }
            }
            (name.clone(), values)
        });
        let place = |seed: &SeedCurve, number: u64| Some(seed.points[seed.point(number)?].x);
        let x =
            |&number: &u64| rounded(seeds.iter().filter_map(|seed| place(seed, number)).fold(0.0, f64::max));
        let steps = |seed: &SeedCurve| match query.x {
            Axis::Step => Vec::new(),
            Axis::Tokens | Axis::Seconds => {
                numbers.iter().map(|&number| Some(seed.points[seed.point(number)?].step)).collect()
            }
        };
        CurveLine {
            arm: seeds[0].id.arm.clone(),
            x: numbers.iter().map(x).collect(),
            values: values.collect(),
            held_out: held_out_line(seeds),
            seeds: seeds
                .iter()
                .map(|seed| CurveSeed {
                    seed: seed.id.seed,
                    step: seed.step,
                    latest: seed.latest.clone(),
                    steps: steps(seed),
                })
                .collect(),
        }
    }
}

/// The mean evaluations over seeds; `None` if no seed has a new one.
fn held_out_line(seeds: &[SeedCurve]) -> Option<HeldOutCurve> {
    let all: Vec<_> = seeds.iter().filter_map(|seed| seed.held_out.as_ref()).collect();
    if all.is_empty() {
        return None;
    }
    let points: BTreeSet<&u64> = all.iter().flat_map(|points| points.keys()).collect();
    let names: BTreeSet<&String> =
        all.iter().flat_map(|points| points.values().flat_map(|(_, values)| values.keys())).collect();
    let mut curve = HeldOutCurve::default();
    for point in points {
        let here = || all.iter().filter_map(|points| points.get(point));
        curve.x.push(rounded(here().map(|(x, _)| *x).fold(0.0, f64::max)));
        for name in &names {
            let spread = Spread::of(here().filter_map(|(_, values)| values.get(*name).copied()));
            let values = curve.values.entry((*name).clone()).or_default();
            values.push(spread.map(|spread| short(spread.mean)));
        }
    }
    Some(curve)
}

/// The lines that a query makes of arms: each with the places of its arms, which keep their order.
pub(super) fn groups<'a>(ids: impl IntoIterator<Item = &'a ArmId>, query: &CurvesQuery) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (place, id) in ids.into_iter().enumerate() {
        match groups.iter_mut().find(|(arm, _)| *arm == id.arm).filter(|_| query.seeds == Seeds::Together) {
            Some((_, group)) => group.push(place),
            None => groups.push((&id.arm, vec![place])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The metrics that have a value in some arm, in the order in which they were met.
#[derive(Default)]
pub(super) struct Fields(Vec<CurveField>);

impl Fields {
    pub fn add(&mut self, columns: &Columns) {
        for column in columns.all().iter().filter(|column| column.has_value && column.name != "step") {
            match self.0.iter_mut().find(|field| field.name == column.name) {
                Some(field) => field.positive |= column.has_positive,
                None => self.0.push(CurveField { name: column.name.clone(), positive: column.has_positive }),
            }
        }
    }

    pub fn finish(self) -> Vec<CurveField> {
        self.0
    }
}

/// Six digits, more than a plot can show.
fn short(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powi(5 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

/// To the thousandth: steps, tokens and milliseconds.
fn rounded(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
