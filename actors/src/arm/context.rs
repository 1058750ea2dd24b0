//! What all actors of an arm know, and how they reach each other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Instant;

use model::{Processor, SamplingParams};
use rewards::{ParserOptions, Question};
use scenarios::{ArmConfig, PromptStyle};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::conductor::rows::Rows;
use crate::evaluator::EvaluatorMsg;
use crate::event::RunEvent;
use crate::judge::JudgeMsg;
use crate::live::LiveArm;
use crate::loader::LoaderMsg;
use crate::optimizer::OptimizerMsg;
use crate::progress::Ended;
use crate::recorder::{Lines, RecorderMsg};
use crate::sampler::SamplerMsg;
use crate::shaper::ShaperMsg;
use crate::slot::Slot;

/// The slots of an arm: how its actors reach each other. Those of the rewards change while it runs, see
/// [`Conditions`](crate::live::Conditions).
#[derive(Clone)]
#[expect(missing_docs, reason = "each is the slot of the actor of that name")]
pub struct Slots {
    pub loader: Slot<LoaderMsg>,
    pub sampler: Slot<SamplerMsg>,
    pub judge: Slot<JudgeMsg>,
    pub shaper: Slot<ShaperMsg>,
    pub optimizer: Slot<OptimizerMsg>,
    pub evaluator: Slot<EvaluatorMsg>,
    pub recorder: Slot<RecorderMsg>,
}

/// A set of held-out questions.
pub struct Suite {
    /// What tables call it.
    pub name: String,
    /// The questions, in order.
    pub questions: Vec<Arc<Question>>,
}

/// What all actors of an arm know.
pub struct ArmContext {
    /// Its name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Its settings.
    pub config: ArmConfig,
    /// Steps it will take.
    pub total_steps: u64,
    /// Its folder.
    pub dir: PathBuf,
    /// The same, relative to the run directory.
    pub folder: PathBuf,
    /// What it trains on.
    pub rows: Rows,
    /// What the first steps of a curriculum train on.
    pub first_rows: Option<Rows>,
    /// What it is evaluated on.
    pub suites: Vec<Suite>,
    /// Text to tokens and back.
    pub processor: Processor,
    /// How completions are read.
    pub parser: ParserOptions,
    /// Whether the judge is asked though no reward needs it.
    pub judging_is_free: bool,
    /// That a clip is longer than the model hears has been said.
    pub truncation_warned: Once,
    /// How to reach the actors.
    pub slots: Slots,
    /// What can be seen and asked of it from outside.
    pub(crate) live: Arc<LiveArm>,
    /// When it began.
    pub started: Instant,
}

impl ArmContext {
    /// The user's turn for a question, in `style` or in the arm's own.
    pub fn user_text(&self, question: &Question, style: Option<PromptStyle>) -> String {
        style.map_or_else(|| self.config.prompt.render(question), |style| style.render(question))
    }

    /// How training completions are drawn.
    pub fn sampling_params(&self) -> SamplingParams {
        let sampling = &self.config.sampling;
        SamplingParams {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            max_new_tokens: sampling.max_new_tokens,
        }
    }

    /// How evaluated completions are drawn: from the whole distribution, at the evaluation's temperature.
    pub fn evaluation_params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.config.eval.temperature,
            top_p: 1.0,
            top_k: 0,
            ..self.sampling_params()
        }
    }

    /// The prompt styles that supervised targets are asked in.
    pub fn target_styles(&self) -> Vec<PromptStyle> {
        let styles = &self.config.sft.styles;
        if styles.is_empty() { vec![self.config.prompt.style] } else { styles.clone() }
    }

    /// A supervised target drawn for a row; `None` if the data has none.
    pub fn sft_target(&self, row: &Question, style: PromptStyle, seed: u64) -> Option<String> {
        scenarios::sft_target(row, self.config.sft.target, &self.config.data.soundscapes, style, seed)
    }

    /// The rows of a supervised step: those of the curriculum as long as it lasts.
    pub fn sft_rows(&self, step: u64) -> Vec<Arc<Question>> {
        let first = self.first_rows.as_ref().filter(|_| step < self.config.sft.curriculum.steps);
        first.unwrap_or(&self.rows).of_step(step, self.config.sft.rows_per_step)
    }

    /// Token ids of a target, with the end token.
    pub fn target_ids(&self, target: &str) -> Vec<i64> {
        let mut ids = self.processor.encode(target);
        ids.extend(self.processor.eos_ids().first());
        ids
    }

    /// Says something a person should know.
    pub fn warn(&self, message: &str) {
        tracing::warn!(arm = %self.name, seed = self.seed, "{message}");
        self.tell(RunEvent::Warning { arm: self.name.clone(), seed: self.seed, message: message.to_owned() });
    }

    /// Says what may be so at every step: the first, tenth, hundredth, … time, and from the tenth on how often it was.
    pub fn warn_again(&self, times: u64, message: &str) {
        match times {
            0 | 1 => self.warn(message),
            _ if times == 10u64.pow(times.ilog10()) => {
                self.warn(&format!("{message} (time {times}; the next to be told is {})", 10 * times));
            }
            _ => {}
        }
    }

    /// Says, the first time only, that a clip is longer than the model hears.
    pub fn warn_of_truncation(&self, clip: &Path) {
        self.truncation_warned.call_once(|| {
            let seconds = self.processor.window_seconds().unwrap_or_default();
            self.warn(&format!(
                "{}: longer than the {seconds} s that this policy hears, and cut there; `audio_truncated` in metrics.jsonl \
                 counts such clips",
                clip.display()
            ));
        });
    }

    /// Says that an actor failed and another takes its place.
    pub(super) fn restarted(&self, actor: &str, restarts: u64, error: &str) {
        self.warn(&format!("`{actor}` failed and is started again (restart {restarts}): {error}"));
        self.tell(RunEvent::ActorRestarted {
            arm: self.name.clone(),
            seed: self.seed,
            actor: actor.to_owned(),
            restarts,
            error: error.to_owned(),
        });
    }

    /// Tells whoever watches the run; nobody has to.
    pub fn tell(&self, event: RunEvent) {
        self.live.watchers.tell(event);
    }

    /// Appends lines to files of the arm.
    ///
    /// # Errors
    /// One line: what could not be written, and what to do.
    pub async fn record(&self, files: &[(&str, Vec<String>)]) -> Result<(), String> {
        let lines = files
            .iter()
            .map(|(file, lines)| Lines { file: self.folder.join(file), lines: lines.clone() })
            .collect();
        self.slots.recorder.call(lines, RecorderMsg::Append).await.map_err(|error| error.to_string())?
    }
}

/// JSON, a value a line.
pub fn json_lines<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values
        .into_iter()
        .map(|value| {
            serde_json::to_string(&value).expect("records have string keys and no failing serializer")
        })
        .collect()
}

/// A record as a JSON value.
pub fn json_value<T: Serialize>(record: &T) -> serde_json::Value {
    serde_json::to_value(record).expect("records have string keys and no failing serializer")
}

/// Messages to an arm.
pub enum ArmMsg {
    /// Its steps have ended.
    StepsEnded {
        /// How.
        ended: Box<Ended>,
    },
    /// Give those actors another chance that are out of service.
    Revive {
        /// Told when they serve again, or can't.
        done: oneshot::Sender<()>,
    },
}
