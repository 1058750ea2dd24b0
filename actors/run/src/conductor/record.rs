//! Recording: the row of a step in `metrics.jsonl`, the rows of its completions in `rollouts.jsonl`, and the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use judges::JudgeTally;
use records::statistics::{mean, mean_of, std_of};
use records::{
    ArmFile, FormatVersion, GradedCompletion, GroupCounts, GrpoMetrics, Health, Phase, Rollout, SftMetrics,
    TrainingMemory, json_lines, json_value,
};
use rewards::{JudgeTask, Mode, RewardItem, Weights};
use runtime::{RunEvent, StepFigures};
use scenarios::ArmConfig;
use serde_json::Value;
use workers::{Generated, SampledKl, Shaped, StepReport};

use super::degeneracy::{foreign_script_rate, repetition_rate};
use super::grade::Tasks;
use super::health::Signs;
use super::items::{consistency, recorded_start, think_quality};
use super::judge::Judged;
use super::load::{Loaded, LoadedTargets};
use super::notes::{extras, reward_metrics};
use super::score::Scores;
use super::turn::StepStart;
use super::versions::{first_version, token_staleness, versions};
use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;

/// All that is known of a GRPO step once it was trained on.
pub(super) struct TrainedStep {
    /// Steps taken, this one included.
    pub(super) step: u64,
    pub(super) conditions: Arc<Conditions>,
    pub(super) loaded: Loaded,
    pub(super) generated: Generated,
    pub(super) judged: Judged,
    pub(super) scores: Scores,
    /// Rounds of further prompts.
    pub(super) extra_rounds: u64,
    pub(super) shaped: Shaped,
    /// The KL divergence that was subtracted from the rewards, if it was.
    pub(super) sampled_kl: Option<SampledKl>,
    pub(super) weights: Weights,
    pub(super) report: Option<StepReport>,
    pub(super) groups: GroupCounts,
    pub(super) signs: Signs,
    /// The health of the policy after the step.
    pub(super) health: Health,
    pub(super) start: StepStart,
    /// The share of the first verdicts that the judge gave again, if it was asked in this step.
    pub(super) judge_agreement: Option<f64>,
    /// What that took.
    pub(super) recheck_tally: JudgeTally,
}

/// Writes the rows of a GRPO step and reports the step to the watchers.
/// Returns the row of metrics if the arm has alarms.
pub(super) async fn record(arm: &ArmContext, trained: &TrainedStep) -> Result<Option<Value>, StepError> {
    let problems = arm.list_problems(trained.loaded.problems.clone());
    let mut metrics = grpo_metrics(arm, trained);
    let rollouts = rollouts(arm, trained);
    let step_seconds = trained.start.started.elapsed().as_secs_f64();
    let inside =
        [metrics.load_seconds, metrics.sample_seconds, metrics.reward_seconds, metrics.optimize_seconds];
    let inside: f64 = inside.into_iter().flatten().sum();
    let tokens: usize = trained.judged.batch.items.iter().map(|item| item.completion_tokens).sum();
    let tokens_per_second = tokens as f64 / step_seconds;
    metrics.actor_seconds = Some((step_seconds - inside).max(0.0));
    metrics.boundary_seconds = Some(trained.start.boundary.as_secs_f64());
    metrics.step_seconds = Some(step_seconds);
    metrics.tokens_per_second = Some(tokens_per_second);
    let figures = StepFigures {
        reward: metrics.reward,
        accuracy: metrics.accuracy,
        think_rate: metrics.think_rate,
        loss: metrics.loss,
        tokens_per_second,
    };
    let line = json_value(&metrics);
    let rows = [
        (ArmFile::Metrics, vec![line.to_string()]),
        (ArmFile::Rollouts, rollouts),
        (ArmFile::DataProblems, problems),
    ];
    write(arm, trained.step, &rows, figures, line).await
}

/// All that is known of a supervised step once it was trained on.
pub(super) struct TrainedTargets {
    /// Steps taken, this one included.
    pub(super) step: u64,
    pub(super) loaded: LoadedTargets,
    pub(super) report: Option<StepReport>,
    pub(super) groups: GroupCounts,
    pub(super) signs: Signs,
    /// The health of the policy after the step.
    pub(super) health: Health,
    pub(super) start: StepStart,
}

