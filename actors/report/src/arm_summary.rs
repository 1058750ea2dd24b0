//! The metrics of one arm, pooled over its seeds.

use std::collections::{BTreeMap, BTreeSet};

use records::{ArmState, GroupCounts, Status, StepMetrics, Tally};
use scenarios::{Control, Method, Metric, WeightConfig};
use serde::Serialize;
use statistics::{Estimate, wilson_of_repeats};

use crate::correlations::{Correlation, correlations};
use crate::outcomes::{Measure, Outcomes};
use crate::paper::{self, PaperRow};
use crate::recorded::{Origin, RecordedArm, RecordedSeed};

/// The order in which tables list difficulties. Other difficulties follow, sorted by name.
const DIFFICULTIES: [&str; 3] = ["easy", "medium", "hard"];

/// One arm's metrics, pooled over its seeds: an entry of `arms` in `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Name in the scenario. An arm that the scenario lacks has the name in its `status.json`, or its folder's name.
    pub name: String,
    /// Training method; `None` if neither the scenario nor a `status.json` names it.
    pub method: Option<Method>,
    /// The parts of the model that are trained, such as `projector + lora`; `None` for an arm that is not trained, or that the
    /// scenario lacks.
    pub trains: Option<String>,
    /// Text of the shaping formula; `None` for arms that are not trained by GRPO.
    pub formula: Option<String>,
    /// Weights that the formula uses, as the scenario sets them: numbers or schedules.
    pub weights: BTreeMap<String, WeightConfig>,
    /// Whether the formula uses a reward of kind `adaptive-think`.
    pub adaptive: bool,
    /// Where the arm began, if it is a fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork: Option<Origin>,
    /// Status of each seed; empty if the arm has not started.
    pub seeds: Vec<SeedSummary>,
    /// The mark of the arm in tables if it failed or its policy died, such as `policy died in 1 of 3 seeds`.
    pub mark: Option<String>,
    /// Groups dispatched, trained on and excluded, summed over seeds; `None` if no group was dispatched.
    pub groups: Option<GroupCounts>,
    /// Missing scores by component and cause, summed over steps and seeds.
    pub missing: BTreeMap<String, BTreeMap<String, u64>>,
    /// How the reward components of the training completions go together, over all seeds.
    pub correlations: Vec<Correlation>,
    /// Latest evaluation by suite, and by suite and control, such as `mmau (silence)`. A suite that has not been evaluated yet
    /// has no entry.
    pub evals: BTreeMap<String, Evaluation>,
    /// Row of the paper's Table 1 for an arm of this name.
    pub paper: Option<PaperRow>,
    /// How the time of a training step is spent; `None` if no step recorded its duration.
    pub timing: Option<Timing>,
}

/// Status of one seed of an arm.
#[derive(Clone, Debug, Serialize)]
pub struct SeedSummary {
    /// Seed that the arm was run with.
    pub seed: u64,
    /// State in `status.json`, or `not started` without one. A killed run leaves `running` or `paused` behind.
    pub status: String,
    /// Why the arm failed or paused.
    pub reason: Option<String>,
    /// Why its policy counts as dead, if it does.
    pub died: Option<String>,
    /// Optimizer steps that were skipped, because the gradient was not finite.
    pub skipped_steps: u64,
    /// Last completed step, 0 before the first.
    pub step: u64,
    /// Steps of the whole training; `None` if no file records it.
    pub total_steps: Option<u64>,
    /// Path of the latest checkpoint.
    pub checkpoint: Option<String>,
    /// Wall-clock time spent on this seed so far, in seconds.
    pub wall_seconds: Option<f64>,
}

