//! Judging: parses the completions and asks the judge for verdicts on those that think.

use std::sync::Arc;

use judges::{JudgeClip, JudgeMsg, JudgeQuery, JudgeTally};
use model::Completion;
use rewards::{FailureCause, RewardBatch, RewardItem};
use scenarios::WhenSpent;
use workers::Generated;

use super::grade::{Tasks, grade};
use super::items::reward_item;
use super::judge_clips::judge_clips;
use super::load::Loaded;
use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;

/// The completions of a step, parsed and judged.
pub(super) struct Judged {
    /// What the rewards score, in the order of the completions.
    pub(super) batch: Arc<RewardBatch>,
    pub(super) tally: JudgeTally,
    /// How much the members of a panel differ about each completion.
    pub(super) disagreements: Vec<Option<f64>>,
    /// What rewards asked for besides verdicts.
    pub(super) tasks: Tasks,
    pub(super) seconds: f64,
}

impl Judged {
    /// Adds the completions of a further round of the same step, before which there are `groups` groups.
    pub(super) fn add(&mut self, further: Judged, groups: usize) {
        let batch = Arc::make_mut(&mut self.batch);
        let items = further.batch.items.iter().cloned();
        batch.items.extend(items.map(|item| RewardItem { group: item.group + groups, ..item }));
        self.disagreements.extend(further.disagreements);
        self.tally.add(&further.tally);
        self.seconds += further.seconds;
    }
}

/// Parses the completions of `step`, counted from 0, and adds the judge's verdicts where a reward needs them.
pub(super) async fn judge(
    arm: &ArmContext,
    step: u64,
    conditions: &Conditions,
    loaded: &Loaded,
    generated: &Generated,
) -> Result<Judged, StepError> {
    let group_size = arm.config.sampling.group_size;
    let item = |(place, completion): (usize, &Completion)| {
        let row = &loaded.rows[place / group_size];
        let clip = row.prompt.clips.first();
        RewardItem {
            duration_seconds: clip.and_then(|clip| arm.processor.seconds(clip)),
            ..reward_item(arm, &row.question, place / group_size, completion)
        }
    };
    let mut items: Vec<RewardItem> = generated.completions.iter().enumerate().map(item).collect();
    let tasks = conditions.judge_tasks();
    let graded_items = if tasks.is_empty() { Vec::new() } else { items.clone() };
    let starts = |place: usize| loaded.rows[place / group_size].audio_start;
    let clips = match conditions.need_verdicts() || !tasks.is_empty() {
        true => judge_clips(arm, tasks.values().cloned(), &items, starts).await,
        false => Vec::new(),
    };
    let (graded, AskedJudge { disagreements, mut tally, mut seconds }) = tokio::try_join!(
        grade(arm, conditions, &graded_items, &clips),
        ask_judge(arm, conditions.need_verdicts(), &mut items, &clips),
    )?;
    if let Some(graded) = graded {
        items.iter_mut().zip(graded.graded).for_each(|(item, graded)| item.graded = graded);
        tally.add(&graded.tally);
        seconds = graded.seconds.max(seconds);
    }
    check_budget(arm, &tally)?;
    let batch = RewardBatch {
        step: step + 1,
        total_steps: arm.config.steps,
        group_size,
        microbatch: arm.config.grpo.micro_batch_prompts,
        max_new_tokens: arm.config.sampling.max_new_tokens,
        items,
    };
    Ok(Judged { batch: Arc::new(batch), disagreements, tally, tasks, seconds })
}

/// Ends the step, before it is trained on, if the judge's budget is spent and the arm is not to go on without verdicts.
fn check_budget(arm: &ArmContext, tally: &JudgeTally) -> Result<(), StepError> {
    let Some(reason) = tally.budget.clone() else { return Ok(()) };
    match arm.config.judge.budget.when_spent {
        WhenSpent::Exclude => Ok(()),
        WhenSpent::Pause => Err(StepError::BudgetSpent { reason, can_go_on: true }),
        WhenSpent::Abort => Err(StepError::BudgetSpent { reason, can_go_on: false }),
    }
}

/// What came of asking the judge.
pub(crate) struct AskedJudge {
    /// For each completion, how much the members of a panel differ.
    pub(crate) disagreements: Vec<Option<f64>>,
    pub(crate) tally: JudgeTally,
    pub(crate) seconds: f64,
}

/// Sets the verdicts of the completions that think, if they are `needed` or cost nothing.
pub(crate) async fn ask_judge(
    arm: &ArmContext,
    needed: bool,
    items: &mut [RewardItem],
    clips: &[Option<Arc<JudgeClip>>],
) -> Result<AskedJudge, StepError> {
    let mut disagreements = vec![None; items.len()];
    let nothing = |disagreements| AskedJudge { disagreements, tally: JudgeTally::default(), seconds: 0.0 };
    if !needed && !arm.always_judge {
        return Ok(nothing(disagreements));
    }
    let mut places = Vec::new();
    let mut query = JudgeQuery::default();
    for (place, item) in items.iter().enumerate() {
        if let Some(request) = item.judge_request() {
            places.push(place);
            query.requests.push(request);
            query.clips.push(clips.get(place).cloned().flatten());
        }
    }
    if query.requests.is_empty() {
        return Ok(nothing(disagreements));
    }
    let judged = arm.slots.judge.call(query, JudgeMsg::Judge).await?;
    for ((place, verdict), disagreement) in places.into_iter().zip(judged.verdicts).zip(judged.disagreements)
    {
        items[place].verdict = Some(verdict);
        disagreements[place] = disagreement;
    }
    if let Some(failure) = judged.first_failure.filter(|failure| failure.cause != FailureCause::Undecided) {
        let cause = failure.cause.to_string();
        let failure = format!(
            "the judge gave no verdict on {} of {} completions; the first: {failure}",
            judged.tally.failed(),
            judged.tally.requests
        );
        arm.warn_repeated(arm.slots.judge.count_failure(&cause, &failure), &failure);
    }
    Ok(AskedJudge { disagreements, tally: judged.tally, seconds: judged.seconds })
}
