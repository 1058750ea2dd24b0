//! What the factors contributed, as tables of text.

use std::fmt::Write as _;

use statistics::Estimate;

use super::{Ablation, AblationMetric, AblationSuite, Contribution};
use crate::comparison::Difference;
use crate::fit::{GiveUp, cut, wrap};
use crate::plots::axes::signed;
use crate::tables::{cell_text, dash, markdown_table, plain_table, signed_range};

/// How the figures are to be read.
pub(crate) const READING: &str = "The Shapley value of a factor is what it adds, in the mean over all orders in which the factors could be \
    added. Alone: what it adds to none of the others; last: to all others. Intervals of 95 % are over questions and, with several seeds, \
    over trainings. Verdicts are corrected for the whole table (Holm, 5 %); less than 2 points or 1 token counts as none.";

/// The same of main effects and interactions.
pub(crate) const EFFECTS_READING: &str = "The main effect of a factor is the mean difference between on and off. The interaction of two is \
    the effect of one with the other, minus its effect without it. An effect after `or` can't be told apart by these arms.";

impl Ablation {
    /// The sections of `summary.md`.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("## What each factor contributed\n\n");
        for factor in self.factors.iter().filter(|factor| !factor.changes.is_empty()) {
            let _ = writeln!(out, "- {}: {}", cell_text(&factor.name), cell_text(&factor.changes));
        }
        if let Some(aliasing) = &self.aliasing {
            let _ = writeln!(out, "- the design: {}", cell_text(aliasing));
        }
        out.push('\n');
        for suite in &self.suites {
            if self.suites.len() > 1 {
                let _ = writeln!(out, "### {}\n", cell_text(&suite.suite));
            }
            for remark in &suite.remarks {
                let _ = writeln!(out, "- {}", cell_text(remark));
            }
            if !suite.remarks.is_empty() {
                out.push('\n');
            }
            if suite.arms.is_empty() {
                continue;
            }
            out.push_str(&markdown_table(&suite.contribution_rows()));
            let _ = writeln!(out, "\n{}", suite.basis());
            for metric in &suite.metrics {
                if let Some(sentence) = metric.fit() {
                    let _ = writeln!(out, "{sentence}");
                }
            }
            let effects = suite.effect_rows(1);
            if effects.len() > 1 {
                out.push_str("\nMain effects and interactions on the accuracy:\n\n");
                out.push_str(&markdown_table(&effects));
                let _ = writeln!(out, "\n{EFFECTS_READING}");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "{READING}\n");
        out
    }

    /// The contributions for a terminal of `width` characters.
    pub(crate) fn terminal_tables(&self, width: usize) -> String {
        let mut out = String::new();
        for suite in self.suites.iter().filter(|suite| !suite.arms.is_empty()) {
            let _ = writeln!(
                out,
                "\n{}",
                cut(&format!("what each factor contributed on {}:", suite.suite), width)
            );
            // The last columns first.
            let order = [GiveUp::Column(6), GiveUp::Column(5), GiveUp::Column(7)];
            out.push_str(&plain_table(&suite.contribution_rows(), width, &order));
            for remark in &suite.remarks {
                for line in wrap(remark, width) {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
        out
    }
}

impl AblationSuite {
    /// Metric, factor, Shapley value, interval, verdict, alone, last, and what has to hold.
    fn contribution_rows(&self) -> Vec<Vec<String>> {
        let head =
            ["Metric", "Factor", "Shapley value", "95 % interval", "Verdict", "Alone", "Last", "Holds"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for metric in &self.metrics {
            for (at, found) in metric.contributions.iter().enumerate() {
                let Contribution { factor, value, holds, alone, last } = found;
                let name = if at == 0 { metric.metric.clone() } else { String::new() };
                let (amount, range) = figures(value);
                let short =
                    |estimate: &Option<Estimate>| estimate.map_or_else(dash, |found| signed(found.value, 1));
                let verdict = value.verdict.clone();
                rows.push(vec![
                    name,
                    factor.clone(),
                    amount,
                    range,
                    verdict,
                    short(alone),
                    short(last),
                    holds.clone(),
                ]);
            }
        }
        rows
    }

    /// The effects of the first `metrics` metrics.
    fn effect_rows(&self, metrics: usize) -> Vec<Vec<String>> {
        let head = ["Effect", "Size", "95 % interval", "Verdict"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for effect in self.metrics.iter().take(metrics).flat_map(|metric| &metric.effects) {
            let (amount, range) = figures(&effect.value);
            let names: Vec<&str> = std::iter::once(effect.effect.as_str())
                .chain(effect.aliases.iter().map(String::as_str))
                .collect();
            rows.push(vec![names.join(" or "), amount, range, effect.value.verdict.clone()]);
        }
        rows
    }

    /// How many arms, seeds and questions are behind the figures.
    pub(crate) fn basis(&self) -> String {
        let Self { arms, seeds, questions, .. } = self;
        let seeds = match seeds {
            1 => "one seed: the intervals do not say how far another training would differ".to_owned(),
            seeds => format!("{seeds} seeds"),
        };
        format!("From {} arms, {questions} questions that all of them were asked, {seeds}.", arms.len())
    }
}

impl AblationMetric {
    /// Whether the Shapley values add up to the difference between all factors on and all off, where they need not.
    pub(crate) fn fit(&self) -> Option<String> {
        let (all, rest) = (self.all?, self.unexplained?);
        let judged = if rest.includes_zero() {
            "nothing contradicts them"
        } else {
            "more factors interact than they assume"
        };
        Some(format!(
            "For {}, the values differ in sum by {} {} {} from all factors on minus all off ({}): {judged}.",
            self.metric,
            signed(rest.value, 1),
            self.unit,
            signed_range(&rest),
            signed(all.value, 1),
        ))
    }
}

fn figures(value: &Difference) -> (String, String) {
    let Some(found) = value.estimate else { return (dash(), dash()) };
    (format!("{} {}", signed(found.value, 1), value.unit), signed_range(&found))
}
