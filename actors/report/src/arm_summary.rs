//! The figures of one arm, pooled over its seeds.

use std::collections::BTreeMap;

use records::{ArmState, GroupCounts, StepMetrics, Tally};
use scenarios::{Method, WeightConfig};
use serde::Serialize;

use crate::paper::{self, PaperRow};
use crate::recorded::{RecordedArm, RecordedSeed};
use crate::stats::{Estimate, Moments, share};

/// The difficulties in the order people read them; others follow by name.
const DIFFICULTIES: [&str; 3] = ["easy", "medium", "hard"];

/// One arm, pooled over its seeds.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Its name in the scenario.
    pub name: String,
    /// How it is trained.
    pub method: Option<Method>,
    /// The shaping formula, for arms trained on rewards.
    pub formula: Option<String>,
    /// The weights in the formula, as the scenario sets them.
    pub weights: BTreeMap<String, WeightConfig>,
    /// Whether the adaptive-think reward is in its formula.
    pub adaptive: bool,
    /// Its seeds.
    pub seeds: Vec<SeedSummary>,
    /// What became of its groups, over all seeds; none where nothing was sampled to train on.
    pub groups: Option<GroupCounts>,
    /// Scores that could not be had, by component and cause, over all seeds.
    pub missing: BTreeMap<String, BTreeMap<String, u64>>,
    /// Its last evaluation, by suite. A suite not evaluated yet is missing.
    pub evals: BTreeMap<String, Evaluation>,
    /// The row of the paper's Table 1 for an arm of this name.
    pub paper: Option<PaperRow>,
    /// Where the time of a training step went.
    pub timing: Option<Timing>,
}

/// One arm and seed.
#[derive(Clone, Debug, Serialize)]
pub struct SeedSummary {
    /// The seed.
    pub seed: u64,
    /// `done`, `failed`, `stopped`, `running` (or killed), or `not started`.
    pub status: String,
    /// Why it failed or stopped.
    pub reason: Option<String>,
    /// The last step it completed.
    pub step: u64,
    /// The steps it was to take.
    pub total_steps: Option<u64>,
    /// Its latest checkpoint.
    pub checkpoint: Option<String>,
    /// How long it took.
    pub wall_seconds: Option<f64>,
}

/// The last evaluation of an arm on one suite, pooled over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The step of that evaluation, by seed.
    pub steps: BTreeMap<u64, u64>,
    /// All questions.
    pub overall: Score,
    /// By difficulty: easy, medium, hard, then others by name.
    pub by_difficulty: Vec<(String, Score)>,
    /// By kind of question.
    pub by_kind: Vec<(String, Score)>,
    /// Accuracy by seed: how far apart reruns are.
    pub accuracy_by_seed: BTreeMap<u64, f64>,
    /// Completion length in tokens, with the interval of the mean where the completions are recorded.
    pub length: Option<Estimate>,
    /// Scores by seed, for comparisons of one seed with its like.
    #[serde(skip)]
    pub by_seed: BTreeMap<u64, SeedScores>,
}

/// One seed's evaluation.
#[derive(Clone, Debug)]
pub struct SeedScores {
    /// All questions.
    pub overall: Score,
    /// By difficulty.
    pub by_difficulty: BTreeMap<String, Score>,
}

/// Rates with their 95 % Wilson intervals, and the counts they come from.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Correct by exact choice match.
    pub accuracy: Option<Estimate>,
    /// Correct by the benchmark's own string match.
    pub accuracy_official: Option<Estimate>,
    /// Completions that think.
    pub think_rate: Option<Estimate>,
    /// Completions in one of the two valid forms.
    pub format_rate: Option<Estimate>,
    /// Thinking that supports the answer given, of completions that think.
    pub consistency: Option<Estimate>,
    /// Quality of the thinking, of completions that think.
    pub think_quality: Option<Estimate>,
    /// Mean completion length in tokens.
    pub completion_tokens: Option<f64>,
    /// The counts and sums.
    pub counts: Tally,
}

impl SeedScores {
    fn of(row: &records::Evaluation) -> Self {
        let levels = row.by_difficulty.iter();
        Self {
            overall: Score::new(row.overall.clone()),
            by_difficulty: levels.map(|(name, counts)| (name.clone(), Score::new(counts.clone()))).collect(),
        }
    }
}

impl Score {
    /// Works the rates out.
    fn new(counts: Tally) -> Self {
        let n = counts.n;
        Self {
            accuracy: share(counts.correct as f64, n),
            accuracy_official: share(counts.correct_official as f64, n),
            think_rate: share(counts.think as f64, n),
            format_rate: share(counts.well_formed as f64, n),
            consistency: share(counts.consistency_sum, counts.consistency_n),
            think_quality: share(counts.think_quality_sum, counts.think_quality_n),
            completion_tokens: (n > 0).then(|| counts.completion_tokens as f64 / n as f64),
            counts,
        }
    }

    /// The share of completions that do not think.
    #[must_use]
    pub fn no_think_rate(&self) -> Option<Estimate> {
        self.think_rate.map(|rate| Estimate {
            value: 1.0 - rate.value,
            low: 1.0 - rate.high,
            high: 1.0 - rate.low,
            n: rate.n,
        })
    }
}

/// Mean seconds of a training step and where they went.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// The whole step.
    pub step_seconds: f64,
    /// Share of the step by place: load, sample, reward, optimize, actors.
    pub shares: Vec<(String, f64)>,
    /// Tokens sampled (or trained on, for SFT) a second.
    pub tokens_per_second: Option<f64>,
}