/// Writes the row of a supervised step and reports the step to the watchers.
/// Returns the row if the arm has alarms.
pub(super) async fn record_targets(
    arm: &ArmContext,
    trained: &TrainedTargets,
) -> Result<Option<Value>, StepError> {
    let TrainedTargets { step, loaded, groups, signs, health, start, .. } = trained;
    let report = trained.report.as_ref();
    let problems = arm.list_problems(loaded.problems.clone());
    let optimize_seconds = report.map_or(0.0, |report| report.seconds);
    let target_tokens = report.map_or(0, |report| report.tokens);
    let step_seconds = start.started.elapsed().as_secs_f64();
    let tokens_per_second = target_tokens as f64 / step_seconds;
    let metrics = SftMetrics {
        format_version: FormatVersion::CURRENT,
        step: *step,
        total_steps: arm.config.steps,
        policy_version: report.map_or(*step, |report| report.policy_version),
        groups_dispatched: groups.dispatched,
        groups_trained: groups.trained,
        groups_excluded: groups.excluded.clone(),
        audio_truncated: loaded.audio_truncated,
        loss: report.map(|report| report.loss),
        align_accuracy: report.and_then(|report| report.align_accuracy),
        grad_norm: report.map(|report| report.grad_norm),
        lr: report.map(|report| report.lr),
        target_tokens,
        health: signs.columns(health, arm.problems.of_training()),
        load_seconds: Some(loaded.seconds),
        optimize_seconds: Some(optimize_seconds),
        actor_seconds: Some((step_seconds - loaded.seconds - optimize_seconds).max(0.0)),
        boundary_seconds: Some(start.boundary.as_secs_f64()),
        step_seconds: Some(step_seconds),
        tokens_per_second: Some(tokens_per_second),
        memory: training_memory(report, 0),
    };
    let figures = StepFigures { loss: metrics.loss, tokens_per_second, ..StepFigures::default() };
    let line = json_value(&metrics);
    let rows = [(ArmFile::Metrics, vec![line.to_string()]), (ArmFile::DataProblems, problems)];
    write(arm, *step, &rows, figures, line).await
}

async fn write(
    arm: &ArmContext,
    step: u64,
    rows: &[(ArmFile, Vec<String>)],
    figures: StepFigures,
    line: Value,
) -> Result<Option<Value>, StepError> {
    arm.append(rows).await.map_err(|source| StepError::Unrecorded { source })?;
    arm.live.step_taken(step);
    let row = (!arm.alarms.is_empty()).then(|| line.clone());
    arm.emit(RunEvent::StepDone { id: arm.id.clone(), step, figures, line });
    Ok(row)
}

