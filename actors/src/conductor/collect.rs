//! The way of one step's completions: rows → clips → prompts → completions → verdicts → scores → advantages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use model::{Completion, Finish, Prompt};
use rewards::{
    FailureCause, Question, RewardBatch, RewardItem, Verdict, Weights, is_correct, parse_completion,
};
use scenarios::PromptStyle;
use tokio::task::JoinHandle;

use crate::arm::context::ArmContext;
use crate::judge::{JudgeMsg, JudgeTally};
use crate::live::Conditions;
use crate::loader::{Clip, LoaderMsg};
use crate::records::GroupCounts;
use crate::reward::{Cause, RewardMsg, Scored};
use crate::sampler::{GenerateQuery, SamplerMsg};
use crate::seed::{Purpose, derive};
use crate::shaper::{Components, ShapeQuery, Shaped, ShaperMsg};
use crate::slot::CallError;

/// Scores of one component that could not be had in a step.
#[derive(Clone, Default)]
pub struct Missing {
    /// How many, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// What the reward failed with, if it said so.
    pub failure: Option<String>,
}

/// Time spent inside the actors that do the work, in seconds.
#[derive(Clone, Copy, Default)]
pub struct Timings {
    /// Loading audio.
    pub load: f64,
    /// Sampling.
    pub sample: f64,
    /// Judging.
    pub judge: f64,
    /// Judging and scoring; rewards run side by side, so the slowest counts.
    pub reward: f64,
    /// From the first request to the last answer.
    pub wall: f64,
}

/// A prompt that could be made.
pub struct Prompted {
    /// Its place among the step's rows.
    pub group: usize,
    /// The row.
    pub question: Arc<Question>,
    /// The prompt.
    pub prompt: Prompt,
}

/// A step's completions with all that is known of them before training.
pub struct Collected {
    /// One per group that was sampled.
    pub prompts: Vec<Prompted>,
    /// Group-major, `group_size` per prompt.
    pub completions: Vec<Completion>,
    /// What the rewards saw, in the order of the completions.
    pub batch: Arc<RewardBatch>,
    /// What they said.
    pub components: Arc<Components>,
    /// What they did not say, and why, by component.
    pub missing: BTreeMap<String, Missing>,
    /// What came of it.
    pub shaped: Shaped,
    /// The weights it was shaped under.
    pub weights: Weights,
    /// What came of asking the judge.
    pub judged: JudgeTally,
    /// Version of the weights that sampled.
    pub policy_version: u64,
    /// Groups so far: dispatched, and excluded with a reason.
    pub groups: GroupCounts,
    /// Prompts whose clip lost its end.
    pub audio_truncated: u64,
    /// Where the time went.
    pub timings: Timings,
}

/// Prompts of some rows.
pub struct Made {
    /// In the order of the rows.
    pub prompts: Vec<Result<Prompt, Unusable>>,
    /// Prompts whose clip is longer than the model hears and lost its end.
    pub audio_truncated: u64,
    /// The loader's time.
    pub load_seconds: f64,
}

/// Makes prompts of rows, in the style that `style_of` gives a place (`None`: the arm's own); a row whose clip can't be
/// read, or whose prompt can't be made, is `Err` in its place.
pub async fn prompts_of(
    arm: &ArmContext,
    rows: &[Arc<Question>],
    style_of: impl Fn(usize) -> Option<PromptStyle>,
) -> Result<Made, String> {
    let paths = rows.iter().map(|row| row.audio_path.clone()).collect();
    let loaded = arm.slots.loader.call(paths, LoaderMsg::Load).await.map_err(|error| error.to_string())?;
    let clips = rows.iter().zip(loaded.clips).enumerate();
    let mut made = Made { prompts: Vec::new(), audio_truncated: 0, load_seconds: loaded.seconds };
    for (place, (row, clip)) in clips {
        let prompt = prompt_of(arm, row, clip, style_of(place));
        if prompt.as_ref().is_ok_and(|prompt| prompt.clips.iter().any(|clip| clip.truncated)) {
            made.audio_truncated += 1;
            arm.warn_of_truncation(&row.audio_path);
        }
        made.prompts.push(prompt);
    }
    Ok(made)
}

/// The name that groups whose clip can't be read are counted under.
pub const AUDIO_UNREADABLE: &str = "audio_unreadable";

