//! The curves of the page: which figures are drawn over steps, for which arms.

use std::collections::{BTreeMap, BTreeSet};

use records::{GrpoMetrics, StepMetrics};
use scenarios::Method;
use serde::Serialize;

use crate::plots::lines::{Line, LinePlot};
use crate::plots::style;
use crate::recorded::{RecordedArm, RecordedRun, RecordedSeed};

/// An arm's drawing in a row of small multiples.
#[derive(Serialize)]
pub(super) struct Panel {
    pub arm: String,
    pub style: String,
    pub svg: String,
}

/// A titled drawing.
#[derive(Serialize)]
pub(super) struct Figure {
    title: String,
    note: String,
    svg: String,
}

type Parts = BTreeMap<String, Option<f64>>;
/// Title, note, range, value, and which arms have it.
type Curve = (&'static str, &'static str, Option<(f64, f64)>, Get, fn(&RecordedArm) -> bool);
type Get = fn(&StepMetrics) -> Option<f64>;

/// Curves of training, all arms in each.
pub(super) fn training(run: &RecordedRun) -> Vec<Figure> {
    let whole = Some((0.0, 1.0));
    let grpo = |arm: &RecordedArm| arm.method != Some(Method::Sft);
    let sft = |arm: &RecordedArm| arm.method == Some(Method::Sft);
    let plots: [Curve; 9] = [
        (
            "Reward",
            "Shaped reward. Arms with different formulas are not on one scale.",
            None,
            |row| row.grpo()?.reward,
            grpo,
        ),
        ("Accuracy", "Of the completions sampled to train on.", whole, |row| row.grpo()?.accuracy, grpo),
        ("Think rate", "Completions that think.", whole, |row| row.grpo()?.think_rate, grpo),
        ("KL to the reference", "Per token, k3 estimate.", None, |row| row.grpo()?.kl, grpo),
        (
            "Consistency",
            "Of completions that think, where it was judged.",
            whole,
            |row| row.grpo()?.consistency,
            grpo,
        ),
        (
            "Think quality",
            "Of completions that think, where it was judged.",
            whole,
            |row| row.grpo()?.think_quality,
            grpo,
        ),
        ("Completion length", "Tokens.", None, |row| row.grpo()?.completion_tokens_mean, grpo),
        ("Well formed", "Completions in one of the two valid forms.", whole, |row| row.grpo()?.format_rate, grpo),
        ("Loss of supervised arms", "Cross-entropy per target token.", None, StepMetrics::loss, sft),
    ];
    let curve = |get: Get, seed: &RecordedSeed| -> Vec<(f64, f64)> {
        let rows = seed.metrics.values();
        rows.filter_map(|row| Some((row.step() as f64, get(row).filter(|value| value.is_finite())?))).collect()
    };
    let figures = plots.into_iter().filter_map(|(title, note, range, get, which)| {
        let arms = run.arms.iter().enumerate().filter(|(_, arm)| which(arm));
        let lines = arms.map(|(at, arm)| Line {
            label: arm.name.clone(),
            style: style(at),
            seeds: arm.seeds.iter().map(|seed| curve(get, seed)).collect(),
        });
        let plot = LinePlot { title: title.to_owned(), range, smoothed: true, lines: lines.collect() };
        Some(Figure { title: title.to_owned(), note: note.to_owned(), svg: plot.draw()? })
    });
    figures.collect()
}

/// Accuracy at every evaluation, one figure for each suite.
pub(super) fn held_out(run: &RecordedRun) -> Vec<Figure> {
    let accuracy = |seed: &RecordedSeed, suite: &String| -> Vec<(f64, f64)> {
        let rows = seed.evals.get(suite).into_iter().flatten();
        rows.filter(|(_, row)| row.overall.n > 0)
            .map(|(&step, row)| (step as f64, row.overall.correct as f64 / row.overall.n as f64))
            .collect()
    };
    let figures = run.suites.iter().filter_map(|suite| {
        let lines = run.arms.iter().enumerate().map(|(at, arm)| Line {
            label: arm.name.clone(),
            style: style(at),
            seeds: arm.seeds.iter().map(|seed| accuracy(seed, suite)).collect(),
        });
        let title = format!("Held-out accuracy, {suite}");
        let plot = LinePlot {
            title: title.clone(),
            range: Some((0.0, 1.0)),
            smoothed: false,
            lines: lines.collect(),
        };
        Some(Figure { title, note: "At each evaluation, mean of the seeds.".to_owned(), svg: plot.draw()? })
    });
    figures.collect()
}

/// One figure for each arm that has such values, its lines being the named parts of a row; those that `aside`
/// points out are dashed.
fn small_multiples(
    run: &RecordedRun,
    range: Option<(f64, f64)>,
    parts: fn(&GrpoMetrics) -> Parts,
    aside: fn(&RecordedArm, &str) -> bool,
) -> Vec<Panel> {
    let mut panels = Vec::new();
    for (at, arm) in run.arms.iter().enumerate() {
        let rows: Vec<Vec<(f64, Parts)>> = arm
            .seeds
            .iter()
            .map(|seed| {
                let rows = seed.metrics.values().filter_map(StepMetrics::grpo);
                rows.map(|row| (row.step as f64, parts(row))).collect()
            })
            .collect();
        let names: BTreeSet<&String> = rows.iter().flatten().flat_map(|(_, parts)| parts.keys()).collect();
        let curve = |rows: &[(f64, Parts)], name: &String| -> Vec<(f64, f64)> {
            let found = rows.iter().filter_map(|(step, parts)| Some((*step, (*parts.get(name)?)?)));
            found.filter(|point| point.1.is_finite()).collect()
        };
        let lines = names.iter().enumerate().map(|(place, name)| Line {
            label: (*name).clone(),
            style: style(place + 1) + if aside(arm, name) { " dashed" } else { "" },
            seeds: rows.iter().map(|rows| curve(rows, name)).collect(),
        });
        let plot = LinePlot { title: arm.name.clone(), range, smoothed: true, lines: lines.collect() };
        if let Some(svg) = plot.draw() {
            panels.push(Panel { arm: arm.name.clone(), style: style(at), svg });
        }
    }
    panels
}

/// The reward components of every arm that has them.
pub(super) fn components(run: &RecordedRun) -> Vec<Panel> {
    let unused = |arm: &RecordedArm, name: &str| !arm.used.is_empty() && !arm.used.iter().any(|used| used == name);
    small_multiples(run, None, |row| row.components.clone(), unused)
}

/// The no-think rate at each difficulty during training.
pub(super) fn no_think_by_difficulty(run: &RecordedRun) -> Vec<Panel> {
    let rates = |row: &GrpoMetrics| -> Parts {
        let rates = row.think_rate_by_difficulty.iter();
        rates.map(|(name, rate)| (name.clone(), rate.map(|rate| 1.0 - rate))).collect()
    };
    small_multiples(run, Some((0.0, 1.0)), rates, |_, _| false)
}
