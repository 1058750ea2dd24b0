//! Evaluates a server with OpenAI's API in place of a policy.
//!
//! The questions are those of the passes, worded by the arm's `[prompt]` as for a policy; a clip is sent as a WAV file
//! (`question`). The answers are read, counted and recorded as those of a policy are (`record`), so that the report cannot
//! tell the difference. Each answered question is in the draft before the next event, so that nothing that was paid for is
//! asked again.
//!
//! - EVAL-3 a killed evaluation that is resumed records the same rows as one that was never interrupted, and asks only the
//!   questions without an answer: those that were in flight, and those whose request failed.
//! - EVAL-4 a question that the server cannot answer is left out, with its cause, and never counts as wrong.
//! - EVAL-5 an evaluation that cannot succeed ends soon: at once if the model takes no audio, and after some failures in a
//!   row otherwise.

use std::time::Instant;

use chat::{Chat, Failed, Settings};
use futures_util::{StreamExt, stream};
use records::{ArmId, Evaluation, RecordsError, RunDir};
use rewards::{FailureCause, ParserOptions};
use scenarios::{ArmConfig, Experiment, RowCause, ScenarioError, ServerConfig};
use tokio::sync::watch;

use crate::draft::{BatchPlace, Draft};
use crate::fetch::{FetchLimits, fetch_clips};
use crate::pass::{Ask, Pass, passes};
use crate::source::{Source, open_suites};
use crate::tallies::{Answered, Tallies};

use self::question::{Asking, Unasked};
use self::record::Record;

mod question;
mod record;

/// Failures in a row after which the evaluation ends: for all questions as long as none was answered, and for those that
/// failed in passing afterwards.
const FAILURES_IN_A_ROW: usize = 16;

/// Something to show while a server is evaluated.
#[derive(Debug)]
pub enum ServerEvent {
    /// Questions that are done, of all passes.
    Asked {
        /// Questions answered or left out so far, those of an interrupted evaluation included.
        done: usize,
        /// Questions of all passes.
        total: usize,
    },
    /// A suite was asked in one way; its row will be recorded with those of the other passes.
    PassDone(Box<Evaluation>),
    /// Something went wrong that does not end the evaluation.
    Warning(String),
}

/// How an evaluation of a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOutcome {
    /// All questions were asked, and the results are recorded.
    Done,
    /// It was interrupted and can be resumed.
    Interrupted,
}

/// Why a server could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting, a suite or the server can't be used.
    #[error("{0}")]
    Input(String),
    /// The evaluation ended early; what was answered is kept.
    #[error("{0}")]
    Failed(String),
    /// A file of the run directory could not be written.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The draft could not be written.
    #[error("{0}")]
    Draft(String),
}

impl From<ScenarioError> for ServerError {
    fn from(error: ScenarioError) -> Self {
        Self::Input(error.to_string())
    }
}

/// Evaluates the server of an experiment's only arm, and records the results in the run directory, which this process owns.
/// If the directory has what an interrupted evaluation was answered, that is not asked again. `show` gets what happens;
/// `stop` turns true when the evaluation is to end after the questions in flight.
///
/// Errors: [`ServerError`].
pub async fn evaluate_server(
    experiment: &Experiment,
    run_dir: &RunDir,
    show: &mut dyn FnMut(ServerEvent),
    stop: &watch::Receiver<bool>,
) -> Result<ServerOutcome, ServerError> {
    let (Some(arm), Some(&seed)) = (experiment.arms.first(), experiment.run.seeds.first()) else {
        return Err(ServerError::Input("the scenario has no arm or no seed".into()));
    };
    let Some(server) = &arm.eval.server else {
        return Err(ServerError::Input("the scenario names no server; set [eval.server]".into()));
    };
    let mut suites = open_suites(arm)?;
    if arm.data.fetch {
        let mut wanted: Vec<&mut Source> = suites.iter_mut().collect();
        fetch_clips(&mut wanted, arm.audio.fallback.as_deref(), FetchLimits::default(), stop).await;
    }
    let chat = Chat::new(settings(server)).map_err(|error| ServerError::Input(error.to_string()))?;
    chat.probe().await.map_err(|error| ServerError::Input(error.to_string()))?;
    let mut record = Record::begin(experiment, run_dir, ArmId::new(arm.name.clone(), seed))?;
    if record.is_done() {
        return Ok(ServerOutcome::Done);
    }
    let known = suites.iter().flat_map(Source::problems).collect();
    for warning in suites.iter().filter_map(Source::warning) {
        show(ServerEvent::Warning(warning));
    }
    record.problems(known)?;
    let mut evaluation = ServerEvaluation {
        asking: Asking { arm, server, chat: &chat, seed, parser: ParserOptions::default() },
        draft: Draft::open(&record.draft(), &identity(arm))
            .map_err(|error| ServerError::Draft(format!("{}: {error}", record.draft().display())))?,
        draft_path: record.draft(),
        show,
        stop,
        done: 0,
        total: 0,
        answered: 0,
        failures: Failures::default(),
    };
    let outcome = evaluation.all_passes(&suites).await;
    let draft = evaluation.draft;
    match outcome {
        Ok(Some(tallies)) => {
            record.finish(tallies)?;
            // The rows are recorded; a draft that stays behind is not read again.
            let _ = draft.remove();
            Ok(ServerOutcome::Done)
        }
        Ok(None) => {
            record.stopped()?;
            Ok(ServerOutcome::Interrupted)
        }
        Err(error) => {
            record.failed(&error.to_string())?;
            Err(error)
        }
    }
}