/// The latest evaluation of an arm on one suite, pooled over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The suite's name.
    pub suite: String,
    /// How the suite was changed; `None` for the suite as it is.
    pub control: Option<Control>,
    /// Completions per question, k.
    pub samples: u64,
    /// Share of the questions of which at least one completion is right; `None` if k is 1.
    pub pass_at_k: Option<f64>,
    /// Share of the questions whose most frequent answer is right; `None` if k is 1.
    pub majority_at_k: Option<f64>,
    /// Completion tokens per second of the evaluation; `None` if it recorded no time.
    pub tokens_per_second: Option<f64>,
    /// Training step of the pooled evaluation, by seed.
    pub steps: BTreeMap<u64, u64>,
    /// Questions of the suite, summed over seeds, those that could not be asked included; 0 if an older run does not say.
    pub questions: u64,
    /// Questions that could not be asked, by cause, summed over seeds.
    pub unusable: BTreeMap<String, u64>,
    /// How many of the questions were asked, such as `2 of 8 asked`, if not all were.
    pub asked: Option<String>,
    /// Scores over all questions that were asked.
    pub overall: Score,
    /// Scores per difficulty: easy, medium, hard, then others sorted by name.
    pub by_difficulty: Vec<(String, Score)>,
    /// Scores per kind of question, sorted by name.
    pub by_kind: Vec<(String, Score)>,
    /// Scores by column of the data (`eval.by`) and value.
    pub by_column: BTreeMap<String, Vec<(String, Score)>>,
    /// Accuracy of each seed, from 0 to 1: shows how far reruns differ.
    pub accuracy_by_seed: BTreeMap<u64, f64>,
    /// Mean completion length in tokens; `None` if no completions are recorded.
    pub length: Option<Estimate>,
    /// The answers, to compare two arms question by question; `None` if they are not recorded completely.
    #[serde(skip)]
    pub(crate) outcomes: Option<Outcomes>,
}

/// Rates from 0 to 1 with their 95 % intervals, which count a question once however often it was asked, and the counts they
/// are computed from. A rate is `None` if no completion has a value for it.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Share of answers that match the right choice exactly.
    pub accuracy: Option<Estimate>,
    /// Share of answers that are right by the benchmark's own script, of those that it scores.
    pub accuracy_official: Option<Estimate>,
    /// Share of answers that mention the right choice and no other; `None` for older runs, which do not record it.
    pub accuracy_lenient: Option<Estimate>,
    /// Share of completions that think.
    pub think_rate: Option<Estimate>,
    /// Share of completions in one of the two valid forms.
    pub format_rate: Option<Estimate>,
    /// Share of judged completions whose thinking supports their answer.
    pub consistency: Option<Estimate>,
    /// Mean think quality of the judged completions.
    pub think_quality: Option<Estimate>,
    /// Mean completion length in tokens.
    pub completion_tokens: Option<f64>,
    /// Counts and sums that the rates are computed from.
    pub counts: Tally,
}

impl Score {
    /// `repeats` is the number of answers to each question.
    fn new(counts: Tally, repeats: u64) -> Self {
        let n = counts.n;
        let share = |sum: f64, n: u64| wilson_of_repeats(sum, n, repeats);
        Self {
            accuracy: share(counts.correct as f64, n),
            // Older runs do not say how many the benchmark's script scores.
            accuracy_official: share(
                counts.correct_official as f64,
                if counts.official_n > 0 { counts.official_n } else { n },
            ),
            accuracy_lenient: share(counts.correct_lenient as f64, n)
                .filter(|_| counts.correct_lenient > 0 || counts.official_n > 0),
            think_rate: share(counts.think as f64, n),
            format_rate: share(counts.well_formed as f64, n),
            consistency: share(counts.consistency_sum, counts.consistency_n),
            think_quality: share(counts.think_quality_sum, counts.think_quality_n),
            completion_tokens: (n > 0).then(|| counts.completion_tokens as f64 / n as f64),
            counts,
        }
    }

    /// With the intervals that the answers to each question give.
    fn with(self, outcomes: &Outcomes, difficulty: Option<&str>) -> Self {
        let share = |metric, counted: Option<Estimate>| {
            let measure = Measure { metric, difficulty: difficulty.map(str::to_owned) };
            outcomes.panel(&measure).share().or(counted)
        };
        Self {
            accuracy: share(Metric::Accuracy, self.accuracy),
            think_rate: share(Metric::ThinkRate, self.think_rate),
            format_rate: share(Metric::Format, self.format_rate),
            consistency: share(Metric::Consistency, self.consistency),
            think_quality: share(Metric::ThinkQuality, self.think_quality),
            ..self
        }
    }