/// Why a row could not be used.
pub struct Unusable {
    /// The name it is counted under.
    pub reason: &'static str,
    /// One line for people.
    pub message: String,
}

fn prompt_of(
    arm: &ArmContext,
    row: &Question,
    clip: Clip,
    style: Option<PromptStyle>,
) -> Result<Prompt, Unusable> {
    let clip = clip.map_err(|message| Unusable { reason: AUDIO_UNREADABLE, message })?;
    arm.processor
        .prompt(&arm.user_text(row, style), &[clip])
        .map_err(|error| Unusable { reason: "prompt_unusable", message: format!("{}: {error}", row.id) })
}

/// Samples, judges, scores and shapes the completions of `step`, counted from 0, all of it under `conditions`.
///
/// # Errors
/// One line, when an actor it needs is out of service for good.
pub async fn collect(
    arm: Arc<ArmContext>,
    step: u64,
    conditions: Arc<Conditions>,
) -> Result<Collected, String> {
    let started = Instant::now();
    let sampling = &arm.config.sampling;
    let rows = arm.rows.of_step(step, sampling.prompts_per_step);
    let Made { prompts: made, audio_truncated, load_seconds: load } =
        prompts_of(&arm, &rows, |_| None).await?;
    let mut groups = GroupCounts { dispatched: rows.len() as u64, ..GroupCounts::default() };
    let mut prompts = Vec::with_capacity(rows.len());
    for (group, (question, made)) in rows.into_iter().zip(made).enumerate() {
        match made {
            Ok(prompt) => prompts.push(Prompted { group, question, prompt }),
            Err(unusable) => {
                groups.exclude(unusable.reason);
                arm.warn(&unusable.message);
            }
        }
    }

    let (completions, policy_version, sample) = generate(&arm, step, &prompts).await?;
    let mut items = items_of(&arm, &prompts, &completions);
    let (judged, judge) = judge(&arm, conditions.need_verdicts(), &mut items).await?;
    let batch = Arc::new(RewardBatch {
        step: step + 1,
        total_steps: arm.total_steps,
        group_size: sampling.group_size,
        microbatch: arm.config.grpo.micro_batch_prompts,
        items,
    });
    let (components, missing, score) = score(&arm, &conditions, &batch).await?;
    let weights = conditions.weights_at(step + 1);
    let query = ShapeQuery {
        components: components.clone(),
        group_size: sampling.group_size,
        formula: conditions.formula.clone(),
        weights: weights.clone(),
    };
    let shaped = arm.slots.shaper.call(query, ShaperMsg::Shape).await.map_err(|error| error.to_string())?;

    let timings =
        Timings { load, sample, judge, reward: judge + score, wall: started.elapsed().as_secs_f64() };
    arm.live.keep_batch(batch.clone());
    Ok(Collected {
        prompts,
        completions,
        batch,
        components,
        missing,
        shaped,
        weights,
        judged,
        policy_version,
        groups,
        audio_truncated,
        timings,
    })
}

async fn generate(
    arm: &ArmContext,
    step: u64,
    prompts: &[Prompted],
) -> Result<(Vec<Completion>, u64, f64), String> {
    if prompts.is_empty() {
        return Ok((Vec::new(), step, 0.0));
    }
    let group_size = arm.config.sampling.group_size;
    let seeds = prompts
        .iter()
        .flat_map(|prompted| {
            let group = prompted.group as u64;
            (0..group_size as u64)
                .map(move |index| derive(arm.seed, Purpose::Completion, &[step, group, index]))
        })
        .collect();
    let query = GenerateQuery {
        prompts: prompts.iter().map(|prompted| prompted.prompt.clone()).collect(),
        group_size,
        params: arm.sampling_params(),
        seeds,
    };
    let generated =
        arm.slots.sampler.call(query, SamplerMsg::Generate).await.map_err(|error| error.to_string())??;
    Ok((generated.completions, generated.policy_version, generated.seconds))
}