fn grpo_metrics(arm: &ArmContext, trained: &TrainedStep) -> GrpoMetrics {
    let TrainedStep { loaded, generated, judged, scores, shaped, sampled_kl, groups, .. } = trained;
    let items = &judged.batch.items;
    let mut tally = judged.tally.clone();
    if trained.recheck_tally.requests > 0 {
        tally.add(&trained.recheck_tally);
        // The members of a panel are compared on the completions of the step.
        tally.disagreement = judged.tally.disagreement;
    }
    let report = trained.report.as_ref();
    let loss = report.and_then(|report| report.metrics.as_ref());
    let ratios = report.and_then(|report| report.ratios?.figures());
    let has_servers = arm.config.sampler.has_servers();
    let fraction = |holds: &dyn Fn(&RewardItem) -> bool| {
        mean_of(items.iter().map(|item| f64::from(u8::from(holds(item))))).unwrap_or(0.0)
    };
    let rewards: Vec<f64> = shaped.rewards.iter().flatten().copied().collect();
    let selection = &trained.conditions.config.selection;
    let by_component = |(name, scores): (&String, &Vec<Option<f64>>)| {
        (name.clone(), mean_of(scores.iter().flatten().copied()))
    };
    let missing = |(name, scores): (&String, &Vec<Option<f64>>)| {
        (name.clone(), scores.iter().filter(|score| score.is_none()).count() as u64)
    };
    GrpoMetrics {
        format_version: FormatVersion::CURRENT,
        step: trained.step,
        total_steps: arm.config.steps,
        policy_version: report.map_or(generated.policy_version, |report| report.policy_version),
        weights_version: shaped.weights_version,
        weights: trained.weights.values.clone(),
        // The step began from the version before the one it published.
        staleness: report.map_or(0, |report| report.policy_version - 1 - generated.policy_version),
        reward: mean(&rewards),
        reward_std: std_of(&rewards),
        components: scores.components.iter().map(by_component).collect(),
        missing: scores.components.iter().map(missing).collect(),
        missing_causes: scores
            .missing
            .iter()
            .map(|(name, missing)| (name.clone(), missing.causes.clone()))
            .collect(),
        reward_metrics: reward_metrics(&scores.notes),
        accuracy: Some(fraction(&|item| item.readings.strict)),
        think_rate: Some(fraction(&thinks)),
        think_rate_by_difficulty: think_rate_by_difficulty(items),
        format_rate: Some(fraction(&|item| item.parsed.well_formed)),
        consistency: mean_of(items.iter().filter_map(consistency)),
        think_quality: mean_of(items.iter().filter_map(think_quality)),
        judge_requests: tally.requests,
        judge_failures: tally.failures.clone(),
        judge_cache_hit_rate: (tally.usage.lookups > 0)
            .then(|| tally.usage.hits as f64 / tally.usage.lookups as f64),
        judge_retries: tally.usage.retries,
        judge_prompt_tokens: tally.usage.prompt_tokens,
        judge_reply_tokens: tally.usage.reply_tokens,
        judge_disagreement: tally.disagreement,
        rating_disagreement: rating_disagreement(&judged.tasks, items),
        judge_spent_requests: tally.spent.map(|spent| spent.requests),
        judge_spent_tokens: tally.spent.map(|spent| spent.tokens),
        judge_spent_cost: tally.spent.map(|spent| spent.cost),
        completion_tokens_mean: Some(
            mean_of(items.iter().map(|item| item.completion_tokens as f64)).unwrap_or(0.0),
        ),
        think_tokens_mean: mean_of(
            items.iter().filter(|item| thinks(item)).map(|item| item.think_tokens as f64),
        ),
        truncated_rate: Some(fraction(&|item| item.truncated)),
        repetition_rate: repetition_rate(arm, items),
        foreign_script_rate: foreign_script_rate(arm, items),
        judge_agreement: trained.judge_agreement,
        groups_dispatched: groups.dispatched,
        groups_trained: groups.trained,
        groups_excluded: groups.excluded.clone(),
        extra_rounds: (selection.extra_rounds > 0).then_some(trained.extra_rounds),
        discarded_tokens: (selection.extra_rounds > 0 || selection.keep_completions > 0)
            .then(|| discarded_tokens(items, shaped, &trained.conditions.config)),
        audio_truncated: loaded.audio_truncated,
        frac_zero_std: Some(match loaded.rows.len() {
            0 => 0.0,
            sampled => shaped.advantages.zero_std_groups as f64 / sampled as f64,
        }),
        loss: report.map(|report| report.loss),
        kl: sampled_kl.as_ref().map(|kl| kl.mean).or_else(|| loss.and_then(|metrics| metrics.kl())),
        kl_penalty: sampled_kl
            .as_ref()
            .and_then(|kl| mean_of(kl.sums.iter().map(|sum| kl.coefficient * sum))),
        kl_coef: report.and_then(|report| report.kl_coef),
        entropy: loss.and_then(|metrics| metrics.entropy.mean()),
        entropy_think: loss.and_then(|metrics| metrics.entropy_think.mean()),
        entropy_answer: loss.and_then(|metrics| metrics.entropy_answer()),
        entropy_coef: report.and_then(|report| report.entropy_coef),
        entropy_kept_frac: loss
            .filter(|_| trained.conditions.config.grpo.entropy_top_fraction < 1.0)
            .and_then(|metrics| metrics.entropy_kept_frac()),
        importance_weight: loss.and_then(|metrics| metrics.weights.mean()),
        importance_cut_frac: loss.and_then(|metrics| metrics.weights_cut_frac()),
        off_policy_frac: loss.and_then(|metrics| metrics.off_policy_frac()),
        sampling_ratio_mean: ratios.map(|[mean, ..]| mean),
        sampling_ratio_max: ratios.map(|[_, largest, ..]| largest),
        sampling_ess: report.and_then(|report| report.ratios?.effective_fraction()),
        logprob_gap_mean: ratios.map(|[.., mean, _]| mean),
        logprob_gap_max: ratios.map(|[.., largest]| largest),
        canary_gap: generated.servers.and_then(|servers| servers.canary_gap),
        rollouts_retried: generated.servers.map(|servers| servers.retried),
        rollouts_dropped: generated.servers.map(|servers| servers.dropped),
        rollouts_continued: generated.servers.map(|servers| servers.continued),
        rollouts_restarted: generated.servers.map(|servers| servers.restarted),
        restarted_tokens: generated.servers.map(|servers| servers.restarted_tokens),
        rollouts_moved: generated.servers.map(|servers| servers.moved),
        token_staleness: report
            .and_then(|report| token_staleness(report.policy_version - 1, &generated.spans)),
        clip_frac_low: loss.map(|metrics| metrics.clip_frac_low()),
        clip_frac_high: loss.map(|metrics| metrics.clip_frac_high()),
        grad_norm: report.map(|report| report.grad_norm),
        lr: report.map(|report| report.lr),
        health: trained.signs.columns(&trained.health, arm.problems.of_training()),
        load_seconds: Some(loaded.seconds),
        sample_seconds: Some(generated.seconds),
        judge_seconds: Some(judged.seconds),
        reward_seconds: Some(judged.seconds + scores.seconds),
        optimize_seconds: Some(report.map_or(0.0, |report| report.seconds)),
        sampler_idle_seconds: has_servers.then(|| arm.utilisation.sampler.take_idle_seconds()),
        learner_idle_seconds: has_servers.then(|| arm.utilisation.learner.take_idle_seconds()),
        // The times of the whole step are set when everything else is done.
        actor_seconds: None,
        boundary_seconds: None,
        step_seconds: None,
        tokens_per_second: None,
        memory_sampling_bytes: generated.memory,
        memory: training_memory(report, generated.memory_splits),
    }
}

