//! The cards that show completions, each with the scores of its reward components.

use records::Phase;
use rewards::Mode;
use serde::Serialize;

use crate::completions::{Pick, pick};
use crate::plots::style;
use crate::recorded::{RecordedArm, RecordedRun};
use crate::worked::Worked;

/// Number of completions shown per arm, at most.
const SHOWN: usize = 12;

/// The completions that are shown of one arm.
#[derive(Serialize)]
pub(super) struct ArmCompletions {
    arm: String,
    style: String,
    cards: Vec<Card>,
}

/// One completion with its question, answer and reward components.
#[derive(Serialize)]
pub(super) struct Card {
    origin: String,
    difficulty: Option<String>,
    kind: Option<String>,
    question: String,
    choices: Vec<Choice>,
    audio: Option<String>,
    thinks: bool,
    think: Option<String>,
    answer: Option<String>,
    /// The completion's text, if it is malformed or truncated and its parsed parts do not show all of it.
    verbatim: Option<String>,
    correct: bool,
    well_formed: bool,
    truncated: bool,
    tokens: Option<u64>,
    components: Vec<Bar>,
    reward: Option<f64>,
    advantage: Option<f64>,
}

/// One question, and what every arm answered.
#[derive(Serialize)]
pub(super) struct WorkedCard {
    question: String,
    choices: Vec<Choice>,
    difficulty: Option<String>,
    audio: Option<String>,
    seed: u64,
    answers: Vec<WorkedAnswer>,
}

/// What one arm answered.
#[derive(Serialize)]
pub(super) struct WorkedAnswer {
    arm: String,
    style: String,
    think: Option<String>,
    answer: Option<String>,
    correct: bool,
    consistency: Option<f64>,
    quality: Option<f64>,
    tokens: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Choice {
    text: String,
    gold: bool,
    given: bool,
}

/// A reward component: its value, and the start and length of its bar in percent of the track.
#[derive(Serialize)]
pub(super) struct Bar {
    name: String,
    value: Option<f64>,
    start: f64,
    length: f64,
    negative: bool,
    /// Whether the arm's formula uses the component.
    used: bool,
}

impl ArmCompletions {
    pub(super) fn of(at: usize, arm: &RecordedArm) -> Self {
        let digests: Vec<_> = arm.seeds.iter().map(|seed| (seed.seed, &seed.rollouts)).collect();
        let picks = pick(&digests, SHOWN);
        let values = picks.iter().flat_map(|pick| pick.rollout.components.values().flatten().copied());
        let (low, high) =
            values.fold((0.0f64, 1.0f64), |(low, high), value| (low.min(value), high.max(value)));
        let cards = picks.iter().map(|pick| Card::of(pick, arm, (low, high))).collect();
        Self { arm: arm.name.clone(), style: style(at), cards }
    }
}

impl WorkedCard {
    pub(super) fn of(worked: &Worked, run: &RecordedRun) -> Self {
        let first = worked.completions.first().map(|(_, rollout)| rollout);
        let gold = first.map_or("", |rollout| &rollout.answer_gold);
        let choice = |text: &String| Choice { text: text.clone(), gold: same(text, gold), given: false };
        let answers = worked.completions.iter().map(|(at, rollout)| WorkedAnswer {
            arm: run.arms[*at].name.clone(),
            style: style(*at),
            think: rollout.think.clone().filter(|think| !think.trim().is_empty()),
            // What is malformed is shown whole.
            answer: if rollout.well_formed {
                rollout.answer.clone()
            } else {
                Some(rollout.completion.clone())
            },
            correct: rollout.correct,
            consistency: rollout.consistency,
            quality: rollout.think_quality,
            tokens: rollout.tokens,
        });
        Self {
            question: first.map(|rollout| rollout.question.clone()).unwrap_or_default(),
            choices: first.map(|rollout| rollout.choices.iter().map(choice).collect()).unwrap_or_default(),
            difficulty: first.and_then(|rollout| Some(rollout.difficulty?.name().to_owned())),
            audio: first.and_then(|rollout| Some(rollout.audio_path.as_ref()?.display().to_string())),
            seed: worked.seed,
            answers: answers.collect(),
        }
    }
}

/// Whether two texts are the same choice.
fn same(a: &str, b: &str) -> bool {
    a.trim().eq_ignore_ascii_case(b.trim())
}

impl Card {
    fn of(pick: &Pick<'_>, arm: &RecordedArm, (low, high): (f64, f64)) -> Self {
        let rollout = pick.rollout;
        let place = |value: f64| (value - low) / (high - low) * 100.0;
        let bar = |(name, value): (&String, &Option<f64>)| {
            let (start, end) = (place(0.0), place(value.unwrap_or(0.0)));
            Bar {
                name: name.clone(),
                value: *value,
                start: start.min(end),
                length: (end - start).abs(),
                negative: value.is_some_and(|value| value < 0.0),
                used: arm.used.is_empty() || arm.used.contains(name),
            }
        };
        let given = rollout.answer.as_deref();
        let choice = |text: &String| Choice {
            text: text.clone(),
            gold: same(text, &rollout.answer_gold),
            given: given.is_some_and(|given| same(text, given)),
        };
        let phase = match rollout.phase {
            Phase::Train => "training",
            Phase::Eval => "evaluation",
        };
        Self {
            origin: format!("{phase}, step {}, seed {}", rollout.step, pick.seed),
            difficulty: rollout.difficulty.map(|difficulty| difficulty.name().to_owned()),
            kind: rollout.kind.clone(),
            question: rollout.question.clone(),
            choices: rollout.choices.iter().map(choice).collect(),
            audio: rollout.audio_path.as_ref().map(|path| path.display().to_string()),
            thinks: rollout.mode == Some(Mode::Think),
            think: rollout.think.clone().filter(|think| !think.trim().is_empty()),
            answer: rollout.answer.clone(),
            verbatim: (!rollout.well_formed || rollout.truncated).then(|| rollout.completion.clone()),
            correct: rollout.correct,
            well_formed: rollout.well_formed,
            truncated: rollout.truncated,
            tokens: rollout.tokens,
            components: rollout.components.iter().map(bar).collect(),
            reward: rollout.reward,
            advantage: rollout.advantage,
        }
    }
}
