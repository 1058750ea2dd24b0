//! The evaluator: asks the policy held-out questions and counts what it answers, by difficulty and by kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{Mode, Question, RewardItem};

use crate::arm::context::{ArmContext, Suite, json_lines, json_value};
use crate::conductor::collect::{Made, figures, item_of, judge, prompts_of};
use crate::event::RunEvent;
use crate::records::{Evaluation, Phase, Rollout, Tally};
use crate::sampler::{GenerateQuery, SamplerMsg};
use crate::seed::{Purpose, derive};
use crate::slot::Request;

/// What to evaluate.
#[derive(Clone, Copy)]
pub struct EvaluateQuery {
    /// Steps taken so far.
    pub step: u64,
}

/// Messages to the evaluator.
pub enum EvaluatorMsg {
    /// Evaluate all suites with the newest weights and record the outcome.
    Evaluate(Request<EvaluateQuery, Result<(), String>>),
}

/// The actor.
pub struct Evaluator;

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
                    reply.send(evaluate(arm, query.step).await);
                }
            }
        }
        Ok(())
    }
}

async fn evaluate(arm: &ArmContext, step: u64) -> Result<(), String> {
    for (number, suite) in arm.suites.iter().enumerate() {
        let (evaluation, rollouts) = evaluate_suite(arm, number, suite, step).await?;
        let line = json_value(&evaluation);
        arm.record(&[("eval.jsonl", vec![line.to_string()]), ("rollouts.jsonl", rollouts)]).await?;
        let share = |part: u64| part as f64 / evaluation.overall.n.max(1) as f64;
        arm.tell(RunEvent::EvalDone {
            arm: arm.name.clone(),
            seed: arm.seed,
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
) -> Result<(Evaluation, Vec<String>), String> {
    let started = Instant::now();
    let mut evaluation = Evaluation {
        step,
        suite: suite.name.clone(),
        policy_version: 0,
        overall: Tally::default(),
        by_difficulty: BTreeMap::new(),
        by_kind: BTreeMap::new(),
        unreadable_clips: 0,
        truncated_clips: 0,
        eval_seconds: 0.0,
    };
    let mut rollouts = Vec::with_capacity(suite.questions.len());
    for (batch, rows) in suite.questions.chunks(arm.config.eval.batch_prompts.max(1)).enumerate() {
        let place = [number as u64, batch as u64];
        evaluate_batch(arm, rows, place, &mut evaluation, &mut rollouts).await?;
    }
    evaluation.eval_seconds = started.elapsed().as_secs_f64();
    Ok((evaluation, json_lines(rollouts)))
}

/// The seeds hang on the suite and the row, not on the step: two evaluations differ by the weights alone.
async fn evaluate_batch(
    arm: &ArmContext,
    rows: &[Arc<Question>],
    place: [u64; 2],
    evaluation: &mut Evaluation,
    rollouts: &mut Vec<Rollout>,
) -> Result<(), String> {
    let Made { prompts: made, audio_truncated, .. } = prompts_of(arm, rows, |_| None).await?;
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
    let generated =
        arm.slots.sampler.call(query, SamplerMsg::Generate).await.map_err(|error| error.to_string())??;
    evaluation.policy_version = generated.policy_version;
    let mut items: Vec<RewardItem> = asked
        .iter()
        .zip(&generated.completions)
        .enumerate()
        .map(|(group, (question, completion))| item_of(arm, question, group, completion))
        .collect();
    let needed = arm.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    judge(arm, needed, &mut items).await?;
    for item in &items {
        evaluation.count(item);
        rollouts.push(Rollout {
            group: rollouts.len() as u64,
            policy_version: generated.policy_version,
            ..rollout(Phase::Eval, evaluation.step, item)
        });
    }
    Ok(())
}

impl Evaluation {
    fn count(&mut self, item: &RewardItem) {
        self.overall.count(item);
        if let Some(difficulty) = item.question.difficulty {
            self.by_difficulty.entry(difficulty.to_string()).or_default().count(item);
        }
        if let Some(kind) = &item.question.kind {
            self.by_kind.entry(kind.clone()).or_default().count(item);
        }
    }
}

impl Tally {
    fn count(&mut self, item: &RewardItem) {
        let one = |holds: bool| u64::from(holds);
        let answer = item.parsed.answer.as_deref().unwrap_or_default();
        let question = &item.question;
        self.n += 1;
        self.correct += one(item.correct);
        self.correct_official +=
            one(scenarios::scorers::official_string_match(answer, &question.answer, &question.choices));
        self.think += one(item.parsed.mode == Mode::Think);
        self.well_formed += one(item.parsed.well_formed);
        self.completion_tokens += item.completion_tokens as u64;
        let (consistency, quality) = figures(&item.verdict);
        if let Some(consistency) = consistency {
            self.consistency_sum += consistency;
            self.consistency_n += 1;
        }
        if let Some(quality) = quality {
            self.think_quality_sum += quality;
            self.think_quality_n += 1;
        }
    }
}

/// What is known of a completion before it is scored; the rest is for the caller to fill in.
pub fn rollout(phase: Phase, step: u64, item: &RewardItem) -> Rollout {
    let question = &item.question;
    Rollout {
        phase,
        step,
        group: 0,
        index: 0,
        id: question.id.clone(),
        question: question.text.clone(),
        choices: question.choices.clone(),
        answer_gold: question.answer.clone(),
        audio_path: question.audio_path.clone(),
        difficulty: question.difficulty,
        kind: question.kind.clone(),
        completion: item.completion.clone(),
        mode: item.parsed.mode,
        think: item.parsed.think.clone(),
        answer: item.parsed.answer.clone(),
        correct: item.correct,
        well_formed: item.parsed.well_formed,
        components: BTreeMap::new(),
        reward: None,
        advantage: None,
        weights_version: None,
        policy_version: 0,
        tokens: item.completion_tokens as u64,
        truncated: item.truncated,
    }
}
