//! The evaluator: lets the policy answer held-out questions and counts the answers by difficulty and by kind.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{
    ArmFile, DataProblem, Evaluation, FormatVersion, Phase, Rollout, Tally, json_lines, json_value,
};
use rewards::{Mode, Question, RewardItem};
use runtime::RunEvent;
use runtime::seed::{Purpose, derive};
use scenarios::RowCause;
use workers::{GenerateQuery, SamplerMsg};

use crate::conductor::health::nan_completions;
use crate::conductor::items::{consistency, recorded_start, reward_item, rollout, think_quality};
use crate::conductor::judge::ask_judge;
use crate::conductor::load::{HeardPrompt, Prompts, make_prompts};
use crate::context::ArmContext;
use crate::data::Source;
use crate::error::{EvaluationError, StepError};
use crate::messages::{EvaluateQuery, Evaluated, EvaluatorMsg, RecordingState};

pub(crate) struct Evaluator;

impl Actor for Evaluator {
    type Msg = EvaluatorMsg;
    type State = Arc<ArmContext>;
    type Arguments = Arc<ArmContext>;

    async fn pre_start(
        &self,
        _: ActorRef<EvaluatorMsg>,
        arm: Arc<ArmContext>,
    ) -> Result<Arc<ArmContext>, ActorProcessingErr> {
        Ok(arm)
    }

    async fn handle(
        &self,
        _: ActorRef<EvaluatorMsg>,
        message: EvaluatorMsg,
        arm: &mut Arc<ArmContext>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EvaluatorMsg::Evaluate(request) => {
                if let Some((query, reply)) = request.begin() {
                    reply.send(evaluate(arm, &query).await);
                }
            }
        }
        Ok(())
    }
}

