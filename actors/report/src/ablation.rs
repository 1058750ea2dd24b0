//! What each factor of a design contributed: Shapley values, what a factor adds alone and last, main effects and interactions.
//!
//! All of them are contrasts of the design's arms ([`statistics::Contrasts`]), question by question, with the intervals of
//! `docs/statistics.md`. What the arms that were trained to their end do not determine is missing.
//!
//! - REPORT-5 an arm counts only if it was evaluated after its last step; the others are named.

mod plan;
mod text;
mod usable;

use scenarios::{Design, DesignFactor, DesignKind, Metric};
use serde::Serialize;
use statistics::{Comparison as Paired, Contrasts, Estimate, Panel, SeedVariance, holm};

use crate::comparison::Difference;
use crate::outcomes::Measure;
use crate::recorded::RecordedRun;
pub(crate) use text::{EFFECTS_READING, READING};

use plan::{Plan, Planned};
use usable::{Usable, usable};

/// What the factors of a design contributed.
#[derive(Clone, Debug, Serialize)]
pub struct Ablation {
    /// The kind of design; empty for arms that were written by hand.
    pub kind: Vec<DesignKind>,
    /// The factors and their levels.
    pub factors: Vec<DesignFactor>,
    /// What the design as a whole can't tell apart, in a sentence; `None` if its arms are all combinations, or no regular part of them.
    pub aliasing: Option<String>,
    /// One entry per suite, in the report's order.
    pub suites: Vec<AblationSuite>,
}

/// What the factors contributed on a suite.
#[derive(Clone, Debug, Serialize)]
pub struct AblationSuite {
    /// The suite's name.
    pub suite: String,
    /// The arms that count.
    pub arms: Vec<String>,
    /// Why others do not, and what else is to be known of the arms, one sentence each.
    pub remarks: Vec<String>,
    /// Training seeds of the arm with the fewest.
    pub seeds: usize,
    /// Questions that all of these arms were asked.
    pub questions: usize,
    /// One entry per metric.
    pub metrics: Vec<AblationMetric>,
}

/// What the factors contributed to a metric.
#[derive(Clone, Debug, Serialize)]
pub struct AblationMetric {
    /// The metric's name, such as `accuracy`.
    #[serde(rename = "figure")]
    pub metric: String,
    /// `points` (percentage points) or `tokens`; the unit of all estimates.
    pub unit: String,
    /// One entry per factor; of a factor with more than two levels, one per level but the first.
    pub contributions: Vec<Contribution>,
    /// All factors on minus all off.
    pub all: Option<Estimate>,
    /// The sum of the Shapley values minus that difference: what the estimate can't explain. `None` if the values are exact.
    pub unexplained: Option<Estimate>,
    /// Main effects, then interactions of two factors, where the arms are a regular fraction of all combinations.
    pub effects: Vec<Effect>,
}

/// What a factor contributed.
#[derive(Clone, Debug, Serialize)]
pub struct Contribution {
    /// The factor; with a level and the first one, if it has more than two: `lr: 3e-4 instead of 1e-4`.
    pub factor: String,
    /// The Shapley value; of a level, the mean difference to the first level.
    pub value: Difference,
    /// What has to hold for it: `exact`, or up to how many factors interact.
    pub holds: String,
    /// What the factor adds to none of the others.
    pub alone: Option<Estimate>,
    /// What it adds to all others.
    pub last: Option<Estimate>,
}

/// A main effect or an interaction.
#[derive(Clone, Debug, Serialize)]
pub struct Effect {
    /// The factors: `atar`, or `atar × cr`.
    pub effect: String,
    /// The effects of up to three factors that these arms can't tell apart from it.
    pub aliases: Vec<String>,
    /// Of a factor the mean difference between on and off; of two, the effect of one with the other minus that without it.
    pub value: Difference,
}

impl Ablation {
    /// `None` for a run without a design.
    pub(crate) fn of(run: &RecordedRun) -> Option<Self> {
        let design = run.design.as_ref()?;
        let suites = run.suites.iter().map(|suite| AblationSuite::of(run, design, suite)).collect();
        let aliasing = design.aliasing();
        Some(Self { kind: design.kind.clone(), factors: design.factors.clone(), aliasing, suites })
    }
}

