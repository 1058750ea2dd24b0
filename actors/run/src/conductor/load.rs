//! Loading: the rows of a step, their audio, and the prompts made of both.

use std::sync::Arc;

use evaluation::presented;
use model::{Prompt, SpokenClip};
use records::{DataProblem, GroupCounts};
use rewards::Question;
use runtime::seed::{Purpose, derive};
use scenarios::PromptStyle;
use workers::{AlignBatch, ClipRequest, LoaderMsg, SftGroup, Sound};

use crate::context::ArmContext;
use crate::error::StepError;
use crate::prompt::Unusable;
use crate::replay_texts;
use crate::rows::Row;
use crate::sound::clip_of;
use crate::spoken::WordVocabulary;

/// A prompt and the row that it was made of.
pub(super) struct PromptedRow {
    /// The row's place among the rows of the step; it seeds the group's completions.
    pub(super) group: usize,
    /// The row's place in the data.
    pub(super) place: usize,
    pub(super) question: Arc<Question>,
    pub(super) prompt: Prompt,
    /// Where in its file the clip begins, in seconds.
    pub(super) audio_start: f64,
}

/// The prompts of a GRPO step.
pub(super) struct Loaded {
    pub(super) rows: Vec<PromptedRow>,
    /// Groups dispatched, and those excluded so far.
    pub(super) groups: GroupCounts,
    /// Rows that can't be used.
    pub(super) problems: Vec<DataProblem>,
    /// Prompts whose clip is longer than the model's audio window.
    pub(super) audio_truncated: u64,
    pub(super) seconds: f64,
}

impl Loaded {
    /// Adds the prompts of a further round of the same step.
    pub(super) fn add(&mut self, further: Loaded) {
        self.rows.extend(further.rows);
        self.groups.add(&further.groups);
        self.problems.extend(further.problems);
        self.audio_truncated += further.audio_truncated;
        self.seconds += further.seconds;
    }
}

/// Loads `asked` rows of `step`, counted from 0, of which `before` others were loaded before. Rows without a usable prompt
/// are excluded (DATA-4).
pub(super) async fn load(
    arm: &ArmContext,
    step: u64,
    asked: Vec<Row>,
    before: usize,
) -> Result<Loaded, StepError> {
    let (places, questions): (Vec<usize>, Vec<Arc<Question>>) =
        asked.into_iter().map(|row| (row.place, presented(row.question, &arm.config.prompt))).unzip();
    let most_tokens = arm.config.sampling.max_new_tokens;
    // Where a random window begins follows from the row's place in the step.
    let place = if before == 0 { vec![step] } else { vec![step, before as u64] };
    let Prompts { prompts, audio_truncated, seconds } =
        make_prompts(arm, &questions, most_tokens, place, |_| None, Heard::Clips).await?;
    let mut groups = GroupCounts { dispatched: questions.len() as u64, ..GroupCounts::default() };
    let (mut rows, mut problems) = (Vec::with_capacity(questions.len()), Vec::new());
    for (index, (question, prompt)) in questions.into_iter().zip(prompts).enumerate() {
        let (group, place) = (before + index, places[index]);
        match prompt {
            Ok(HeardPrompt { prompt, audio_start }) => {
                rows.push(PromptedRow { group, place, question, prompt, audio_start });
            }
            Err(unusable) => {
                groups.exclude(unusable.cause.name());
                let Unusable { cause, message } = &unusable;
                problems.push(arm.training.problem(step + 1, &question, *cause, message));
            }
        }
    }
    Ok(Loaded { rows, groups, problems, audio_truncated, seconds })
}

/// What a supervised step is to learn.
pub(super) enum Lesson {
    /// Completions of prompts.
    Targets(Vec<SftGroup>),
    /// The words of clips, to which the projector is fitted.
    Words(AlignBatch),
}

/// The rows of a supervised step.
pub(super) struct LoadedTargets {
    pub(super) lesson: Lesson,
    pub(super) groups: GroupCounts,
    /// Rows that can't be used.
    pub(super) problems: Vec<DataProblem>,
    /// Prompts whose clip is longer than the model's audio window.
    pub(super) audio_truncated: u64,
    pub(super) seconds: f64,
}

/// Loads the rows of a supervised `step`, counted from 0: the clips and words that the projector is fitted to, or prompts
/// and targets.
pub(super) async fn load_lesson(arm: &ArmContext, step: u64) -> Result<LoadedTargets, StepError> {
    match step.checked_sub(arm.config.align.steps) {
        Some(after) => load_targets(arm, step, after).await,
        None => load_words(arm, step).await,
    }
}

