//! Grading: has the judge's servers carry out what rewards ask for besides verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use judges::{GradeQuery, GradedItems, JudgeClip, JudgeMsg};
use rewards::{JudgeTask, RewardItem};

use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;

/// The tasks of the rewards that have one, by the reward's name.
pub(super) type Tasks = BTreeMap<String, Arc<JudgeTask>>;

/// Carries out the tasks of all rewards over the completions of a step; `None` if no reward has one.
pub(super) async fn grade(
    arm: &ArmContext,
    conditions: &Conditions,
    items: &[RewardItem],
    clips: &[Option<Arc<JudgeClip>>],
) -> Result<Option<GradedItems>, StepError> {
    let mut tasks: Vec<Arc<JudgeTask>> = Vec::new();
    for task in conditions.judge_tasks().into_values() {
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
    if tasks.is_empty() || items.is_empty() {
        return Ok(None);
    }
    let query = GradeQuery { tasks, items: items.to_vec(), clips: clips.to_vec() };
    let graded = arm.slots.judge.call(query, JudgeMsg::Grade).await?;
    if let Some(failure) = &graded.first_failure {
        let told = format!(
            "the judge did not answer {} of {} requests of rewards; the first: {failure}",
            graded.tally.failed(),
            graded.tally.requests
        );
        arm.warn_repeated(arm.slots.judge.count_failure(&failure.cause.to_string(), &told), &told);
    }
    Ok(Some(graded))
}