impl AblationSuite {
    fn of(run: &RecordedRun, design: &Design, suite: &str) -> Self {
        let Usable { arms, mut remarks } = usable(run, design, suite);
        let levels: Vec<Vec<usize>> = arms.iter().map(|arm| arm.levels.clone()).collect();
        let plan = Plan::of(design, &levels);
        remarks.extend(plan.remarks.iter().cloned());
        let mut metrics = Vec::new();
        let (mut questions, mut tested) = (0, Tested::default());
        for measure in Measure::shown() {
            let panels: Vec<Panel> = arms.iter().map(|arm| arm.outcomes.panel(&measure)).collect();
            let seeds = SeedVariance::pooled(panels.iter().filter_map(Panel::seed_variance));
            let panels: Vec<&Panel> = panels.iter().collect();
            let contrasts = match measure.metric {
                Metric::Length => Panel::mean_contrasts(&panels),
                _ => Panel::share_contrasts(&panels),
            };
            // No arm was asked a question of that difficulty.
            if contrasts.is_none() && measure.difficulty.is_some() {
                continue;
            }
            if measure == Measure::overall(Metric::Accuracy) {
                questions = contrasts.as_ref().map_or(0, Contrasts::questions);
            }
            let estimated = Estimated { contrasts: contrasts.as_ref(), seeds, measure };
            metrics.push(estimated.metric(design, &plan, &mut tested));
        }
        tested.conclude(&mut metrics);
        let seeds = arms.iter().map(|arm| arm.seeds).min().unwrap_or(0);
        let arms = arms.into_iter().map(|arm| arm.name).collect();
        Self { suite: suite.to_owned(), arms, remarks, seeds, questions, metrics }
    }
}

/// The comparisons behind the figures of a suite, in their order: contributions and effects are two tables, each of which is corrected as
/// a whole.
#[derive(Default)]
struct Tested {
    contributions: Vec<Option<Paired>>,
    effects: Vec<Option<Paired>>,
}

impl Tested {
    fn conclude(&self, metrics: &mut [AblationMetric]) {
        let values =
            metrics.iter_mut().flat_map(|metric| &mut metric.contributions).map(|found| &mut found.value);
        correct(values, &self.contributions);
        let values = metrics.iter_mut().flat_map(|metric| &mut metric.effects).map(|found| &mut found.value);
        correct(values, &self.effects);
    }
}

/// Draws the conclusions of a table, with Holm's correction for all of it.
fn correct<'a>(values: impl Iterator<Item = &'a mut Difference>, tested: &[Option<Paired>]) {
    let p_values: Vec<f64> = tested.iter().flatten().map(|paired| paired.p_value).collect();
    let mut corrected = holm(&p_values).into_iter();
    for (value, paired) in values.zip(tested) {
        if let Some(paired) = paired
            && let Some(p_value) = corrected.next()
        {
            value.conclude(paired, p_value);
        }
    }
}

/// The rates of a metric in the arms.
struct Estimated<'a> {
    contrasts: Option<&'a Contrasts>,
    seeds: Option<SeedVariance>,
    measure: Measure,
}

impl Estimated<'_> {
    fn of(&self, weights: Option<&Vec<f64>>) -> Option<Paired> {
        self.contrasts?.of(weights?, self.seeds)
    }

    fn estimate(&self, weights: Option<&Vec<f64>>) -> Option<Estimate> {
        Some(self.of(weights)?.estimate.scaled(self.measure.factor()))
    }

    fn metric(&self, design: &Design, plan: &Plan, tested: &mut Tested) -> AblationMetric {
        let mut contributions = Vec::new();
        for Planned { factor, holds, weights, alone, last } in &plan.contributions {
            let paired = self.of(weights.as_ref());
            contributions.push(Contribution {
                factor: factor.clone(),
                value: Difference::of_contrast(self.measure.clone(), paired.as_ref()),
                holds: holds.clone(),
                alone: self.estimate(alone.as_ref()),
                last: self.estimate(last.as_ref()),
            });
            tested.contributions.push(paired);
        }
        let mut effects = Vec::new();
        for planned in &plan.effects {
            let paired = self.of(Some(&planned.weights));
            effects.push(Effect {
                effect: design.effect_name(planned.effect),
                aliases: planned.aliases.iter().map(|alias| design.effect_name(*alias)).collect(),
                value: Difference::of_contrast(self.measure.clone(), paired.as_ref()),
            });
            tested.effects.push(paired);
        }
        AblationMetric {
            metric: self.measure.name(),
            unit: self.measure.unit().to_owned(),
            contributions,
            all: self.estimate(plan.all.as_ref()),
            unexplained: self.estimate(plan.unexplained.as_ref()),
            effects,
        }
    }
}

#[cfg(test)]
mod tests;
