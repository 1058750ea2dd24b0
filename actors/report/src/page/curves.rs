//! The curves of the page: which metrics are plotted over steps, and for which arms.

use std::collections::{BTreeMap, BTreeSet};

use records::{GrpoMetrics, StepMetrics};
use scenarios::Method;
use serde::Serialize;

use crate::plots::lines::{Line, LinePlot};
use crate::plots::style;
use crate::recorded::{RecordedArm, RecordedRun, RecordedSeed};

/// The plot of one arm in a row of plots on the same scale.
#[derive(Serialize)]
pub(super) struct Panel {
    pub arm: String,
    pub style: String,
    pub svg: String,
}

/// A plot that shows all arms, with its title and a note below it.
#[derive(Serialize)]
pub(super) struct Chart {
    title: String,
    note: String,
    svg: String,
}

type Parts = BTreeMap<String, Option<f64>>;
/// Title, note, range of values, how to read the value from a row, and which arms have it.
type Curve = (&'static str, &'static str, Option<(f64, f64)>, Get, fn(&RecordedArm) -> bool);
type Get = fn(&StepMetrics) -> Option<f64>;

/// One chart per training metric, each with all arms that have it.
pub(super) fn training(run: &RecordedRun) -> Vec<Chart> {
    let unit = Some((0.0, 1.0));
    let grpo = |arm: &RecordedArm| arm.method != Some(Method::Sft);
    let sft = |arm: &RecordedArm| arm.method == Some(Method::Sft);
    let plots: [Curve; 9] = [
        (
            "Reward",
            "Mean shaped reward. Arms with different formulas cannot be compared.",
            None,
            |row| row.grpo()?.reward,
            grpo,
        ),
        ("Accuracy", "Of the completions sampled for training.", unit, |row| row.grpo()?.accuracy, grpo),
        ("Think rate", "Share of completions that think.", unit, |row| row.grpo()?.think_rate, grpo),
        ("KL to the reference policy", "Mean per token, k3 estimate.", None, |row| row.grpo()?.kl, grpo),
        ("Consistency", "Of the judged completions that think.", unit, |row| row.grpo()?.consistency, grpo),
        (
            "Think quality",
            "Of the judged completions that think.",
            unit,
            |row| row.grpo()?.think_quality,
            grpo,
        ),
        ("Completion length", "Mean, in tokens.", None, |row| row.grpo()?.completion_tokens_mean, grpo),
        (
            "Format rate",
            "Share of completions in one of the two valid forms.",
            unit,
            |row| row.grpo()?.format_rate,
            grpo,
        ),
        ("Loss of SFT arms", "Cross-entropy per target token.", None, StepMetrics::loss, sft),
    ];
    let curve = |get: Get, seed: &RecordedSeed| -> Vec<(f64, f64)> {
        let rows = seed.metrics.values();
        rows.filter_map(|row| Some((row.step() as f64, get(row).filter(|value| value.is_finite())?)))
            .collect()
    };
    let charts = plots.into_iter().filter_map(|(title, note, range, get, which)| {
        let arms = run.arms.iter().enumerate().filter(|(_, arm)| which(arm));
        let lines = arms.map(|(at, arm)| Line {
            label: arm.name.clone(),
            style: style(at),
            seeds: arm.seeds.iter().map(|seed| curve(get, seed)).collect(),
        });
        let plot = LinePlot { title: title.to_owned(), range, smoothed: true, lines: lines.collect() };
        Some(Chart { title: title.to_owned(), note: note.to_owned(), svg: plot.draw()? })
    });
    charts.collect()
}

/// Accuracy at every evaluation, one chart per suite.
pub(super) fn held_out(run: &RecordedRun) -> Vec<Chart> {
    let accuracy = |seed: &RecordedSeed, suite: &String| -> Vec<(f64, f64)> {
        let rows = seed.evals.get(suite).into_iter().flatten();
        rows.filter(|(_, row)| row.overall.n > 0)
            .map(|(&step, row)| (step as f64, row.overall.correct as f64 / row.overall.n as f64))
            .collect()
    };
    let charts = run.suites.iter().filter_map(|suite| {
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
        Some(Chart { title, note: "At each evaluation: the mean over seeds; with three or more, a band from the lowest to the highest.".to_owned(), svg: plot.draw()? })
    });
    charts.collect()
}

/// One plot for each arm that has such values. Its lines are the named parts of a metrics row; those for which
/// `is_dashed` returns true are dashed.
fn small_multiples(
    run: &RecordedRun,
    range: Option<(f64, f64)>,
    parts: fn(&GrpoMetrics) -> Parts,
    is_dashed: fn(&RecordedArm, &str) -> bool,
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
            style: style(place + 1) + if is_dashed(arm, name) { " dashed" } else { "" },
            seeds: rows.iter().map(|rows| curve(rows, name)).collect(),
        });
        let plot = LinePlot { title: arm.name.clone(), range, smoothed: true, lines: lines.collect() };
        if let Some(svg) = plot.draw() {
            panels.push(Panel { arm: arm.name.clone(), style: style(at), svg });
        }
    }
    panels
}

/// The reward components of every arm that scores any; those that its formula does not use are dashed.
pub(super) fn components(run: &RecordedRun) -> Vec<Panel> {
    let unused =
        |arm: &RecordedArm, name: &str| !arm.used.is_empty() && !arm.used.iter().any(|used| used == name);
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