/// Evaluates all suites with the newest weights, then records their rows together: an interrupted evaluation leaves none.
async fn evaluate(arm: &ArmContext, query: &EvaluateQuery) -> Result<Evaluated, EvaluationError> {
    let mut evaluated = Evaluated::default();
    if matches!(*query.recording.hold().await, RecordingState::Recorded) {
        return Ok(evaluated);
    }
    let (mut evaluations, mut rollouts, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (number, suite) in arm.suites.iter().enumerate() {
        let evaluating = evaluate_suite(arm, number, suite, query.step).await?;
        evaluated.completions += evaluating.evaluation.overall.n;
        evaluated.nan += evaluating.evaluation.nan_completions;
        let line = json_value(&evaluating.evaluation);
        evaluations.push((evaluating.evaluation, line));
        rollouts.extend(json_lines(evaluating.rollouts));
        problems.extend(evaluating.problems);
    }
    let mut recording = query.recording.hold().await;
    if !matches!(*recording, RecordingState::Open) {
        return Ok(evaluated);
    }
    let lines: Vec<String> = evaluations.iter().map(|(_, line)| line.to_string()).collect();
    let rows = [
        (ArmFile::Evaluations, lines),
        (ArmFile::Rollouts, rollouts),
        (ArmFile::DataProblems, arm.list_problems(problems)),
    ];
    arm.append(&rows).await?;
    *recording = RecordingState::Recorded;
    for (evaluation, line) in evaluations {
        let share = |part: u64| part as f64 / evaluation.overall.n.max(1) as f64;
        arm.emit(RunEvent::EvalDone {
            id: arm.id.clone(),
            step: query.step,
            suite: evaluation.suite,
            accuracy: share(evaluation.overall.correct),
            think_rate: share(evaluation.overall.think),
            line,
        });
    }
    Ok(evaluated)
}

/// An evaluation as far as it has come.
struct Evaluating {
    evaluation: Evaluation,
    rollouts: Vec<Rollout>,
    /// Questions that turned out to be unusable.
    problems: Vec<DataProblem>,
}

async fn evaluate_suite(
    arm: &ArmContext,
    number: usize,
    suite: &Source,
    step: u64,
) -> Result<Evaluating, StepError> {
    let started = Instant::now();
    let evaluation = Evaluation {
        format_version: FormatVersion::CURRENT,
        step,
        suite: suite.suite.clone().unwrap_or_default(),
        questions: suite.rows.rows() as u64,
        unusable: suite.rows.causes(),
        ..Evaluation::default()
    };
    let questions = &suite.rows.questions;
    let rollouts = Vec::with_capacity(questions.len());
    let mut evaluating = Evaluating { evaluation, rollouts, problems: Vec::new() };
    for (batch, rows) in questions.chunks(arm.config.eval.batch_prompts.max(1)).enumerate() {
        let place = [number as u64, batch as u64];
        evaluate_batch(arm, suite, &rows, place, &mut evaluating).await?;
    }
    evaluating.evaluation.eval_seconds = started.elapsed().as_secs_f64();
    Ok(evaluating)
}

/// Evaluates some questions. Completions are seeded by suite and row, not by step, so that two evaluations differ
/// by the weights alone.
async fn evaluate_batch(
    arm: &ArmContext,
    suite: &Source,
    rows: &[Arc<Question>],
    place: [u64; 2],
    evaluating: &mut Evaluating,
) -> Result<(), StepError> {
    let Evaluating { evaluation, rollouts, problems } = evaluating;
    let most_tokens = arm.evaluation_params().max_new_tokens;
    let Prompts { prompts: made, audio_truncated, .. } =
        make_prompts(arm, rows, most_tokens, place, |_| None).await?;
    evaluation.truncated_clips += audio_truncated;
    let (mut asked, mut prompts, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (question, made)) in rows.iter().zip(made).enumerate() {
        match made {
            Ok(HeardPrompt { prompt, audio_start }) => {
                asked.push((question, audio_start));
                prompts.push(prompt);
                let seed = arm.config.eval.seed;
                seeds.push(derive(seed, Purpose::Evaluation, &[place[0], place[1], row as u64]));
            }
            Err(unusable) => {
                evaluation.unreadable_clips += u64::from(unusable.cause == RowCause::AudioUnreadable);
                *evaluation.unusable.entry(unusable.cause).or_default() += 1;
                problems.push(suite.problem(evaluation.step, question, &unusable));
            }
        }
    }
    if prompts.is_empty() {
        return Ok(());
    }
    let query = GenerateQuery { prompts, group_size: 1, params: arm.evaluation_params(), seeds };
    let generated = arm.slots.sampler.call(query, SamplerMsg::Generate).await??;
    evaluation.policy_version = generated.policy_version;
    evaluation.nan_completions += nan_completions(&generated);
    let mut items: Vec<RewardItem> = asked
        .iter()
        .zip(&generated.completions)
        .enumerate()
        .map(|(group, ((question, _), completion))| reward_item(arm, question, group, completion))
        .collect();
    let needed = arm.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    ask_judge(arm, needed, &mut items).await?;
    for (item, (_, audio_start)) in items.iter().zip(asked) {
        count(evaluation, item);
        rollouts.push(Rollout {
            group: rollouts.len() as u64,
            audio_start: recorded_start(audio_start),
            policy_version: generated.policy_version,
            ..rollout(Phase::Eval, evaluation.step, item)
        });
    }
    Ok(())
}

/// Adds a completion to the tallies of an evaluation.
fn count(evaluation: &mut Evaluation, item: &RewardItem) {
    tally(&mut evaluation.overall, item);
    if let Some(difficulty) = item.question.difficulty {
        tally(evaluation.by_difficulty.entry(difficulty.to_string()).or_default(), item);
    }
    if let Some(kind) = &item.question.kind {
        tally(evaluation.by_kind.entry(kind.clone()).or_default(), item);
    }
}

fn tally(tally: &mut Tally, item: &RewardItem) {
    let one = |holds: bool| u64::from(holds);
    tally.n += 1;
    tally.correct += one(item.readings.strict);
    tally.correct_official += one(item.readings.official == Some(true));
    tally.official_n += one(item.readings.official.is_some());
    tally.correct_lenient += one(item.readings.lenient);
    tally.think += one(item.parsed.mode == Mode::Think);
    tally.well_formed += one(item.parsed.well_formed);
    tally.completion_tokens += item.completion_tokens as u64;
    if let Some(consistency) = consistency(item) {
        tally.consistency_sum += consistency;
        tally.consistency_n += 1;
    }
    if let Some(quality) = think_quality(item) {
        tally.think_quality_sum += quality;
        tally.think_quality_n += 1;
    }
}
