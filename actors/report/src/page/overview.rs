//! The upper part of the page: key results, the tables and no-think plots of each suite, and the
//! contribution of each reward.

use records::GroupCounts;
use scenarios::Method;
use serde::Serialize;

use super::curves::Panel;
use crate::arm_summary::{ArmSummary, Evaluation, Score};
use crate::comparison::Comparison;
use crate::plots::{interval, rates, style};
use crate::summary::Summary;
use statistics::Estimate;

/// One of the key results at the top of the page.
#[derive(Serialize)]
pub(super) struct Tile {
    label: String,
    value: String,
    detail: String,
}

/// The key results: best accuracies, largest difference between easy and hard, and group counts.
pub(super) fn tiles(summary: &Summary) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let evaluated = |arm: &ArmSummary| summary.suites.first().and_then(|suite| arm.evals.get(suite)).cloned();
    let pairs: Vec<_> = summary.arms.iter().filter_map(|arm| Some((arm, evaluated(arm)?))).collect();
    let untrained = pairs.iter().find(|(arm, _)| arm.method == Some(Method::None));
    let trained = || pairs.iter().filter(|(arm, _)| arm.method != Some(Method::None));
    let value = |estimate: Option<Estimate>| estimate.map_or(f64::NEG_INFINITY, |found| found.value);
    let percent = |estimate: &Estimate| format!("{:.1} %", estimate.value * 100.0);
    let range =
        |found: &Estimate| format!("{:.1}–{:.1}, n = {}", found.low * 100.0, found.high * 100.0, found.n);
    let mut best = |label: &str, get: &dyn Fn(&Evaluation) -> Option<Estimate>| {
        let top = trained().max_by(|a, b| value(get(&a.1)).total_cmp(&value(get(&b.1))));
        if let Some((arm, found)) = top.and_then(|(arm, eval)| Some((arm, get(eval)?))) {
            let from = untrained.and_then(|(_, eval)| get(eval));
            let from = from.map_or_else(String::new, |base| format!("; untrained {}", percent(&base)));
            let asked = top.and_then(|(_, eval)| eval.asked.as_ref());
            let asked = asked.map_or_else(String::new, |asked| format!(", {asked}"));
            let detail = format!("{} ({}{asked}){from}", arm.name, range(&found));
            tiles.push(Tile { label: label.to_owned(), value: percent(&found), detail });
        }
    };
    best("Highest accuracy", &|eval| eval.overall.accuracy);
    best("Highest accuracy on hard questions", &|eval| eval.at("hard")?.accuracy);
    let gap = |eval: &Evaluation| {
        Some(eval.at("easy")?.no_think_rate()?.value - eval.at("hard")?.no_think_rate()?.value)
    };
    let widest =
        trained().filter_map(|(arm, eval)| Some((arm, gap(eval)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((arm, points)) = widest {
        let base = untrained.and_then(|(_, eval)| gap(eval));
        let base = base.map_or_else(String::new, |gap| format!("; untrained {:+.0}", gap * 100.0));
        tiles.push(Tile {
            label: "Largest difference in no-think rate, easy − hard".to_owned(),
            value: format!("{:+.0} points", points * 100.0).replace('-', "−"),
            detail: format!("{}{base}", arm.name).replace('-', "−"),
        });
    }
    let groups = || summary.arms.iter().filter_map(|arm| arm.groups.as_ref());
    let dispatched: u64 = groups().map(|groups| groups.dispatched).sum();
    if dispatched > 0 {
        let excluded: u64 = groups().flat_map(|groups| groups.excluded.values()).sum();
        let complete = groups().all(GroupCounts::adds_up);
        tiles.push(Tile {
            label: "Groups sampled".to_owned(),
            value: dispatched.to_string(),
            detail: format!(
                "{excluded} excluded; {}",
                if complete { "all accounted for" } else { "the counts do NOT add up" }
            ),
        });
    }
    tiles
}

/// The table and the no-think plots of one suite.
#[derive(Serialize)]
pub(super) struct SuiteView {
    name: String,
    difficulties: Vec<String>,
    /// Whether the benchmark's own script gives another accuracy for any arm, which then gets a column.
    official: bool,
    /// The same of the lenient reading.
    lenient: bool,
    panels: Vec<Panel>,
    shows_paper: bool,
}

impl SuiteView {
    pub(super) fn of(summary: &Summary, suite: &str) -> Self {
        let difficulties = summary.difficulties(suite);
        let rates_of = |arm: &ArmSummary| -> Option<Vec<(String, Option<Estimate>)>> {
            let eval = arm.evals.get(suite)?;
            let at = |level: &String| eval.at(level).and_then(Score::no_think_rate);
            Some(difficulties.iter().map(|level| (level.clone(), at(level))).collect())
        };
        let untrained = summary.arms.iter().find(|arm| arm.method == Some(Method::None));
        let base_rates = untrained.and_then(rates_of);
        let mut panels = Vec::new();
        for (at, arm) in summary.arms.iter().enumerate().filter(|_| !difficulties.is_empty()) {
            let Some(rates) = rates_of(arm) else { continue };
            let is_base = untrained.is_some_and(|base| base.name == arm.name);
            let base = base_rates.as_deref().filter(|_| !is_base);
            let svg = rates::panel(&arm.name, &style(at), &rates, base, arm.adaptive);
            panels.push(Panel { arm: arm.name.clone(), style: style(at), svg });
        }
        let evals = || summary.arms.iter().filter_map(|arm| arm.evals.get(suite));
        Self {
            name: suite.to_owned(),
            difficulties,
            official: evals().any(|eval| eval.overall.counts.correct != eval.overall.counts.correct_official),
            lenient: evals().any(|eval| {
                let counts = &eval.overall.counts;
                counts.official_n > 0 && counts.correct_lenient != counts.correct
            }),
            panels,
            shows_paper: summary.arms.iter().any(|arm| arm.paper.is_some()),
        }
    }
}

/// A comparison with one plot per metric; `None` where the metric has no estimate.
#[derive(Serialize)]
pub(super) struct ContributionView<'a> {
    comparison: &'a Comparison,
    plots: Vec<Option<String>>,
}

impl<'a> ContributionView<'a> {
    pub(super) fn of(comparison: &'a Comparison, all: &[Comparison]) -> Self {
        // A metric has the same scale in all comparisons, so that its bars can be compared down the page.
        let reach = |metric: &str| {
            let same = all.iter().flat_map(|other| &other.differences).filter(|other| other.metric == metric);
            let ends =
                same.filter_map(|other| other.estimate).flat_map(|found| [found.low.abs(), found.high.abs()]);
            ends.fold(1e-9, f64::max)
        };
        let plots = comparison
            .differences
            .iter()
            .map(|difference| Some(interval::draw(&difference.estimate?, reach(&difference.metric))))
            .collect();
        Self { comparison, plots }
    }
}
