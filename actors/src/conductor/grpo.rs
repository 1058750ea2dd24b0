//! A GRPO step, once its completions are collected: train on them, write down what happened.

use std::collections::BTreeMap;
use std::time::Instant;

use rewards::{Mode, RewardItem};

use super::collect::{Collected, figures};
use super::{Drive, Halt, StepMissing};
use crate::arm::context::{json_lines, json_value};
use crate::evaluator::rollout;
use crate::event::{RunEvent, StepFigures};
use crate::optimizer::{OptimizerMsg, StepReport, TrainGroup};
use crate::records::{GrpoMetrics, Phase, Rollout};
use crate::statistics::{mean, mean_of, std_of};

impl Drive {
    /// Trains on a collected step; returns what scores were missing.
    pub(super) async fn grpo_step(
        &mut self,
        mut collected: Collected,
        started: Instant,
    ) -> Result<StepMissing, Halt> {
        let group_size = self.arm.config.sampling.group_size;
        let groups = trainable_groups(&mut collected, group_size);
        let report = if groups.is_empty() {
            None
        } else {
            let slot = &self.arm.slots.optimizer;
            let answer = slot.call(groups, OptimizerMsg::Grpo).await;
            Some(answer.map_err(|error| Halt::Stuck(error.to_string()))?.map_err(Halt::Stuck)?)
        };
        self.progress.step += 1;
        self.progress.groups.add(&collected.groups);

        let mut metrics = self.grpo_metrics(&collected, report.as_ref());
        let rollouts = self.rollouts(&collected);
        metrics.step_seconds = started.elapsed().as_secs_f64();
        let inside =
            metrics.load_seconds + metrics.sample_seconds + metrics.reward_seconds + metrics.optimize_seconds;
        metrics.actor_seconds = (metrics.step_seconds - inside).max(0.0);
        let tokens: usize = collected.batch.items.iter().map(|item| item.completion_tokens).sum();
        metrics.tokens_per_second = tokens as f64 / metrics.step_seconds;
        metrics.boundary_seconds = std::mem::take(&mut self.at_boundaries).as_secs_f64();
        let line = json_value(&metrics);
        self.arm.record(&[("metrics.jsonl", vec![line.to_string()]), ("rollouts.jsonl", rollouts)]).await?;
        self.arm.live.step_taken(self.progress.step);

        self.tell(RunEvent::StepDone {
            arm: self.arm.name.clone(),
            seed: self.arm.seed,
            step: self.progress.step,
            figures: StepFigures {
                reward: metrics.reward,
                accuracy: Some(metrics.accuracy),
                think_rate: Some(metrics.think_rate),
                loss: metrics.loss,
                tokens_per_second: metrics.tokens_per_second,
            },
            line,
        });
        Ok(StepMissing {
            completions: collected.batch.items.len() as u64,
            without_reward: collected.shaped.rewards.iter().filter(|reward| reward.is_none()).count() as u64,
            components: collected.missing,
        })
    }

