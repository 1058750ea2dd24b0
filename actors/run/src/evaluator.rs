//! The evaluator: lets the policy answer held-out questions. The crate `evaluation` words and counts them; here they are
//! put to the arm's policy, batch by batch, and recorded.

use std::sync::Arc;
use std::time::Instant;

use evaluation::draft::BatchPlace;
use evaluation::{Answered, Ask, Draft, Pass, Source, Tallies, passes};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{ArmFile, Evaluation, Phase, Rollout, json_lines, json_value};
use rewards::{Question, RewardItem};
use runtime::RunEvent;
use runtime::seed::{Purpose, derive};
use scenarios::{Control, Method, RowCause};
use workers::{GenerateQuery, SamplerMsg, Sound};

use crate::conductor::health::nan_completions;
use crate::conductor::items::{recorded_start, reward_item};
use crate::conductor::judge::ask_judge;
use crate::conductor::judge_clips::judge_clips;
use crate::conductor::load::{Heard, HeardPrompt, Prompts, make_prompts};
use crate::context::ArmContext;
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

/// Evaluates all suites with the newest weights, then records their rows together: an interrupted evaluation leaves no row.
async fn evaluate(arm: &ArmContext, query: &EvaluateQuery) -> Result<Evaluated, EvaluationError> {
    let mut evaluated = Evaluated::default();
    if matches!(*query.recording.hold().await, RecordingState::Recorded) {
        return Ok(evaluated);
    }
    let mut draft = open_draft(arm);
    let (mut evaluations, mut rollouts, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (number, pass) in passes(&arm.config.eval, arm.suites.len()).into_iter().enumerate() {
        let tallies = evaluate_pass(arm, number, pass, query.step, &mut draft).await?;
        evaluated.completions += tallies.evaluation.overall.n;
        evaluated.nan += tallies.evaluation.nan_completions;
        let line = json_value(&tallies.evaluation);
        evaluations.push((tallies.evaluation, line));
        rollouts.extend(json_lines(tallies.rollouts));
        problems.extend(tallies.problems);
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
    // The rows are recorded; a draft that stays behind is not read again.
    let _ = draft.map(Draft::remove);
    for (evaluation, line) in evaluations {
        announce(arm, &evaluation, line);
    }
    Ok(evaluated)
}

fn announce(arm: &ArmContext, evaluation: &Evaluation, line: serde_json::Value) {
    let share = |part: u64| part as f64 / evaluation.overall.n.max(1) as f64;
    arm.emit(RunEvent::EvalDone {
        id: arm.id.clone(),
        step: evaluation.step,
        suite: evaluation.label(),
        asked: evaluation.questions_asked(),
        questions: evaluation.questions,
        accuracy: share(evaluation.overall.correct),
        think_rate: share(evaluation.overall.think),
        line,
    });
}

/// The draft of an arm that is evaluated only. An arm that trains goes on from a checkpoint, and evaluates again from there.
fn open_draft(arm: &ArmContext) -> Option<Draft> {
    if arm.config.method != Method::None {
        return None;
    }
    let settings = toml::to_string(&arm.config).unwrap_or_default();
    let opened = Draft::open(&arm.dir.evaluation_draft(), &settings);
    opened.inspect_err(|error| arm.warn(&format!("{}: {error}", arm.dir.evaluation_draft().display()))).ok()
}

/// Evaluates a suite in one way.
async fn evaluate_pass(
    arm: &ArmContext,
    number: usize,
    pass: Pass,
    step: u64,
    draft: &mut Option<Draft>,
) -> Result<Tallies, StepError> {
    let suite = &arm.suites[pass.suite];
    let mut tallies =
        Tallies { evaluation: pass.blank(suite.name(), &arm.config.eval, step), ..Tallies::default() };
    tallies.evaluation.questions = suite.rows_in_file();
    tallies.evaluation.unusable = suite.causes();
    let asks = pass.asks(&suite.rows.questions, &arm.config);
    for (batch, asks) in asks.chunks(arm.config.eval.batch_prompts.max(1)).enumerate() {
        let place = BatchPlace { pass: number, batch };
        if let Some(answered) = draft.as_mut().and_then(|draft| draft.take(place)) {
            tallies.merge(answered);
            continue;
        }
        let started = Instant::now();
        let mut answered =
            Tallies { evaluation: pass.blank(suite.name(), &arm.config.eval, step), ..Tallies::default() };
        evaluate_batch(arm, pass, asks, batch as u64, &mut answered).await?;
        answered.evaluation.eval_seconds = started.elapsed().as_secs_f64();
        if let Some(draft) = draft
            && let Err(error) = draft.add(place, &answered)
        {
            arm.warn(&format!("{}: {error}", arm.dir.evaluation_draft().display()));
        }
        tallies.merge(answered);
    }
    // Groups are numbered over the whole pass.
    let samples = arm.config.eval.samples;
    for (place, rollout) in tallies.rollouts.iter_mut().enumerate() {
        (rollout.group, rollout.index) = ((place / samples) as u64, (place % samples) as u64);
    }
    Ok(tallies)
}

/// What the policy hears in a pass.
fn heard(control: Option<Control>) -> Heard {
    match control {
        None | Some(Control::OtherClip | Control::ShuffledChoices) => Heard::Clips,
        Some(Control::Silence) => Heard::Instead(Sound::Silence),
        Some(Control::Noise) => Heard::Instead(Sound::Noise),
        Some(Control::NoAudio) => Heard::Nothing,
    }
}

/// A question that was asked: its row, its wording, and where its clip begins.
type Asked<'a> = (&'a Ask, &'a Arc<Question>, f64);

/// Leaves out the questions whose answers are not complete. They do not count as wrong.
fn leave_out_unanswered(
    suite: &Source,
    asked: &mut Vec<Asked<'_>>,
    incomplete: &[usize],
    tallies: &mut Tallies,
) {
    for &place in incomplete.iter().rev() {
        let (ask, ..) = asked.remove(place);
        if ask.first {
            let cause = RowCause::ServerFailed;
            *tallies.evaluation.unusable.entry(cause).or_default() += 1;
            let message = "no answer of the servers passed the checks";
            tallies.problems.push(suite.problem(tallies.evaluation.step, &ask.question, cause, message));
        }
    }
}

/// Puts some questions to the policy. Completions are seeded by suite and row, not by step or control, so that two
/// evaluations differ by the weights alone, and two passes by the control alone (EVAL-1).
async fn evaluate_batch(
    arm: &ArmContext,
    pass: Pass,
    asks: &[Ask],
    batch: u64,
    tallies: &mut Tallies,
) -> Result<(), StepError> {
    let (suite, eval) = (&arm.suites[pass.suite], &arm.config.eval);
    let place = [pass.suite as u64, batch];
    let most_tokens = arm.evaluation_params().max_new_tokens;
    let questions: Vec<Arc<Question>> = asks.iter().map(|ask| ask.question.clone()).collect();
    let Prompts { prompts: made, audio_truncated, .. } =
        make_prompts(arm, &questions, most_tokens, place, |_| None, heard(pass.control)).await?;
    tallies.evaluation.truncated_clips += audio_truncated;
    let (mut asked, mut prompts, mut seeds) = (Vec::<Asked<'_>>::new(), Vec::new(), Vec::new());
    for (row, ((ask, question), made)) in asks.iter().zip(&questions).zip(made).enumerate() {
        match made {
            Ok(HeardPrompt { prompt, audio_start }) => {
                asked.push((ask, question, audio_start));
                prompts.push(prompt);
                let seed = |sample: u64| {
                    let place = [place[0], place[1], row as u64, sample];
                    // The first sample is that of an evaluation with a single one.
                    derive(eval.seed, Purpose::Evaluation, if sample == 0 { &place[..3] } else { &place })
                };
                seeds.extend((0..eval.samples as u64).map(seed));
            }
            Err(_) if !ask.first => {}
            Err(unusable) => {
                let evaluation = &mut tallies.evaluation;
                evaluation.unreadable_clips += u64::from(unusable.cause == RowCause::AudioUnreadable);
                *evaluation.unusable.entry(unusable.cause).or_default() += 1;
                tallies.problems.push(suite.problem(
                    evaluation.step,
                    &ask.question,
                    unusable.cause,
                    &unusable.message,
                ));
            }
        }
    }
    if prompts.is_empty() {
        return Ok(());
    }
    let query = GenerateQuery { prompts, group_size: eval.samples, params: arm.evaluation_params(), seeds };
    let generated = {
        let _work = arm.utilisation.sampler.work();
        arm.slots.sampler.call(query, SamplerMsg::Generate).await??
    };
    leave_out_unanswered(suite, &mut asked, &generated.incomplete, tallies);
    let evaluation = &mut tallies.evaluation;
    evaluation.policy_version = generated.policy_version;
    evaluation.nan_completions += nan_completions(&generated);
    let mut items: Vec<RewardItem> = generated
        .completions
        .iter()
        .enumerate()
        .map(|(place, completion)| {
            let group = place / eval.samples;
            reward_item(arm, asked[group].1, group, completion)
        })
        .collect();
    let needed = arm.live.in_force().is_some_and(|conditions| conditions.need_verdicts());
    let starts = |place: usize| asked[place / eval.samples].2;
    let clips = match needed {
        true => judge_clips(arm, std::iter::empty(), &items, starts).await,
        false => Vec::new(),
    };
    let judged = ask_judge(arm, needed, &mut items, &clips).await?;
    let mut items = items.into_iter().zip(judged.disagreements);
    for (ask, _, audio_start) in asked {
        let (items, disagreements): (Vec<RewardItem>, Vec<Option<f64>>) =
            items.by_ref().take(eval.samples).unzip();
        let record = |(item, disagreement): (&RewardItem, Option<f64>)| Rollout {
            suite: suite.suite.clone(),
            control: pass.control,
            audio_start: recorded_start(audio_start),
            policy_version: generated.policy_version,
            judge_disagreement: disagreement,
            ..Rollout::of(Phase::Eval, tallies.evaluation.step, item)
        };
        let rollouts = items.iter().zip(disagreements).map(record).collect();
        tallies.count(Answered { items, rollouts, first: ask.first });
    }
    Ok(())
}