fn items_of(arm: &ArmContext, prompts: &[Prompted], completions: &[Completion]) -> Vec<RewardItem> {
    let group_size = arm.config.sampling.group_size;
    completions
        .iter()
        .enumerate()
        .map(|(place, completion)| {
            let Prompted { question, prompt, .. } = &prompts[place / group_size];
            let heard = prompt.clips.first().and_then(|clip| arm.processor.seconds(clip));
            RewardItem { duration_seconds: heard, ..item_of(arm, question, place / group_size, completion) }
        })
        .collect()
}

/// Reads one completion.
pub fn item_of(
    arm: &ArmContext,
    question: &Arc<Question>,
    group: usize,
    completion: &Completion,
) -> RewardItem {
    let text = arm.processor.decode(&completion.ids);
    let parsed = parse_completion(&text, &arm.parser);
    let correct = is_correct(&parsed, question);
    RewardItem {
        question: question.clone(),
        group,
        completion: text,
        parsed,
        correct,
        completion_tokens: completion.ids.len(),
        truncated: completion.finish == Finish::Length,
        duration_seconds: None,
        verdict: None,
    }
}

/// Fills in the verdicts of the completions that think, where rewards need them or they cost nothing; returns what came of
/// asking, and the judge's time.
pub async fn judge(
    arm: &ArmContext,
    needed: bool,
    items: &mut [RewardItem],
) -> Result<(JudgeTally, f64), String> {
    let nothing = (JudgeTally::default(), 0.0);
    if !needed && !arm.judging_is_free {
        return Ok(nothing);
    }
    let mut places = Vec::new();
    let mut requests = Vec::new();
    for (place, item) in items.iter().enumerate() {
        if let Some(request) = item.judge_request() {
            places.push(place);
            requests.push(request);
        }
    }
    if requests.is_empty() {
        return Ok(nothing);
    }
    let judged = arm.slots.judge.call(requests, JudgeMsg::Judge).await.map_err(|error| error.to_string())?;
    for (place, verdict) in places.into_iter().zip(judged.verdicts) {
        items[place].verdict = Some(verdict);
    }
    if let Some(failure) = judged.first_failure.filter(|failure| failure.cause != FailureCause::Undecided) {
        let cause = failure.cause.to_string();
        let failure = format!(
            "the judge gave no verdict on {} of {} completions; the first: {failure}",
            judged.tally.failed(),
            judged.tally.requests
        );
        arm.warn_again(arm.slots.judge.count_failure(&cause, &failure), &failure);
    }
    Ok((judged.tally, judged.seconds))
}

/// Asks every reward, side by side.
async fn score(
    arm: &ArmContext,
    conditions: &Conditions,
    batch: &Arc<RewardBatch>,
) -> Result<(Arc<Components>, BTreeMap<String, Missing>, f64), String> {
    let mut asked = Vec::new();
    for (name, reward) in &conditions.rewards {
        let (slot, batch) = (reward.slot.clone(), batch.clone());
        let answer = tokio::spawn(async move { slot.call(batch, RewardMsg::Score).await });
        asked.push((name, reward, Asked(answer)));
    }
    let (mut components, mut missing) = (BTreeMap::new(), BTreeMap::new());
    let mut slowest: f64 = 0.0;
    for (name, reward, mut answer) in asked {
        let scored = (&mut answer.0)
            .await
            .map_err(|error| format!("reward `{name}`: {error}"))?
            .map_err(|error| format!("reward `{name}`: {error}"))?;
        if let Some(failure) = &scored.failure {
            // The gravest of its causes: one without a word is null.
            let cause = scored.missing.keys().next_back().map_or_else(String::new, ToString::to_string);
            let times = reward.slot.count_failure(&cause, failure);
            arm.warn_again(times, &format!("reward `{name}` at step {}: {failure}", batch.step));
        }
        slowest = slowest.max(scored.seconds);
        if !scored.missing.is_empty() {
            missing.insert(name.clone(), Missing { causes: scored.missing, failure: scored.failure });
        }
        components.insert(name.clone(), scored.scores);
    }
    Ok((Arc::new(components), missing, slowest))
}

/// A reward that was asked; dropped, it is told that nobody waits any more.
struct Asked(JoinHandle<Result<Scored, CallError>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The verdict's two figures of a completion, if it has them.
pub fn figures(verdict: &Option<Verdict>) -> (Option<f64>, Option<f64>) {
    verdict.as_ref().map_or((None, None), |verdict| (verdict.consistency, verdict.think_quality))
}
