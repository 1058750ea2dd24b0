//! The evaluator: lets the policy answer held-out questions and counts the answers by difficulty and by kind.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{ArmFile, Evaluation, FormatVersion, Phase, Rollout, Tally, json_lines, json_value};
use rewards::{Mode, Question, RewardItem};
use runtime::RunEvent;
use runtime::seed::{Purpose, derive};
use workers::{GenerateQuery, SamplerMsg};

use crate::conductor::items::{consistency, reward_item, rollout, think_quality};
use crate::conductor::judge::ask_judge;
use crate::conductor::load::{Prompts, make_prompts};
use crate::context::{ArmContext, Suite};
use crate::error::{EvaluationError, StepError};
use crate::messages::{EvaluateQuery, EvaluatorMsg, RecordingState};

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
async fn evaluate(arm: &ArmContext, query: &EvaluateQuery) -> Result<(), EvaluationError> {
    if matches!(*query.recording.hold().await, RecordingState::Recorded) {
        return Ok(());
    }
    let step = query.step;
    let (mut evaluations, mut rollouts) = (Vec::new(), Vec::new());
    for (number, suite) in arm.suites.iter().enumerate() {
        let (evaluation, rows) = evaluate_suite(arm, number, suite, step).await?;
        let line = json_value(&evaluation);
        evaluations.push((suite, evaluation, line));
        rollouts.extend(rows);
    }
    let lines = evaluations.iter().map(|(.., line)| line.to_string()).collect();
    let mut recording = query.recording.hold().await;
    if !matches!(*recording, RecordingState::Open) {
        return Ok(());
    }
    if !evaluations.is_empty() {
        arm.append(&[(ArmFile::Evaluations, lines), (ArmFile::Rollouts, rollouts)]).await?;
    }
    *recording = RecordingState::Recorded;
    for (suite, evaluation, line) in evaluations {
        let share = |part: u64| part as f64 / evaluation.overall.n.max(1) as f64;
        arm.emit(RunEvent::EvalDone {
            id: arm.id.clone(),
            step,
            suite: suite.name.clone(),
            accuracy: share(evaluation.overall.correct),
            think_rate: share(evaluation.overall.think),
            line,
        });
    }
    Ok(())
}

async fn evaluate_suite(
    arm: &ArmContext,
    number: usize,
    suite: &Suite,
    step: u64,
) -> Result<(Evaluation, Vec<String>), StepError> {
    let started = Instant::now();
    let mut evaluation = Evaluation {
        format_version: FormatVersion::CURRENT,
        step,
        suite: suite.name.clone(),
        ..Evaluation::default()
    };
    let mut rollouts = Vec::with_capacity(suite.questions.len());
    for (batch, rows) in suite.questions.chunks(arm.config.eval.batch_prompts.max(1)).enumerate() {
        let place = [number as u64, batch as u64];
        evaluate_batch(arm, rows, place, &mut evaluation, &mut rollouts).await?;
    }
    evaluation.eval_seconds = started.elapsed().as_secs_f64();
    Ok((evaluation, json_lines(rollouts)))
}

/// Evaluates some questions. Completions are seeded by suite and row, not by step, so that two evaluations differ
/// by the weights alone.
async fn evaluate_batch(
    arm: &ArmContext,
    rows: &[Arc<Question>],
    place: [u64; 2],
    evaluation: &mut Evaluation,
    rollouts: &mut Vec<Rollout>,
) -> Result<(), StepError> {
    let Prompts { prompts: made, audio_truncated, .. } = make_prompts(arm, rows, |_| None).await?;
    evaluation.truncated_clips += audio_truncated;
    let (mut asked, mut prompts, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (question, made)) in rows.iter().zip(made).enumerate() {
        match made {
            Ok(prompt) => {
                asked.push(question);
                prompts.push(prompt);
                let seed = arm.config.eval.seed;
                seeds.push(derive(seed, Purpose::Evaluation, &[place[0], place[1], row as u64]));
            }
            Err(unusable) => {
                evaluation.unreadable_clips += 1;
                arm.warn(&unusable.message);
            }
        }
    }
    if prompts.is_empty() {
        return Ok(());
    }
    let query = GenerateQuery { prompts, group_size: 1, params: arm.evaluation_params(), seeds };
    let generated = arm.slots.sampler.call(query, SamplerMsg::Generate).await??;
    evaluation.policy_version = generated.policy_version;
    let mut items: Vec<RewardItem> = asked
        .iter()
        .zip(&generated.completions)
        .enumerate()
        .map(|(group, (question, completion))| reward_item(arm, question, group, completion))
        .collect();
    let needed = arm.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    ask_judge(arm, needed, &mut items).await?;
    for item in &items {
        count(evaluation, item);
        rollouts.push(Rollout {
            group: rollouts.len() as u64,
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
    let answer = item.parsed.answer.as_deref().unwrap_or_default();
    let question = &item.question;
    tally.n += 1;
    tally.correct += one(item.correct);
    tally.correct_official +=
        one(scenarios::scorers::official_string_match(answer, &question.answer, &question.choices));
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
