//! A supervised step: rows and their targets in, one optimizer step out.

use std::time::Instant;

use super::collect::{Made, prompts_of};
use super::{Drive, Halt};
use crate::arm::context::{ArmContext, json_value};
use crate::event::{RunEvent, StepFigures};
use crate::optimizer::{OptimizerMsg, SftGroup};
use crate::records::{GroupCounts, SftMetrics};
use crate::seed::{Purpose, derive};

/// A step's rows made ready.
pub(super) struct Prepared {
    groups: Vec<SftGroup>,
    counts: GroupCounts,
    audio_truncated: u64,
    load_seconds: f64,
    started: Instant,
}

/// Loads the clips and draws the targets of `step`.
pub(super) async fn prepare(arm: &ArmContext, step: u64) -> Result<Prepared, String> {
    let started = Instant::now();
    let sft = &arm.config.sft;
    let rows = arm.sft_rows(step);
    let styles = arm.target_styles();
    let mut counts = GroupCounts { dispatched: rows.len() as u64, ..GroupCounts::default() };
    let mut groups = Vec::with_capacity(rows.len());
    let draw = |place: usize, what: u64| derive(arm.seed, Purpose::Target, &[step, place as u64, what]);
    // Which style a row is asked in is drawn for it; the targets are drawn after it.
    let style_of = |place| styles[(draw(place, 0) % styles.len() as u64) as usize];
    let Made { prompts, audio_truncated, load_seconds } =
        prompts_of(arm, &rows, |place| sft.prompt_style(style_of(place))).await?;
    for (place, (row, prompt)) in rows.iter().zip(prompts).enumerate() {
        let prompt = match prompt {
            Ok(prompt) => prompt,
            Err(unusable) => {
                counts.exclude(unusable.reason);
                arm.warn(&unusable.message);
                continue;
            }
        };
        let targets: Vec<Vec<i64>> = (1..=sft.targets_per_row as u64)
            .filter_map(|number| arm.sft_target(row, style_of(place), draw(place, number)))
            .map(|target| arm.target_ids(&target))
            .collect();
        if targets.is_empty() {
            counts.exclude("no_target");
            continue;
        }
        counts.trained += 1;
        groups.push(SftGroup { prompt, targets });
    }
    Ok(Prepared { groups, counts, audio_truncated, load_seconds, started })
}

impl Drive {
    pub(super) async fn sft_step(&mut self, prepared: Prepared) -> Result<(), Halt> {
        let Prepared { groups, counts, audio_truncated, load_seconds, started } = prepared;
        let report = if groups.is_empty() {
            None
        } else {
            let slot = &self.arm.slots.optimizer;
            let answer = slot.call(groups, OptimizerMsg::Sft).await;
            Some(answer.map_err(|error| Halt::Stuck(error.to_string()))?.map_err(Halt::Stuck)?)
        };
        self.progress.step += 1;
        self.progress.groups.add(&counts);
        let optimize_seconds = report.as_ref().map_or(0.0, |report| report.seconds);
        let target_tokens = report.as_ref().map_or(0, |report| report.tokens);
        let step_seconds = started.elapsed().as_secs_f64();
        let metrics = SftMetrics {
            step: self.progress.step,
            total_steps: self.arm.total_steps,
            policy_version: report.as_ref().map_or(self.progress.step, |report| report.policy_version),
            groups_dispatched: counts.dispatched,
            groups_trained: counts.trained,
            groups_excluded: counts.excluded,
            audio_truncated,
            loss: report.as_ref().map(|report| report.loss),
            grad_norm: report.as_ref().map(|report| report.grad_norm),
            lr: report.as_ref().map(|report| report.lr),
            target_tokens,
            load_seconds,
            optimize_seconds,
            actor_seconds: (step_seconds - load_seconds - optimize_seconds).max(0.0),
            boundary_seconds: std::mem::take(&mut self.at_boundaries).as_secs_f64(),
            step_seconds,
            tokens_per_second: target_tokens as f64 / step_seconds,
        };
        let line = json_value(&metrics);
        self.arm.record(&[("metrics.jsonl", vec![line.to_string()])]).await?;
        self.arm.live.step_taken(self.progress.step);
        self.tell(RunEvent::StepDone {
            arm: self.arm.name.clone(),
            seed: self.arm.seed,
            step: self.progress.step,
            figures: StepFigures {
                loss: metrics.loss,
                tokens_per_second: metrics.tokens_per_second,
                ..StepFigures::default()
            },
            line,
        });
        Ok(())
    }
}