fn settings(server: &ServerConfig) -> Settings {
    Settings {
        servers: vec![server.url.clone()],
        model: server.model.clone(),
        api_key_env: server.api_key_env.clone(),
        concurrency: server.concurrency,
        timeout_seconds: server.timeout_seconds,
        read_timeout_seconds: server.timeout_seconds,
        retries: server.retries,
        ..Settings::default()
    }
}

/// The settings on which the answers depend. How fast and how patiently the server is asked is not among them.
fn identity(arm: &ArmConfig) -> String {
    let mut arm = arm.clone();
    if let Some(server) = &mut arm.eval.server {
        let ServerConfig { concurrency, timeout_seconds, retries, api_key_env, .. } = ServerConfig::default();
        *server = ServerConfig { concurrency, timeout_seconds, retries, api_key_env, ..server.clone() };
    }
    toml::to_string(&arm).unwrap_or_default()
}

/// An evaluation in progress.
struct ServerEvaluation<'a> {
    asking: Asking<'a>,
    draft: Draft,
    draft_path: std::path::PathBuf,
    show: &'a mut dyn FnMut(ServerEvent),
    stop: &'a watch::Receiver<bool>,
    /// Questions of all passes that are answered or left out.
    done: usize,
    total: usize,
    /// Questions that were answered, by this process or an earlier one.
    answered: u64,
    failures: Failures,
}

/// The requests that failed.
#[derive(Default)]
struct Failures {
    in_a_row: usize,
    /// The first one, in words.
    first: Option<String>,
}