    /// The share of completions that do not think.
    pub(crate) fn no_think_rate(&self) -> Option<Estimate> {
        self.think_rate.map(|rate| Estimate {
            value: 1.0 - rate.value,
            low: 1.0 - rate.high,
            high: 1.0 - rate.low,
            n: rate.n,
        })
    }
}

/// How the time of a training step is spent, as a mean over all steps of all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Mean duration of a step in seconds.
    pub step_seconds: f64,
    /// Fraction of the step spent in each phase: `load`, `sample`, `reward`, `optimize`, and `actors` for the rest.
    pub shares: Vec<(String, f64)>,
    /// Completion tokens per second of a step; target tokens for SFT.
    pub tokens_per_second: Option<f64>,
}

impl ArmSummary {
    pub(crate) fn of(arm: &RecordedArm) -> Self {
        let labels: BTreeSet<&String> = arm.seeds.iter().flat_map(|seed| seed.evals.keys()).collect();
        let evals = labels.into_iter().filter_map(|label| Some((label.clone(), Evaluation::of(arm, label)?)));
        Self {
            name: arm.name.clone(),
            method: arm.method,
            trains: arm.trains.as_ref().map(ToString::to_string),
            formula: arm.formula.clone(),
            weights: arm.weights.iter().cloned().collect(),
            adaptive: arm.adaptive,
            fork: arm.fork.clone(),
            seeds: arm.seeds.iter().map(SeedSummary::of).collect(),
            mark: mark(arm),
            groups: groups(arm),
            missing: missing(arm),
            evals: evals.collect(),
            correlations: correlations(arm.seeds.iter().map(|seed| &seed.rollouts.scores)),
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
            died: status.and_then(|status| status.health.died.clone()),
            skipped_steps: status.map_or(0, |status| status.health.skipped_steps),
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
    fn of(arm: &RecordedArm, label: &str) -> Option<Self> {
        let mut overall = Tally::default();
        let mut by_difficulty: BTreeMap<String, Tally> = BTreeMap::new();
        let mut by_kind: BTreeMap<String, Tally> = BTreeMap::new();
        let (mut questions, mut asked, mut unusable) = (0, 0, BTreeMap::new());
        let (mut suite, mut control, mut samples) = (String::new(), None, 1);
        let (mut pass_at_k, mut majority_at_k, mut seconds) = (0, 0.0, 0.0);
        let mut by_column: BTreeMap<String, BTreeMap<String, Tally>> = BTreeMap::new();
        let mut steps = BTreeMap::new();
        let mut accuracy_by_seed = BTreeMap::new();
        let mut outcomes = Outcomes::default();
        for seed in &arm.seeds {
            let Some((&step, row)) = seed.evals.get(label).and_then(|rows| rows.last_key_value()) else {
                continue;
            };
            overall.merge(&row.overall);
            (suite, control) = (row.suite.clone(), row.control);
            samples = row.samples.max(1);
            questions += row.questions;
            asked += row.questions_asked();
            seconds += row.eval_seconds;
            (pass_at_k, majority_at_k) = (pass_at_k + row.pass_at_k, majority_at_k + row.majority_at_k);
            for (column, groups) in &row.by_column {
                let all: &mut BTreeMap<String, Tally> = by_column.entry(column.clone()).or_default();
                for (name, counts) in groups {
                    all.entry(name.clone()).or_default().merge(counts);
                }
            }
            for (cause, count) in &row.unusable {
                *unusable.entry(cause.to_string()).or_default() += count;
            }
            for (name, counts) in &row.by_difficulty {
                by_difficulty.entry(name.clone()).or_default().merge(counts);
            }
            for (name, counts) in &row.by_kind {
                by_kind.entry(name.clone()).or_default().merge(counts);
            }
            steps.insert(seed.seed, step);
            if row.overall.n > 0 {
                accuracy_by_seed.insert(seed.seed, row.overall.correct as f64 / row.overall.n as f64);
            }
            // Rows of older runs do not name their suite.
            let of_suite = seed.rollouts.outcomes.get(label).or_else(|| seed.rollouts.outcomes.get(""));
            outcomes.add(seed.seed, of_suite.map_or(&[], Vec::as_slice));
        }
        if steps.is_empty() {
            return None;
        }
        let repeats = samples * steps.len() as u64;
        let outcomes = Some(outcomes).filter(|outcomes| outcomes.answers() == overall.n && overall.n > 0);
        let score = |counts: Tally, difficulty: Option<&str>| {
            let score = Score::new(counts, repeats);
            match &outcomes {
                Some(outcomes) => score.with(outcomes, difficulty),
                None => score,
            }
        };
        let scored = |counts: BTreeMap<String, Tally>| -> Vec<(String, Score)> {
            counts.into_iter().map(|(name, counts)| (name, Score::new(counts, repeats))).collect()
        };
        let mut by_difficulty: Vec<(String, Score)> = by_difficulty
            .into_iter()
            .map(|(name, counts)| {
                let score = score(counts, Some(&name));
                (name, score)
            })
            .collect();
        by_difficulty.sort_by_key(|(name, _)| {
            DIFFICULTIES.iter().position(|known| known == name).unwrap_or(DIFFICULTIES.len())
        });
        let several_samples = (samples > 1 && asked > 0).then_some(asked as f64);
        Some(Self {
            suite,
            control,
            samples,
            pass_at_k: several_samples.map(|asked| pass_at_k as f64 / asked),
            majority_at_k: several_samples.map(|asked| majority_at_k / asked),
            by_column: by_column.into_iter().map(|(column, groups)| (column, scored(groups))).collect(),
            tokens_per_second: (seconds > 0.0).then(|| overall.completion_tokens as f64 / seconds),
            steps,
            asked: (asked < questions).then(|| format!("{asked} of {questions} asked")),
            questions,
            unusable,
            overall: score(overall, None),
            by_difficulty,
            by_kind: scored(by_kind),
            accuracy_by_seed,
            length: outcomes
                .as_ref()
                .and_then(|outcomes| outcomes.panel(&Measure::overall(Metric::Length)).mean()),
            outcomes,
        })
    }

    /// The score of one difficulty, if the suite has it.
    pub(crate) fn at(&self, difficulty: &str) -> Option<&Score> {
        self.by_difficulty.iter().find(|(name, _)| name == difficulty).map(|(_, score)| score)
    }
}

/// The mark of an arm that failed or whose policy died.
fn mark(arm: &RecordedArm) -> Option<String> {
    let marked = |what: &str, holds: fn(&Status) -> bool| {
        let is_marked = |seed: &&RecordedSeed| seed.status.as_ref().is_some_and(holds);
        match (arm.seeds.iter().filter(is_marked).count(), arm.seeds.len()) {
            (0, _) => None,
            (some, seeds) if some == seeds => Some(what.to_owned()),
            (some, seeds) => Some(format!("{what} in {some} of {seeds} seeds")),
        }
    };
    let died = marked("policy died", |status| status.health.died.is_some());
    died.or_else(|| marked("failed", |status| status.state.failure().is_some()))
}

/// Group counts over all seeds: from `status.json` for a seed that is not running, else summed over its steps.
fn groups(arm: &RecordedArm) -> Option<GroupCounts> {
    let mut total = GroupCounts::default();
    for seed in &arm.seeds {
        // While an arm runs, and after it was killed, its `status.json` is older than its metrics.
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
    let total = sum(StepMetrics::step_seconds);
    let count = rows().filter(|row| row.step_seconds().is_some()).count();
    if count == 0 || total <= 0.0 {
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
        step_seconds: total / count as f64,
        shares: parts.into_iter().map(|(name, seconds)| (name.to_owned(), seconds / total)).collect(),
        tokens_per_second: (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64),
    })
}