impl ArmSummary {
    pub(crate) fn of(arm: &RecordedArm, suites: &[String]) -> Self {
        let evals = suites
            .iter()
            .filter_map(|suite| Some((suite.clone(), Evaluation::of(arm, suite, suites.len())?)));
        Self {
            name: arm.name.clone(),
            method: arm.method,
            formula: arm.formula.clone(),
            weights: arm.weights.iter().cloned().collect(),
            adaptive: arm.adaptive,
            seeds: arm.seeds.iter().map(SeedSummary::of).collect(),
            groups: groups(arm),
            missing: missing(arm),
            evals: evals.collect(),
            paper: paper::row_of(&arm.name),
            timing: timing(arm),
        }
    }
}

impl SeedSummary {
    fn of(seed: &RecordedSeed) -> Self {
        let status = seed.status.as_ref();
        Self {
            seed: seed.seed,
            status: status.map_or("not started", |status| status.state.name()).to_owned(),
            reason: status.and_then(|status| status.state.reason()).map(str::to_owned),
            step: seed.step(),
            total_steps: seed.total_steps(),
            checkpoint: status
                .and_then(|status| status.checkpoint.as_ref())
                .map(|path| path.display().to_string()),
            wall_seconds: status.map(|status| status.wall_seconds),
        }
    }
}

impl Evaluation {
    fn of(arm: &RecordedArm, suite: &str, suites: usize) -> Option<Self> {
        let mut overall = Tally::default();
        let mut by_difficulty: BTreeMap<String, Tally> = BTreeMap::new();
        let mut by_kind: BTreeMap<String, Tally> = BTreeMap::new();
        let mut steps = BTreeMap::new();
        let mut by_seed = BTreeMap::new();
        let mut lengths = Moments::default();
        for seed in &arm.seeds {
            let Some((&step, row)) = seed.evals.get(suite).and_then(|rows| rows.last_key_value()) else {
                continue;
            };
            overall.merge(&row.overall);
            for (name, counts) in &row.by_difficulty {
                by_difficulty.entry(name.clone()).or_default().merge(counts);
            }
            for (name, counts) in &row.by_kind {
                by_kind.entry(name.clone()).or_default().merge(counts);
            }
            steps.insert(seed.seed, step);
            by_seed.insert(seed.seed, SeedScores::of(row));
            lengths.merge(&seed.rollouts.eval_lengths);
        }
        if steps.is_empty() {
            return None;
        }
        let accuracy_by_seed = by_seed
            .iter()
            .filter_map(|(&seed, scores)| Some((seed, scores.overall.accuracy?.value)))
            .collect();
        let scored = |counts: BTreeMap<String, Tally>| -> Vec<(String, Score)> {
            counts.into_iter().map(|(name, counts)| (name, Score::new(counts))).collect()
        };
        let mut by_difficulty = scored(by_difficulty);
        by_difficulty.sort_by_key(|(name, _)| {
            DIFFICULTIES.iter().position(|known| known == name).unwrap_or(DIFFICULTIES.len())
        });
        Some(Self {
            steps,
            overall: Score::new(overall),
            by_difficulty,
            by_kind: scored(by_kind),
            accuracy_by_seed,
            // A rollout does not name its suite: with several, one suite's lengths cannot be told from another's.
            length: lengths.estimate().filter(|_| suites == 1),
            by_seed,
        })
    }

    /// The score at a difficulty.
    #[must_use]
    pub fn at(&self, difficulty: &str) -> Option<&Score> {
        self.by_difficulty.iter().find(|(name, _)| name == difficulty).map(|(_, score)| score)
    }
}

/// What the arms' own last words were, or, for a run that was killed, what its steps add up to.
fn groups(arm: &RecordedArm) -> Option<GroupCounts> {
    let mut total = GroupCounts::default();
    for seed in &arm.seeds {
        // The status of a running arm, or of one that was killed, lags behind its metrics.
        let final_status = seed.status.as_ref().filter(|status| status.state != ArmState::Running);
        if let Some(status) = final_status {
            total.add(&status.groups);
            continue;
        }
        for row in seed.metrics.values() {
            total.add(&GroupCounts {
                dispatched: row.groups_dispatched(),
                trained: row.groups_trained(),
                excluded: row.groups_excluded().clone(),
            });
        }
    }
    (total.dispatched > 0).then_some(total)
}

fn missing(arm: &RecordedArm) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut total: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let rows = arm.seeds.iter().flat_map(|seed| seed.metrics.values()).filter_map(StepMetrics::grpo);
    for (component, causes) in rows.flat_map(|row| &row.missing_causes) {
        for (cause, count) in causes {
            *total.entry(component.clone()).or_default().entry(cause.to_string()).or_default() += count;
        }
    }
    total
}

fn timing(arm: &RecordedArm) -> Option<Timing> {
    let rows = || arm.seeds.iter().flat_map(|seed| seed.metrics.values());
    let sum = |get: fn(&StepMetrics) -> Option<f64>| rows().filter_map(get).sum::<f64>();
    let whole = sum(StepMetrics::step_seconds);
    let count = rows().filter(|row| row.step_seconds().is_some()).count();
    if count == 0 || whole <= 0.0 {
        return None;
    }
    let parts = [
        ("load", sum(StepMetrics::load_seconds)),
        ("sample", sum(|row| row.grpo()?.sample_seconds)),
        ("reward", sum(|row| row.grpo()?.reward_seconds)),
        ("optimize", sum(StepMetrics::optimize_seconds)),
        ("actors", sum(StepMetrics::actor_seconds)),
    ];
    let rates: Vec<f64> = rows().filter_map(StepMetrics::tokens_per_second).collect();
    Some(Timing {
        step_seconds: whole / count as f64,
        shares: parts.into_iter().map(|(name, seconds)| (name.to_owned(), seconds / whole)).collect(),
        tokens_per_second: (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64),
    })
}