impl ServerEvaluation<'_> {
    /// The counts of all passes; `None` if the evaluation was interrupted.
    async fn all_passes(&mut self, suites: &[Source]) -> Result<Option<Vec<Tallies>>, ServerError> {
        let arm = self.asking.arm;
        let passes: Vec<(Pass, Vec<Ask>)> = passes(&arm.eval, suites.len())
            .into_iter()
            .map(|pass| (pass, pass.asks(&suites[pass.suite].rows.questions, arm)))
            .collect();
        self.total = passes.iter().map(|(_, asks)| asks.len()).sum();
        let mut all = Vec::new();
        for (number, (pass, asks)) in passes.iter().enumerate() {
            let Some(tallies) = self.pass(number, *pass, asks, &suites[pass.suite]).await? else {
                return Ok(None);
            };
            (self.show)(ServerEvent::PassDone(Box::new(tallies.evaluation.clone())));
            all.push(tallies);
        }
        if self.answered > 0 {
            return Ok(Some(all));
        }
        let rows: usize = suites.iter().map(|suite| suite.rows.rows()).sum();
        let first = suites.iter().flat_map(Source::problems).map(|problem| problem.message).next();
        let first = self.failures.first.take().or(first).unwrap_or_default();
        Err(ServerError::Failed(format!("none of the {rows} questions could be asked; the first: {first}")))
    }

    /// Asks a suite in one way; `None` if the evaluation was interrupted.
    async fn pass(
        &mut self,
        number: usize,
        pass: Pass,
        asks: &[Ask],
        suite: &Source,
    ) -> Result<Option<Tallies>, ServerError> {
        let arm = self.asking.arm;
        let blank = || Tallies { evaluation: pass.blank(suite.name(), &arm.eval, 0), ..Tallies::default() };
        let mut counted: Vec<Option<Tallies>> = Vec::new();
        for batch in 0..asks.len() {
            counted.push(self.draft.take(BatchPlace { pass: number, batch }));
        }
        let known = counted.iter().flatten();
        self.answered += known.clone().map(|tallies| tallies.evaluation.overall.n).sum::<u64>();
        self.done += known.count();
        (self.show)(ServerEvent::Asked { done: self.done, total: self.total });
        let open: Vec<usize> = (0..asks.len()).filter(|place| counted[*place].is_none()).collect();
        let asking = self.asking.clone();
        let stop = self.stop;
        let not_stopped = |_: &usize| std::future::ready(!*stop.borrow());
        let ask = |place: usize| {
            let asking = &asking;
            async move { (place, asking.ask(pass, &asks[place]).await) }
        };
        let mut answers =
            stream::iter(open).take_while(not_stopped).map(ask).buffer_unordered(asking.server.concurrency);
        let mut last = Instant::now();
        while let Some((place, outcome)) = answers.next().await {
            let mut tallies = blank();
            match outcome {
                Ok(answer) => {
                    answer.count(&asks[place], pass, suite, &mut tallies);
                    // The times add up to the time of the whole evaluation, although questions are asked side by side.
                    tallies.evaluation.eval_seconds = last.elapsed().as_secs_f64();
                    last = Instant::now();
                    self.answered += tallies.evaluation.overall.n;
                    self.failures.in_a_row = 0;
                    self.keep(number, place, &tallies)?;
                }
                Err(Unasked::Row(unusable)) => {
                    leave_out(&asks[place], suite, unusable.cause, &unusable.message, &mut tallies);
                    self.keep(number, place, &tallies)?;
                }
                Err(Unasked::Server(failed)) => {
                    self.failed(&failed)?;
                    let message = failed.failure.to_string();
                    leave_out(&asks[place], suite, RowCause::ServerFailed, &message, &mut tallies);
                    let left_out = format!("question {}: {message}; it is left out", asks[place].question.id);
                    (self.show)(ServerEvent::Warning(left_out));
                }
                Err(Unasked::Panicked(message)) => return Err(ServerError::Failed(message)),
            }
            self.done += 1;
            counted[place] = Some(tallies);
            (self.show)(ServerEvent::Asked { done: self.done, total: self.total });
        }
        if counted.iter().any(Option::is_none) {
            return Ok(None);
        }
        let mut whole = blank();
        whole.evaluation.questions = suite.rows_in_file();
        whole.evaluation.unusable = suite.causes();
        counted.into_iter().flatten().for_each(|tallies| whole.merge(tallies));
        let samples = arm.eval.samples;
        for (place, rollout) in whole.rollouts.iter_mut().enumerate() {
            (rollout.group, rollout.index) = ((place / samples) as u64, (place % samples) as u64);
        }
        Ok(Some(whole))
    }

    /// Writes what was counted of a question to the draft. A failed request is not: it is asked again after a resume.
    fn keep(&mut self, pass: usize, batch: usize, tallies: &Tallies) -> Result<(), ServerError> {
        let kept = self.draft.add(BatchPlace { pass, batch }, tallies);
        kept.map_err(|error| ServerError::Draft(format!("{}: {error}", self.draft_path.display())))
    }

    /// Takes note of a failed request.
    ///
    /// Errors: it shows that further ones would be in vain (EVAL-5).
    fn failed(&mut self, failed: &Failed) -> Result<(), ServerError> {
        let message = failed.failure.to_string();
        let first = self.failures.first.get_or_insert_with(|| message.clone()).clone();
        if self.answered == 0 && failed.complaint.refuses_audio() {
            let model = &self.asking.server.model;
            return Err(ServerError::Failed(format!(
                "the model {model} takes no audio ({message}); serve one that does, such as Qwen2.5-Omni or Qwen2-Audio by \
                 vLLM, or name another with --server and --model"
            )));
        }
        let passing = failed.failure.cause.is_transient();
        if self.answered == 0 || passing {
            self.failures.in_a_row += 1;
        }
        let most = FAILURES_IN_A_ROW.max(2 * self.asking.server.concurrency);
        // A model that is not there, or a key that is not accepted, will not be there for the next question either.
        let settled = self.answered == 0 && !passing && is_about_all(failed);
        if self.failures.in_a_row < most && !settled {
            return Ok(());
        }
        Err(ServerError::Failed(match self.answered {
            0 => format!("no question could be asked; the first: {first}"),
            _ => format!(
                "the server failed {} times in a row, the last time with {message}",
                self.failures.in_a_row
            ),
        }))
    }
}

/// Whether a refusal is about the request's settings rather than the question.
fn is_about_all(failed: &Failed) -> bool {
    failed.failure.cause == FailureCause::Http4xx
        && (matches!(failed.complaint.status, Some(401 | 403 | 404))
            || failed.complaint.is_about("temperature"))
}

/// Counts a question that is not asked. With several orders of its choices it is counted once.
fn leave_out(ask: &Ask, suite: &Source, cause: RowCause, message: &str, tallies: &mut Tallies) {
    if !ask.first {
        return;
    }
    let evaluation = &mut tallies.evaluation;
    evaluation.unreadable_clips += u64::from(cause == RowCause::AudioUnreadable);
    *evaluation.unusable.entry(cause).or_default() += 1;
    tallies.problems.push(suite.problem(0, &ask.question, cause, message));
}

impl question::Answers {
    /// Counts the answers to a question.
    fn count(self, ask: &Ask, pass: Pass, suite: &Source, tallies: &mut Tallies) {
        tallies.evaluation.truncated_clips += u64::from(self.clip_was_cut);
        let rollout = |item| records::Rollout {
            suite: suite.suite.clone(),
            control: pass.control,
            audio_start: self.audio_start,
            ..records::Rollout::of(records::Phase::Eval, 0, item)
        };
        let rollouts = self.items.iter().map(rollout).collect();
        tallies.count(Answered { items: self.items, rollouts, first: ask.first });
    }
}
