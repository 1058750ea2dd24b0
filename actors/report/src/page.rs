//! `report.html`, rendered from the template `page/report.html`. The template escapes every value except the style
//! sheet, the script and the SVGs of `plots`, which escape the text that they contain.

mod ablation;
mod cards;
mod correlations;
mod curves;
mod overview;

use std::hash::{BuildHasher, RandomState};

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, value::Serde};
use records::GroupCounts;
use serde::Serialize;

use self::{
    ablation::AblationView,
    cards::{ArmCompletions, WorkedCard},
    correlations::CorrelationTable,
    curves::{Chart, Panel},
    overview::{ContributionView, SuiteView, Tile},
};
use crate::paper;
use crate::plots::axes::signed;
use crate::plots::style;
use crate::recorded::RecordedRun;
use crate::summary::Summary;
use crate::worked::Worked;

/// The variables of the template.
#[derive(Serialize)]
struct View<'a> {
    nonce: String,
    css: String,
    js: &'static str,
    summary: &'a Summary,
    /// Style class of each arm.
    styles: Vec<String>,
    /// Whether each arm's group counts add up.
    adds_up: Vec<bool>,
    tiles: Vec<Tile>,
    suites: Vec<SuiteView>,
    training: Vec<Chart>,
    held_out: Vec<Chart>,
    components: Vec<Panel>,
    emergence: Vec<Panel>,
    contributions: Vec<ContributionView<'a>>,
    factors: Option<AblationView<'a>>,
    correlations: Option<CorrelationTable>,
    worked: Vec<WorkedCard>,
    completions: Vec<ArmCompletions>,
    environment: &'a [(String, String)],
}

pub(super) fn render(run: &RecordedRun, summary: &Summary, worked: &[Worked]) -> Result<String, Error> {
    let mut page = Environment::new();
    page.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    page.set_auto_escape_callback(|_| AutoEscape::Html);
    page.add_filter("percent", |share: f64| format!("{:.1}", share * 100.0));
    page.add_filter("fixed", |value: f64, decimals: usize| format!("{value:.decimals$}"));
    page.add_filter("signed", signed);
    page.add_filter("standard_error", paper::standard_error);
    page.add_filter("whole", |percent: f64| percent.round().clamp(0.0, 100.0) as u64);
    page.add_filter("duration", duration);
    page.add_template("report.html", include_str!("page/report.html"))?;
    let view = View {
        // The page's policy allows only the script and the style sheet with this nonce. It is chosen here, so no completion
        // can contain it.
        nonce: format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2)),
        css: include_str!("page/page.css").to_owned() + &percent_classes(),
        js: include_str!("page/page.js"),
        summary,
        styles: (0..summary.arms.len()).map(style).collect(),
        adds_up: summary
            .arms
            .iter()
            .map(|arm| arm.groups.as_ref().is_none_or(GroupCounts::adds_up))
            .collect(),
        tiles: overview::tiles(summary),
        suites: summary.suites.iter().map(|suite| SuiteView::of(summary, suite)).collect(),
        training: curves::training(run),
        held_out: curves::held_out(run),
        components: curves::components(run),
        emergence: curves::no_think_by_difficulty(run),
        contributions: summary
            .contributions
            .iter()
            .map(|item| ContributionView::of(item, &summary.contributions))
            .collect(),
        factors: summary.ablation.as_ref().map(AblationView::of),
        correlations: CorrelationTable::of(summary),
        worked: worked.iter().map(|worked| WorkedCard::of(worked, run)).collect(),
        completions: run.arms.iter().enumerate().map(|(at, arm)| ArmCompletions::of(at, arm)).collect(),
        environment: &run.environment,
    };
    page.get_template("report.html")?.render(Serde(&view))
}

/// Classes for every whole percentage: `v` for the value of a bar, `l` for a distance from the left, `w` for a width. The
/// page's policy forbids `style` attributes, which text that escaped its element could use to cover the page.
fn percent_classes() -> String {
    (0..=100).map(|n| format!(".v{n}{{--v:{n}%}}.l{n}{{left:{n}%}}.w{n}{{width:{n}%}}")).collect()
}

/// `95` → `1 min 35 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) if seconds < 10.0 => format!("{seconds:.1} s"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_two_largest_units() {
        assert_eq!(duration(4.26), "4.3 s");
        assert_eq!(duration(95.0), "1 min 35 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
