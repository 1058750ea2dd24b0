//! The figures of a run: what `summary.json` holds and the table, the page and the comparisons are made from.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::WeightConfig;
use serde::Serialize;

use crate::live::Entry;

use super::{
    paper::{self, PaperRow},
    records::{EvalRow, GroupCounts, Tally},
    run_dir::{ArmDir, RunDir, SeedDir},
    stats::{Estimate, share},
    worth::{self, Comparison},
};

/// The difficulties in the order people read them; others follow by name.
const DIFFICULTIES: [&str; 3] = ["easy", "medium", "hard"];

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the run directory.
    pub run: String,
    /// Whether every arm and seed ran to its end.
    pub complete: bool,
    /// Evaluation suites, in the order they were first evaluated.
    pub suites: Vec<String>,
    /// Arms, in the scenario's order.
    pub arms: Vec<ArmSummary>,
    /// What each arm gained over the one it adds something to, on the first suite.
    pub worth: Vec<Comparison>,
    /// What a reader should know before trusting the figures.
    pub notes: Vec<String>,
}

/// One arm, pooled over its seeds.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Its name in the scenario.
    pub name: String,
    /// `grpo`, `sft` or `none`.
    pub method: Option<String>,
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
    fn of(row: &EvalRow) -> Self {
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

impl Summary {
    /// Draws up the figures of a run directory.
    pub(super) fn of(run: &RunDir) -> Self {
        let arms: Vec<ArmSummary> = run.arms.iter().map(|arm| ArmSummary::of(arm, &run.suites)).collect();
        let worth = run.suites.first().map_or_else(Vec::new, |suite| worth::compare(&arms, suite));
        let complete = arms
            .iter()
            .all(|arm| !arm.seeds.is_empty() && arm.seeds.iter().all(|seed| seed.status == "done"));
        let notes = notes(run, &arms);
        Self { run: run.name.clone(), complete, suites: run.suites.clone(), arms, worth, notes }
    }
}

impl ArmSummary {
    fn of(arm: &ArmDir, suites: &[String]) -> Self {
        let evals = suites
            .iter()
            .filter_map(|suite| Some((suite.clone(), Evaluation::of(arm, suite, suites.len())?)));
        Self {
            name: arm.name.clone(),
            method: arm.method.clone(),
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
    fn of(seed: &SeedDir) -> Self {
        Self {
            seed: seed.seed,
            status: seed.status.status.clone().unwrap_or_else(|| "not started".to_owned()),
            reason: seed.status.reason.clone(),
            step: seed.step(),
            total_steps: seed.total_steps(),
            checkpoint: seed.status.checkpoint.clone(),
            wall_seconds: seed.status.wall_seconds,
        }
    }
}

impl Evaluation {
    fn of(arm: &ArmDir, suite: &str, suites: usize) -> Option<Self> {
        let mut overall = Tally::default();
        let mut by_difficulty: BTreeMap<String, Tally> = BTreeMap::new();
        let mut by_kind: BTreeMap<String, Tally> = BTreeMap::new();
        let mut steps = BTreeMap::new();
        let mut by_seed = BTreeMap::new();
        let mut lengths = super::stats::Moments::default();
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
fn groups(arm: &ArmDir) -> Option<GroupCounts> {
    let mut total = GroupCounts::default();
    for seed in &arm.seeds {
        let finished = seed.status.status.as_deref().is_some_and(|status| status != "running");
        if let Some(groups) = seed.status.groups.as_ref().filter(|_| finished) {
            total.add(groups);
            continue;
        }
        for row in seed.metrics.values() {
            total.add(&GroupCounts {
                dispatched: row.groups_dispatched,
                trained: row.groups_trained,
                excluded: row.groups_excluded.clone(),
            });
        }
    }
    (total.dispatched > 0).then_some(total)
}

fn missing(arm: &ArmDir) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut total: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let rows = arm.seeds.iter().flat_map(|seed| seed.metrics.values());
    for (component, causes) in rows.flat_map(|row| &row.missing_causes) {
        for (cause, count) in causes {
            *total.entry(component.clone()).or_default().entry(cause.clone()).or_default() += count;
        }
    }
    total
}

fn timing(arm: &ArmDir) -> Option<Timing> {
    let rows = || arm.seeds.iter().flat_map(|seed| seed.metrics.values());
    let sum = |get: fn(&super::records::MetricsRow) -> Option<f64>| rows().filter_map(get).sum::<f64>();
    let whole = sum(|row| row.step_seconds);
    let count = rows().filter(|row| row.step_seconds.is_some()).count();
    if count == 0 || whole <= 0.0 {
        return None;
    }
    let parts = [
        ("load", sum(|row| row.load_seconds)),
        ("sample", sum(|row| row.sample_seconds)),
        ("reward", sum(|row| row.reward_seconds)),
        ("optimize", sum(|row| row.optimize_seconds)),
        ("actors", sum(|row| row.actor_seconds)),
    ];
    let rates: Vec<f64> = rows().filter_map(|row| row.tokens_per_second).collect();
    Some(Timing {
        step_seconds: whole / count as f64,
        shares: parts.into_iter().map(|(name, seconds)| (name.to_owned(), seconds / whole)).collect(),
        tokens_per_second: (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64),
    })
}

/// That the table's formula is not all that an arm was trained under.
fn changed(run: &RunDir, arm: &str, seed: u64) -> Option<String> {
    let of_arm = |entry: &&Entry| (&*entry.arm, entry.seed) == (arm, seed);
    let first = run.changes.iter().find(of_arm)?;
    let times = run.changes.iter().filter(of_arm).count();
    Some(format!(
        "{arm} (seed {seed}) was changed while it ran ({times}×, first at step {}); control.jsonl has what it was \
         trained under.",
        first.step
    ))
}

fn notes(run: &RunDir, arms: &[ArmSummary]) -> Vec<String> {
    let mut notes = Vec::new();
    for arm in arms {
        if arm.seeds.is_empty() {
            notes.push(format!("{} has not started.", arm.name));
        }
        notes.extend(arm.seeds.iter().filter_map(|seed| changed(run, &arm.name, seed.seed)));
        for seed in &arm.seeds {
            let of = seed.total_steps.map_or_else(String::new, |total| format!(" of {total}"));
            let why = seed.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let what = match seed.status.as_str() {
                "done" => continue,
                "failed" => "failed",
                "stopped" => "was stopped",
                "running" => "was still running, or killed,",
                "paused" => "is paused, or was killed in a pause,",
                _ => "has no readable status",
            };
            notes.push(format!("{} (seed {}) {what} at step {}{of}{why}.", arm.name, seed.seed, seed.step));
        }
        for (suite, eval) in &arm.evals {
            let evaluated = eval.steps.len();
            let steps: BTreeSet<u64> = eval.steps.values().copied().collect();
            if steps.len() > 1 {
                let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
                let steps = steps.join(", ");
                notes.push(format!("{} on {suite} pools evaluations at different steps: {steps}.", arm.name));
            }
            if evaluated < arm.seeds.len() {
                let of = arm.seeds.len();
                notes.push(format!(
                    "{} on {suite}: {evaluated} of {of} seeds are evaluated so far.",
                    arm.name
                ));
            }
        }
        if !arm.seeds.is_empty() && arm.evals.is_empty() {
            notes.push(format!("{} has not been evaluated yet.", arm.name));
        }
        for (component, causes) in &arm.missing {
            let counts: Vec<String> =
                causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            let (total, counts) = (causes.values().sum::<u64>(), counts.join(", "));
            notes.push(format!("{}: {total} scores of `{component}` could not be had ({counts}).", arm.name));
        }
        if let Some(groups) = arm.groups.as_ref().filter(|groups| !groups.adds_up()) {
            notes.push(format!(
                "{}: {} groups were dispatched, but {} trained and {} excluded.",
                arm.name,
                groups.dispatched,
                groups.trained,
                groups.excluded.values().sum::<u64>()
            ));
        }
    }
    let unreadable: u64 = run.arms.iter().flat_map(|arm| &arm.seeds).map(|seed| seed.unreadable).sum();
    if unreadable > 0 {
        notes.push(format!("{unreadable} recorded lines could not be read and are left out."));
    }
    notes
}