/// The memory of a step, whose sampling halved so many batches.
fn training_memory(report: Option<&StepReport>, splits: u64) -> TrainingMemory {
    let memory = report.map(|report| report.memory).unwrap_or_default();
    let splits = splits + report.map_or(0, |report| report.memory_splits);
    TrainingMemory {
        memory_forward_bytes: memory.forward,
        memory_backward_bytes: memory.backward,
        memory_optimizer_bytes: memory.optimizer,
        memory_splits: (splits > 0).then_some(splits),
    }
}

/// Tokens of completions that `[selection]` leaves out of the training: those of discarded groups, and those beyond
/// `keep_completions`.
fn discarded_tokens(items: &[RewardItem], shaped: &Shaped, config: &ArmConfig) -> u64 {
    let (group_size, selection) = (config.sampling.group_size, &config.selection);
    let advantages = &shaped.advantages;
    let groups = items.chunks(group_size).zip(advantages.values.chunks(group_size)).enumerate();
    let tokens = groups.map(|(group, (items, advantages_of_group))| {
        let compared = !advantages.excluded_groups.contains(&group);
        let of_modes = advantages.of_modes.iter().skip(group * group_size).take(items.len());
        let discarded = selection.extra_rounds > 0
            && compared
            && advantages_of_group.iter().flatten().chain(of_modes).all(|advantage| *advantage == 0.0);
        let left_out = |place: usize| {
            let scored = shaped.rewards[group * group_size + place].is_some();
            discarded || compared && scored && advantages_of_group[place].is_none()
        };
        let places = (0..items.len()).filter(|place| left_out(*place));
        places.map(|place| items[place].completion_tokens as u64).sum::<u64>()
    });
    tokens.sum()
}

fn thinks(item: &RewardItem) -> bool {
    item.parsed.mode == Mode::Think
}

fn think_rate_by_difficulty(items: &[RewardItem]) -> BTreeMap<String, Option<f64>> {
    let mut by_difficulty: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for item in items {
        if let Some(difficulty) = item.question.difficulty {
            by_difficulty.entry(difficulty.to_string()).or_default().push(f64::from(u8::from(thinks(item))));
        }
    }
    by_difficulty.into_iter().map(|(difficulty, thinks)| (difficulty, mean(&thinks))).collect()
}

/// For each reward that several raters score: how much they differ, in the mean over the completions.
fn rating_disagreement(tasks: &Tasks, items: &[RewardItem]) -> BTreeMap<String, f64> {
    let of_task = |(name, task): (&String, &Arc<JudgeTask>)| {
        let differences = items.iter().filter_map(|item| item.graded(task)?.disagreement());
        Some((name.clone(), mean_of(differences)?))
    };
    tasks.iter().filter_map(of_task).collect()
}

/// What the judge gave a completion for each reward that had it asked.
fn graded_by_reward(tasks: &Tasks, item: &RewardItem) -> BTreeMap<String, GradedCompletion> {
    let graded = |(name, task): (&String, &Arc<JudgeTask>)| {
        Some((name.clone(), GradedCompletion::of(item.graded(task)?)))
    };
    tasks.iter().filter_map(graded).collect()
}

fn rollouts(arm: &ArmContext, trained: &TrainedStep) -> Vec<String> {
    let group_size = arm.config.sampling.group_size;
    let scores = &trained.scores.components;
    let rows = trained.judged.batch.items.iter().enumerate().map(|(place, item)| Rollout {
        group: trained.loaded.rows[place / group_size].group as u64,
        audio_start: recorded_start(trained.loaded.rows[place / group_size].audio_start),
        index: (place % group_size) as u64,
        components: scores.iter().map(|(name, scores)| (name.clone(), scores[place])).collect(),
        extras: extras(&trained.scores.notes, place),
        judge_disagreement: trained.judged.disagreements.get(place).copied().flatten(),
        graded: graded_by_reward(&trained.judged.tasks, item),
        reward: trained.shaped.rewards[place],
        advantage: trained.shaped.advantages.values[place],
        weights_version: Some(trained.shaped.weights_version),
        policy_version: first_version(&trained.generated, place),
        policy_versions: versions(&trained.generated, place),
        ..Rollout::of(Phase::Train, trained.step, item)
    });
    json_lines(rows)
}