    fn grpo_metrics(&self, collected: &Collected, report: Option<&StepReport>) -> GrpoMetrics {
        let items = &collected.batch.items;
        let shaped = &collected.shaped;
        let judged = &collected.judged;
        let loss = report.and_then(|report| report.metrics.as_ref());
        let thinks = |item: &RewardItem| f64::from(u8::from(item.parsed.mode == Mode::Think));
        let mut by_difficulty: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for item in items {
            if let Some(difficulty) = item.question.difficulty {
                by_difficulty.entry(difficulty.to_string()).or_default().push(thinks(item));
            }
        }
        let share = |holds: &dyn Fn(&RewardItem) -> bool| {
            mean_of(items.iter().map(|item| f64::from(u8::from(holds(item))))).unwrap_or(0.0)
        };
        let rewards: Vec<f64> = shaped.rewards.iter().flatten().copied().collect();
        GrpoMetrics {
            step: self.progress.step,
            total_steps: self.arm.total_steps,
            policy_version: report.map_or(collected.policy_version, |report| report.policy_version),
            weights_version: shaped.weights_version,
            weights: collected.weights.values.clone(),
            // The step began from the version before the one it published.
            staleness: report.map_or(0, |report| report.policy_version - 1 - collected.policy_version),
            reward: mean(&rewards),
            reward_std: std_of(&rewards),
            components: collected
                .components
                .iter()
                .map(|(name, scores)| (name.clone(), mean_of(scores.iter().flatten().copied())))
                .collect(),
            missing: missing(collected),
            missing_causes: collected
                .missing
                .iter()
                .map(|(name, missing)| (name.clone(), missing.causes.clone()))
                .collect(),
            accuracy: share(&|item| item.correct),
            think_rate: share(&|item| item.parsed.mode == Mode::Think),
            think_rate_by_difficulty: by_difficulty
                .into_iter()
                .filter_map(|(difficulty, thinks)| Some((difficulty, mean(&thinks)?)))
                .collect(),
            format_rate: share(&|item| item.parsed.well_formed),
            consistency: mean_of(items.iter().filter_map(|item| figures(&item.verdict).0)),
            think_quality: mean_of(items.iter().filter_map(|item| figures(&item.verdict).1)),
            judge_requests: judged.requests,
            judge_failures: judged.failures.clone(),
            judge_cache_hit_rate: (judged.usage.lookups > 0)
                .then(|| judged.usage.hits as f64 / judged.usage.lookups as f64),
            judge_retries: judged.usage.retries,
            judge_prompt_tokens: judged.usage.prompt_tokens,
            judge_reply_tokens: judged.usage.reply_tokens,
            judge_disagreement: judged.disagreement,
            completion_tokens_mean: mean_of(items.iter().map(|item| item.completion_tokens as f64))
                .unwrap_or(0.0),
            truncated_rate: share(&|item| item.truncated),
            groups_dispatched: collected.groups.dispatched,
            groups_trained: collected.groups.trained,
            groups_excluded: collected.groups.excluded.clone(),
            audio_truncated: collected.audio_truncated,
            frac_zero_std: fraction(shaped.advantages.zero_std_groups, collected.prompts.len()),
            loss: report.map(|report| report.loss),
            kl: loss.and_then(|metrics| metrics.kl()),
            clip_frac_low: loss.map(|metrics| metrics.clip_frac_low()),
            clip_frac_high: loss.map(|metrics| metrics.clip_frac_high()),
            grad_norm: report.map(|report| report.grad_norm),
            lr: report.map(|report| report.lr),
            load_seconds: collected.timings.load,
            sample_seconds: collected.timings.sample,
            judge_seconds: collected.timings.judge,
            reward_seconds: collected.timings.reward,
            optimize_seconds: report.map_or(0.0, |report| report.seconds),
            actor_seconds: 0.0,
            boundary_seconds: 0.0,
            step_seconds: 0.0,
            tokens_per_second: 0.0,
        }
    }

    fn rollouts(&self, collected: &Collected) -> Vec<String> {
        let group_size = self.arm.config.sampling.group_size;
        let lines = collected.batch.items.iter().enumerate().map(|(place, item)| Rollout {
            group: collected.prompts[place / group_size].group as u64,
            index: (place % group_size) as u64,
            components: collected
                .components
                .iter()
                .map(|(name, scores)| (name.clone(), scores[place]))
                .collect(),
            reward: collected.shaped.rewards[place],
            advantage: collected.shaped.advantages.values[place],
            weights_version: Some(collected.shaped.weights_version),
            policy_version: collected.policy_version,
            ..rollout(Phase::Train, self.progress.step, item)
        });
        json_lines(lines)
    }
}

/// The groups worth a step. Completions without a reward have left theirs; a group of fewer than two is excluded.
fn trainable_groups(collected: &mut Collected, group_size: usize) -> Vec<TrainGroup> {
    let mut groups = Vec::with_capacity(collected.prompts.len());
    for (place, prompted) in collected.prompts.iter().enumerate() {
        let members = place * group_size..(place + 1) * group_size;
        let (mut completions, mut advantages) = (Vec::new(), Vec::new());
        for member in members {
            if let Some(advantage) = collected.shaped.advantages.values[member] {
                completions.push(collected.completions[member].clone());
                advantages.push(advantage);
            }
        }
        if completions.len() < 2 {
            collected.groups.exclude("too_few_scored");
        } else {
            collected.groups.trained += 1;
            groups.push(TrainGroup { prompt: prompted.prompt.clone(), completions, advantages });
        }
    }
    debug_assert!(collected.groups.adds_up());
    groups
}

fn missing(collected: &Collected) -> BTreeMap<String, u64> {
    let count = |scores: &Vec<Option<f64>>| scores.iter().filter(|score| score.is_none()).count() as u64;
    collected.components.iter().map(|(name, scores)| (name.clone(), count(scores))).collect()
}

fn fraction(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
