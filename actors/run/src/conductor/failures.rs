//! How much may be missing before an arm stops to ask for help: usable rows, clips, scores and verdicts.

use std::collections::{BTreeMap, VecDeque};

use records::{GroupCounts, MissingCause};
use scenarios::{OnJudgeFailure, RowCause};
use workers::SamplingRatios;

use super::halt::Halt;
use super::score::MissingScores;
use crate::context::ArmContext;

/// What a GRPO step lacked.
pub(super) struct StepFailures {
    /// Number of completions sampled.
    pub(super) completions: u64,
    /// Completions without a reward, because a score that the formula needs is missing.
    pub(super) without_reward: u64,
    pub(super) missing: BTreeMap<String, MissingScores>,
    /// Number of verdicts that the judge was asked for.
    pub(super) verdicts: u64,
    /// Verdicts without a score.
    pub(super) verdicts_failed: u64,
    /// How far the servers that sampled were from the policy; `None` without servers.
    pub(super) ratios: Option<SamplingRatios>,
}

/// The failures of the last steps.
#[derive(Default)]
pub(super) struct FailureWindows {
    rewards: VecDeque<StepFailures>,
    /// Verdicts failed and asked for.
    verdicts: VecDeque<(u64, u64)>,
}

/// Steps over which missing rewards are counted.
const REWARD_WINDOW: usize = 10;

impl FailureWindows {
    /// Adds a step, and checks both limits. An arm that repeats a recorded run passed them then.
    pub(super) fn check(&mut self, arm: &ArmContext, step: StepFailures) -> Result<(), Halt> {
        check_ratios(arm, step.ratios.as_ref())?;
        self.check_verdicts(arm, (step.verdicts_failed, step.verdicts))?;
        self.check_rewards(arm, step)
    }

    /// Applies `supervision.max_missing_fraction` to the scores of the step (REWARD-1).
    fn check_rewards(&mut self, arm: &ArmContext, step: StepFailures) -> Result<(), Halt> {
        self.rewards.push_back(step);
        if self.rewards.len() > REWARD_WINDOW {
            self.rewards.pop_front();
        }
        let completions: u64 = self.rewards.iter().map(|step| step.completions).sum();
        let without: u64 = self.rewards.iter().map(|step| step.without_reward).sum();
        let most = arm.config.supervision.max_missing_fraction;
        let too_many = self.rewards.len() == REWARD_WINDOW && without as f64 > most * completions as f64;
        if !too_many || arm.live.is_replay() {
            return Ok(());
        }
        let steps = std::mem::take(&mut self.rewards);
        Err(Halt::NeedsHelp(format!(
            "{without} of {completions} completions were left without a reward in the last {REWARD_WINDOW} steps, more \
             than supervision.max_missing_fraction = {most} allows{}",
            worst_component(&steps)
        )))
    }

    /// `judge.max_failed_fraction` over `judge.failure_window` steps.
    fn check_verdicts(&mut self, arm: &ArmContext, step: (u64, u64)) -> Result<(), Halt> {
        let judge = &arm.config.judge;
        self.verdicts.push_back(step);
        if self.verdicts.len() > judge.failure_window {
            self.verdicts.pop_front();
        }
        let add = |(failed, asked), step: &(u64, u64)| (failed + step.0, asked + step.1);
        let (failed, asked) = self.verdicts.iter().fold((0, 0), add);
        let too_many = failed as f64 > judge.max_failed_fraction * asked as f64;
        if self.verdicts.len() < judge.failure_window || !too_many || arm.live.is_replay() {
            return Ok(());
        }
        self.verdicts.clear();
        let reason = format!(
            "{failed} of {asked} verdicts are missing in the last {} steps, more than judge.max_failed_fraction = {} \
             allows; judge_failures in metrics.jsonl has the causes",
            judge.failure_window, judge.max_failed_fraction
        );
        match judge.on_failure {
            OnJudgeFailure::Exclude => Ok(()),
            OnJudgeFailure::Pause => Err(Halt::NeedsHelp(reason)),
            OnJudgeFailure::Abort => {
                Err(Halt::Failed(format!("{reason}; repair the judge, then go on with --resume")))
            }
        }
    }
}

/// `sampler.min_effective_fraction`, over the tokens of the step. A ratio that is no number is beyond every limit.
fn check_ratios(arm: &ArmContext, ratios: Option<&SamplingRatios>) -> Result<(), Halt> {
    let Some(ratios) = ratios.filter(|_| !arm.live.is_replay()) else { return Ok(()) };
    let least = arm.config.sampler.min_effective_fraction;
    if ratios.not_finite > 0 {
        return Err(Halt::NeedsHelp(format!(
            "{} of {} importance ratios between the policy and the servers are not finite; compare their versions, and \
             `canary_gap` in metrics.jsonl",
            ratios.not_finite, ratios.tokens
        )));
    }
    match ratios.effective_fraction().filter(|fraction| *fraction < least) {
        None => Ok(()),
        Some(fraction) => Err(Halt::NeedsHelp(format!(
            "the effective sample size of the importance ratios between the policy and the servers is {fraction:.3} of the \
             step's tokens, less than sampler.min_effective_fraction = {least} allows; lower grpo.max_staleness, or compare \
             the servers' dtype and version"
        ))),
    }
}

/// `loader.max_failed_fraction`, over all groups so far.
pub(super) fn check_clips(arm: &ArmContext, groups: &GroupCounts) -> Result<(), Halt> {
    let unreadable = groups.excluded.get(RowCause::AudioUnreadable.name()).copied().unwrap_or_default();
    let most = arm.config.loader.max_failed_fraction;
    if unreadable as f64 > most * groups.dispatched as f64 {
        return Err(Halt::Failed(format!(
            "{unreadable} of {} clips could not be read, more than loader.max_failed_fraction = {most} allows; \
             data-problems.jsonl lists them",
            groups.dispatched
        )));
    }
    Ok(())
}

/// `data.max_unusable_fraction`, over the training rows that are known to be unusable so far (DATA-5).
pub(super) fn check_rows(arm: &ArmContext) -> Result<(), Halt> {
    let (unusable, rows) = (arm.problems.of_training(), arm.training.rows.rows());
    let most = arm.config.data.max_unusable_fraction;
    if unusable as f64 > most * rows as f64 {
        return Err(Halt::Failed(format!(
            "{unusable} of {rows} rows of the training set can't be used, more than data.max_unusable_fraction = {most} \
             allows; data-problems.jsonl lists them"
        )));
    }
    Ok(())
}

/// The component with the most missing scores: how many by cause, and its last message.
fn worst_component(steps: &VecDeque<StepFailures>) -> String {
    let mut components: BTreeMap<&str, (BTreeMap<MissingCause, u64>, Option<&str>)> = BTreeMap::new();
    for (name, missing) in steps.iter().flat_map(|step| &step.missing) {
        let (causes, failure) = components.entry(name).or_default();
        for (cause, count) in &missing.causes {
            *causes.entry(*cause).or_default() += count;
        }
        *failure = missing.failure.as_deref().or(*failure);
    }
    let worst = components.into_iter().max_by_key(|(_, (causes, _))| causes.values().sum::<u64>());
    let Some((name, (causes, failure))) = worst else { return String::new() };
    let counts: Vec<String> = causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    let said = failure.map_or_else(String::new, |failure| format!("; it last failed with: {failure}"));
    format!("; `{name}` lacks {} scores{said}", counts.join(", "))
}
