//! What all actors of an arm share: its settings, its data, the slots of its actors, and where its events go.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Instant;

use evaluation::Source;
use model::{Processor, SamplingParams};
use records::{ArmDir, ArmFile, ArmId, DataProblem, json_lines};
use rewards::{ParserOptions, Question};
use runtime::RunEvent;
use scenarios::{ArmConfig, PromptStyle};
use workers::{Lines, RecorderMsg, SftGroup};

use crate::alarms::Alarms;
use crate::data::DataProblems;
use crate::error::RecordingError;
use crate::handle::RunHandle;
use crate::live::LiveArm;
use crate::notices::Notices;
use crate::pass_rates::PassRates;
use crate::prompt::Prompter;
use crate::rows::Rows;
use crate::slots::Slots;
use crate::spoken::WordVocabulary;
use crate::utilisation::Utilisation;

/// The clips with something odd about them, so that each is counted once, although every epoch hears it again.
#[derive(Default)]
pub(crate) struct ClipWarnings {
    seen: Mutex<HashMap<&'static str, HashSet<PathBuf>>>,
}

impl ClipWarnings {
    /// The number of clips with this kind of warning if `clip` is a new one of them, else 0.
    fn count(&self, clip: &Path, kind: &'static str) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let clips = seen.entry(kind).or_default();
        if clips.insert(clip.to_owned()) { clips.len() as u64 } else { 0 }
    }
}

/// Sampling parameters of training completions.
pub(crate) fn sampling_params(config: &ArmConfig) -> SamplingParams {
    let sampling = &config.sampling;
    SamplingParams {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        max_new_tokens: sampling.max_new_tokens,
        max_think_tokens: sampling.max_think_tokens,
        forced_no_think: sampling.forced_no_think,
    }
}

/// What all actors of an arm share.
pub(crate) struct ArmContext {
    pub(crate) id: ArmId,
    pub(crate) config: ArmConfig,
    /// Where its records are.
    pub(crate) dir: ArmDir,
    /// The training questions, in the order of the data.
    pub(crate) rows: Rows,
    /// How often those asked so far were answered correctly.
    pub(crate) pass_rates: PassRates,
    /// The training questions of the first steps of a curriculum (`sft.curriculum`).
    pub(crate) curriculum_rows: Option<Rows>,
    /// The words of the training rows, in arms that fit the projector first (`[align]`).
    pub(crate) words: Option<WordVocabulary>,
    /// What the policy is taught again beside the rows (`[sft.replay]`).
    pub(crate) replay: Vec<SftGroup>,
    /// Where the training questions come from; without rows for an arm that is not trained.
    pub(crate) training: Source,
    pub(crate) suites: Vec<Source>,
    /// The rows that `data-problems.jsonl` lists.
    pub(crate) problems: DataProblems,
    /// Text to tokens and back.
    pub(crate) processor: Processor,
    /// Makes prompts of rows.
    pub(crate) prompter: Prompter,
    /// How completions are parsed.
    pub(crate) parser: ParserOptions,
    /// Whether the judge is asked even if no reward needs its verdicts. Free judges are, so that all arms can
    /// be compared by them.
    pub(crate) always_judge: bool,
    /// Whether the warning about a truncated clip was given.
    pub(crate) truncation_warned: Once,
    pub(crate) clip_warnings: ClipWarnings,
    pub(crate) slots: Slots,
    /// What happened to its servers since the last step boundary.
    pub(crate) notices: Notices,
    /// How long what samples and what trains are idle.
    pub(crate) utilisation: Utilisation,
    pub(crate) live: Arc<LiveArm>,
    /// The conditions that are evaluated after every step.
    pub(crate) alarms: Alarms,
    /// The run, in which an alarm may fork the arm.
    pub(crate) run: RunHandle,
    pub(crate) started: Instant,
}

impl ArmContext {
    /// The user's turn of a prompt, in `style` or in the arm's own style.
    pub(crate) fn user_text(&self, question: &Question, style: Option<PromptStyle>) -> String {
        let prompt = &self.config.prompt;
        style.map_or_else(|| prompt.render(question), |style| prompt.render_in(style, question))
    }

    /// Sampling parameters of evaluated completions: the whole distribution, at the evaluation's temperature.
    pub(crate) fn evaluation_params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.config.eval.temperature,
            top_p: 1.0,
            top_k: 0,
            forced_no_think: 0.0,
            ..sampling_params(&self.config)
        }
    }

    /// Sends a warning to the log and to the watchers of the run.
    pub(crate) fn warn(&self, message: &str) {
        tracing::warn!(arm = %self.id.arm, seed = self.id.seed, "{message}");
        self.emit(RunEvent::Warning { id: self.id.clone(), message: message.to_owned() });
    }

    /// Warns of something that may recur in every step: only the 1st, 10th, 100th, … time, with the count.
    pub(crate) fn warn_repeated(&self, times: u64, message: &str) {
        match times {
            0 | 1 => self.warn(message),
            _ if times == 10u64.pow(times.ilog10()) => {
                self.warn(&format!("{message} (time {times}; the next warning is at time {})", 10 * times));
            }
            _ => {}
        }
    }

    /// Warns, once per arm, that a clip is longer than the model's audio window.
    pub(crate) fn warn_of_truncation(&self, clip: &Path) {
        self.truncation_warned.call_once(|| {
            let seconds = self.processor.window_seconds().unwrap_or_default();
            self.warn(&format!(
                "{}: longer than this policy's audio window of {seconds} s, and cut there; `audio_truncated` in \
                 metrics.jsonl counts such clips",
                clip.display()
            ));
        });
    }

    /// Warns of what was odd about a clip that was heard all the same: of the 1st, 10th, 100th, … clip of each kind.
    pub(crate) fn warn_of_clip(&self, clip: &Path, warnings: &[audio::Warning]) {
        for warning in warnings {
            let times = self.clip_warnings.count(clip, warning.kind);
            if times > 0 {
                self.warn_repeated(times, &format!("{}: {}", clip.display(), warning.text));
            }
        }
    }

    /// The lines of `data-problems.jsonl` for unusable rows that it does not list yet, with a warning for the first of
    /// each cause (DATA-4).
    pub(crate) fn list_problems(&self, found: Vec<DataProblem>) -> Vec<String> {
        let new = self.problems.add(found);
        for (problem, times) in &new {
            let message =
                format!("{}; the row is left out, and listed in data-problems.jsonl", problem.message);
            self.warn_repeated(*times, &message);
        }
        json_lines(new.into_iter().map(|(problem, _)| problem))
    }

    /// Sends an event to the watchers of the run.
    pub(crate) fn emit(&self, event: RunEvent) {
        self.live.watchers.tell(event);
    }

    /// Appends rows to files of the arm; a file without new rows is left alone.
    pub(crate) async fn append(&self, files: &[(ArmFile, Vec<String>)]) -> Result<(), RecordingError> {
        let folder = self.id.folder();
        let lines = files
            .iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(file, lines)| Lines { file: folder.join(file.name()), lines: lines.clone() })
            .collect();
        Ok(self.slots.recorder.call(lines, RecorderMsg::Append).await??)
    }
}