/// Loads clips and the words that are spoken in them.
async fn load_words(arm: &ArmContext, step: u64) -> Result<LoadedTargets, StepError> {
    let questions = questions(arm.rows.of_step(step, arm.config.align.rows_per_step));
    let heard = make_prompts(arm, &questions, 1, [step], |_| None, Heard::Clips).await?;
    let Prompts { prompts, audio_truncated, seconds } = heard;
    let mut groups = GroupCounts { dispatched: questions.len() as u64, ..GroupCounts::default() };
    let (mut clips, mut problems) = (Vec::with_capacity(questions.len()), Vec::new());
    for (question, prompt) in questions.iter().zip(prompts) {
        let heard = match prompt {
            Ok(heard) => heard,
            Err(unusable) => {
                groups.exclude(unusable.cause.name());
                problems.push(arm.training.problem(step + 1, question, unusable.cause, &unusable.message));
                continue;
            }
        };
        let spoken = arm.words.as_ref().map(|words| spoken_clips(arm, words, question, &heard));
        match spoken.filter(|spoken| !spoken.is_empty()) {
            Some(spoken) => {
                groups.trained += 1;
                clips.extend(spoken);
            }
            None => groups.exclude("no_words"),
        }
    }
    let vocabulary = arm.words.as_ref().map(|words| words.ids.clone()).unwrap_or_default();
    let lesson = Lesson::Words(AlignBatch { clips, vocabulary });
    Ok(LoadedTargets { lesson, groups, problems, audio_truncated, seconds })
}

/// The windows of a clip, each with the words from its beginning on; none if the row has no words.
fn spoken_clips(
    arm: &ArmContext,
    words: &WordVocabulary,
    question: &Question,
    heard: &HeardPrompt,
) -> Vec<SpokenClip> {
    let seconds = arm.processor.window_seconds().unwrap_or_default() as f64;
    let spoken = heard.prompt.clips.iter().enumerate().filter_map(|(window, clip)| {
        let words = words.words(question, heard.audio_start + window as f64 * seconds)?;
        Some(SpokenClip { clip: clip.clone(), words })
    });
    spoken.collect()
}

/// Loads the rows of a supervised `step`, of which `taught` were taught before, and draws a prompt style and targets for
/// each.
async fn load_targets(arm: &ArmContext, step: u64, taught: u64) -> Result<LoadedTargets, StepError> {
    let sft = &arm.config.sft;
    let questions = target_rows(arm, taught);
    let styles = if sft.styles.is_empty() { vec![arm.config.prompt.style] } else { sft.styles.clone() };
    let draw = |place: usize, what: u64| derive(arm.id.seed, Purpose::Target, &[step, place as u64, what]);
    // Draw 0 of a row is its style; its targets are draws 1, 2, ….
    let style_of = |place| styles[(draw(place, 0) % styles.len() as u64) as usize];
    // How long its target is shows below; here it has at least one token.
    let Prompts { prompts, audio_truncated, seconds } =
        make_prompts(arm, &questions, 1, [step], |place| sft.prompt_style(style_of(place)), Heard::Clips)
            .await?;
    let mut groups = GroupCounts { dispatched: questions.len() as u64, ..GroupCounts::default() };
    let (mut rows, mut problems) = (Vec::with_capacity(questions.len()), Vec::new());
    let mut leave_out = |groups: &mut GroupCounts, question: &Question, unusable: &Unusable| {
        groups.exclude(unusable.cause.name());
        problems.push(arm.training.problem(step + 1, question, unusable.cause, &unusable.message));
    };
    let worlds = arm.config.data.worlds();
    for (place, (question, prompt)) in questions.iter().zip(prompts).enumerate() {
        let prompt = match prompt {
            Ok(heard) => heard.prompt,
            Err(unusable) => {
                leave_out(&mut groups, question, &unusable);
                continue;
            }
        };
        let targets: Vec<Vec<i64>> = (1..=sft.targets_per_row as u64)
            .filter_map(|number| {
                scenarios::sft_target(question, sft.target, &worlds, style_of(place), draw(place, number))
            })
            .map(|target| target_ids(arm, &target))
            .collect();
        let longest = targets.iter().map(Vec::len).max();
        if let Some(unusable) =
            longest.and_then(|target| arm.prompter.context.problem(prompt.ids.len(), target))
        {
            leave_out(&mut groups, question, &unusable);
        } else if targets.is_empty() {
            groups.exclude("no_target");
        } else {
            groups.trained += 1;
            rows.push(SftGroup { prompt, targets });
        }
    }
    rows.extend(replay_texts::of_step(&arm.replay, sft.replay.share, sft.rows_per_step, taught));
    Ok(LoadedTargets { lesson: Lesson::Targets(rows), groups, problems, audio_truncated, seconds })
}

