//! What the factors of a design contributed, with a plot for each estimate.

use serde::Serialize;

use crate::ablation::{
    Ablation, AblationMetric, AblationSuite, Contribution, EFFECTS_READING, Effect, READING,
};
use crate::comparison::Difference;
use crate::plots::interval;

/// The section of the factors.
#[derive(Serialize)]
pub(super) struct AblationView<'a> {
    ablation: &'a Ablation,
    suites: Vec<AblationSuiteView<'a>>,
    reading: &'static str,
    effects_reading: &'static str,
}

#[derive(Serialize)]
struct AblationSuiteView<'a> {
    suite: &'a AblationSuite,
    basis: String,
    metrics: Vec<AblationMetricView<'a>>,
}

#[derive(Serialize)]
struct AblationMetricView<'a> {
    metric: &'a AblationMetric,
    fit: Option<String>,
    contributions: Vec<Plotted<'a, Contribution>>,
    effects: Vec<Plotted<'a, Effect>>,
}

#[derive(Serialize)]
struct Plotted<'a, T: Serialize> {
    item: &'a T,
    plot: Option<String>,
}

impl<'a> AblationView<'a> {
    pub(super) fn of(ablation: &'a Ablation) -> Self {
        let suites = ablation.suites.iter().map(|suite| AblationSuiteView {
            suite,
            basis: suite.basis(),
            metrics: suite.metrics.iter().map(AblationMetricView::of).collect(),
        });
        Self { ablation, suites: suites.collect(), reading: READING, effects_reading: EFFECTS_READING }
    }
}

impl<'a> AblationMetricView<'a> {
    fn of(metric: &'a AblationMetric) -> Self {
        // All estimates of a metric have one scale, so that they can be compared down the page.
        let values = metric.contributions.iter().map(|found| &found.value);
        let values = values.chain(metric.effects.iter().map(|effect| &effect.value));
        let ends =
            values.filter_map(|value| value.estimate).flat_map(|found| [found.low.abs(), found.high.abs()]);
        let reach = ends.fold(1e-9, f64::max);
        let draw = |value: &Difference| Some(interval::draw(&value.estimate?, reach));
        Self {
            metric,
            fit: metric.fit(),
            contributions: metric
                .contributions
                .iter()
                .map(|item| Plotted { item, plot: draw(&item.value) })
                .collect(),
            effects: metric.effects.iter().map(|item| Plotted { item, plot: draw(&item.value) }).collect(),
        }
    }
}