/// The rows of a supervised step, of which `taught` were taught before: those of the curriculum in its steps, then all
/// training rows.
fn target_rows(arm: &ArmContext, taught: u64) -> Vec<Arc<Question>> {
    let sft = &arm.config.sft;
    let curriculum = arm.curriculum_rows.as_ref().filter(|_| taught < sft.curriculum.steps);
    questions(curriculum.unwrap_or(&arm.rows).of_step(taught, sft.rows_per_step))
}

fn questions(rows: Vec<Row>) -> Vec<Arc<Question>> {
    rows.into_iter().map(|row| row.question).collect()
}

/// Token ids of a target, with the end token.
fn target_ids(arm: &ArmContext, target: &str) -> Vec<i64> {
    let mut ids = arm.processor.encode(target);
    ids.extend(arm.processor.eos_ids().first());
    ids
}

/// What is heard in the place of the clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The clips themselves; a silent one makes its row unusable.
    Clips,
    /// Something else of the same length.
    Instead(Sound),
    /// Nothing: the prompts have no clip.
    Nothing,
}

/// A prompt, and where in its file the clip begins, in seconds.
pub(crate) struct HeardPrompt {
    pub(crate) prompt: Prompt,
    pub(crate) audio_start: f64,
}

/// The prompts of a step's rows, in the order of the rows.
pub(crate) struct Prompts {
    /// In the order of the rows.
    pub(crate) prompts: Vec<Result<HeardPrompt, Unusable>>,
    /// Prompts whose clip is longer than the model's audio window.
    pub(crate) audio_truncated: u64,
    pub(crate) seconds: f64,
}

/// Loads the clips of rows and makes their prompts, each in the style that `style_of` returns for its place, or in
/// the arm's own style, and with room for a completion of `completion` tokens. A random window is drawn for `place` and
/// the row's place.
pub(crate) async fn make_prompts(
    arm: &ArmContext,
    rows: &[Arc<Question>],
    completion: usize,
    place: impl Into<Vec<u64>>,
    style_of: impl Fn(usize) -> Option<PromptStyle>,
    heard: Heard,
) -> Result<Prompts, StepError> {
    if heard == Heard::Nothing {
        return Ok(prompts_without_clips(arm, rows, completion));
    }
    let sound = if let Heard::Instead(sound) = heard { sound } else { Sound::Own };
    let mut place = place.into();
    let mut clip = |(row, question): (usize, &Arc<Question>)| {
        place.push(row as u64);
        let clip = clip_of(&arm.config, question, arm.id.seed, &place);
        place.pop();
        ClipRequest { sound, ..clip }
    };
    let clips = rows.iter().enumerate().map(&mut clip).collect();
    let loaded = arm.slots.loader.call(clips, LoaderMsg::Load).await?;
    let mut made = Prompts { prompts: Vec::new(), audio_truncated: 0, seconds: loaded.seconds };
    for (place, (row, clip)) in rows.iter().zip(loaded.clips).enumerate() {
        let audio_start = clip.as_ref().map_or(0.0, |clip| clip.start);
        if let Ok(clip) = &clip {
            arm.warn_of_clip(&row.audio_path, &clip.warnings);
        }
        let text = arm.user_text(row, style_of(place));
        let prompt = match clip {
            Ok(clip) if sound != Sound::Own => arm.prompter.prompt_of(&text, &clip, completion),
            clip => arm.prompter.prompt(row, &text, clip, completion),
        };
        if prompt.as_ref().is_ok_and(|prompt| prompt.clips.iter().any(|clip| clip.truncated)) {
            made.audio_truncated += 1;
            arm.warn_of_truncation(&row.audio_path);
        }
        made.prompts.push(prompt.map(|prompt| HeardPrompt { prompt, audio_start }));
    }
    Ok(made)
}

fn prompts_without_clips(arm: &ArmContext, rows: &[Arc<Question>], completion: usize) -> Prompts {
    let prompt = |row: &Arc<Question>| {
        let prompt = arm.prompter.prompt_with(&arm.user_text(row, None), &[], completion)?;
        Ok(HeardPrompt { prompt, audio_start: 0.0 })
    };
    Prompts { prompts: rows.iter().map(prompt).collect(), audio_truncated: 0, seconds: 0.0 }
}
