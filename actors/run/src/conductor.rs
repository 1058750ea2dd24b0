//! The conductor: takes an arm's steps by calling the other actors.
//!
//! [`training_step`] is a GRPO step from its rows to its record, [`supervised_step`] likewise for supervised lessons; each
//! call in them is a file below `conductor/`. The rest of this file decides when the next step, evaluation
//! or checkpoint is due.
//!
//! - `CONDUCT-1` every dispatched group is either trained on or excluded with a reason; the counts add up.
//! - `CONDUCT-2` the completions of step `s` are sampled from weights no older than version `s − max_staleness`. With 0
//!   all is synchronous, and a run on the CPU is reproducible bit for bit.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{Action, ArmState, ConditionsRecord, GroupCounts, Health, KeptVerdict, Progress};
use scenarios::{LimitAction, Method};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use traces::span;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use workers::WorkerError;

use self::boundary::{Boundary, can_be_helped};
use self::failures::{FailureWindows, StepFailures, check_clips, check_rows};
use self::halt::{Halt, Stops};
use self::health::{Signs, nan_verdict, verdict, verdict_at_end};
use self::load::load_lesson;
use self::position::Position;
use self::recheck::{Rechecked, recheck};
use self::record::{TrainedStep, TrainedTargets, record, record_targets};
use self::sample::{Sampled, sample};
use self::shape::{measure_kl, shape};
use self::train::{learn, train};
use self::turn::{PendingStep, PendingSteps, StepStart, Turn};
use crate::context::ArmContext;
use crate::error::{EvaluationError, StepError};
use crate::live::Conditions;
use crate::messages::{ArmMsg, ConductorMsg, EvaluateQuery, EvaluatorMsg, Recording, StepsEnded};

mod alarms;
mod boundary;
mod degeneracy;
mod failures;
mod generate;
mod grade;
mod halt;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod judge;
pub(crate) mod judge_clips;
pub(crate) mod load;
mod notes;
mod position;
mod recheck;
mod record;
mod sample;
mod score;
mod select;
mod shape;
mod train;
mod turn;
mod versions;

/// The name in the journal for what happens to servers.
const SERVERS: &str = "sampler";

/// Takes GRPO step `step`, counted from 0, under `conditions`.
async fn training_step(
    arm: Arc<ArmContext>,
    step: u64,
    conditions: Arc<Conditions>,
    turn: Turn,
) -> Result<StepTaken, StepError> {
    let sampled = sample(&arm, step, &conditions).instrument(span!("sample")).await?;
    let Sampled { loaded, generated, judged, scores, extra_rounds } = sampled;
    Span::current().record("policy_version", generated.policy_version);
    let sampled_kl = measure_kl(&arm, &conditions, &loaded, &generated, &judged.batch.items).await?;
    let items = &judged.batch.items;
    let shaping = shape(&arm, step, &conditions, items, &scores, sampled_kl.as_ref());
    let (shaped, weights) = shaping.instrument(span!("shape")).await?;
    arm.live.keep_batch(judged.batch.clone());
    // Up to `max_staleness` later steps come this far while the steps before them are trained on.
    let start = turn.wait().instrument(span!("wait for turn")).await?;
    let training = train(&arm, &conditions, &loaded, &generated, items, &shaped, sampled_kl.as_ref());
    let (report, groups) = training.instrument(span!("train")).await?;
    let step = step + 1;
    let Rechecked { kept, agreement, tally: recheck_tally } =
        recheck(&arm, step, start.verdicts.clone(), &judged, &loaded).await;
    let most_tokens = arm.config.sampling.max_new_tokens;
    let signs = Signs::of_completions(&generated, &judged.batch.items, &shaped, report.as_ref(), most_tokens);
    let health = health::after(&start.health, &signs, &arm.config.limits);
    let trained = TrainedStep {
        step,
        conditions,
        loaded,
        generated,
        judged,
        scores,
        extra_rounds,
        shaped,
        sampled_kl,
        weights,
        report,
        groups,
        signs,
        health,
        start,
        judge_agreement: agreement,
        recheck_tally,
    };
    let row = record(&arm, &trained).instrument(span!("record")).await?;
    remember_pass_rates(&arm, &trained);
    Ok(StepTaken {
        failures: Some(failures_of(&trained)),
        died: verdict(&trained.health, &trained.signs, &arm.config.limits),
        groups: trained.groups,
        health: trained.health,
        row,
        kept,
    })
}

/// Keeps how often each question of the step was answered correctly, if that decides what later steps ask.
fn remember_pass_rates(arm: &ArmContext, trained: &TrainedStep) {
    if !arm.config.selection.uses_pass_rates() {
        return;
    }
    let groups = trained.judged.batch.items.chunks(arm.config.sampling.group_size);
    for (row, items) in trained.loaded.rows.iter().zip(groups) {
        let right = items.iter().filter(|item| item.readings.strict).count();
        arm.pass_rates.add(trained.step, row.place, right as f64 / items.len() as f64);
    }
}

/// Takes supervised step `step`, counted from 0.
async fn supervised_step(arm: Arc<ArmContext>, step: u64, turn: Turn) -> Result<StepTaken, StepError> {
    let loaded = load_lesson(&arm, step).instrument(span!("load")).await?;
    let start = turn.wait().instrument(span!("wait for turn")).await?;
    let learning = learn(&arm, &loaded.lesson, loaded.groups.clone());
    let (report, groups) = learning.instrument(span!("train")).await?;
    let signs = Signs::of_report(report.as_ref());
    let health = health::after(&start.health, &signs, &arm.config.limits);
    let trained = TrainedTargets { step: step + 1, loaded, report, groups, signs, health, start };
    let row = record_targets(&arm, &trained).instrument(span!("record")).await?;
    Ok(StepTaken {
        failures: None,
        died: verdict(&trained.health, &trained.signs, &arm.config.limits),
        groups: trained.groups,
        health: trained.health,
        row,
        kept: Vec::new(),
    })
}

/// A step within its span, which says how it failed.
async fn traced(
    span: Span,
    step: impl Future<Output = Result<StepTaken, StepError>>,
) -> Result<StepTaken, StepError> {
    let taken = step.instrument(span.clone()).await;
    if let Err(error) = &taken {
        span.record("otel.status_code", "ERROR").record("otel.status_description", error.to_string());
    }
    taken
}

/// What the conductor needs to know of a step that was taken.
struct StepTaken {
    groups: GroupCounts,
    /// The health of the policy after the step.
    health: Health,
    /// Why the policy counts as dead, if it does.
    died: Option<String>,
    /// What failed in this step; none in a supervised step.
    failures: Option<StepFailures>,
    /// Its row of metrics, if the arm has alarms.
    row: Option<Value>,
    /// Completions whose verdicts are kept from now on.
    kept: Vec<KeptVerdict>,
}

fn failures_of(trained: &TrainedStep) -> StepFailures {
    let TrainedStep { judged, scores, shaped, .. } = trained;
    StepFailures {
        completions: judged.batch.items.len() as u64,
        without_reward: shaped.rewards.iter().filter(|reward| reward.is_none()).count() as u64,
        missing: scores.missing.clone(),
        verdicts: judged.tally.requests,
        verdicts_failed: judged.tally.failed(),
        ratios: trained.report.as_ref().and_then(|report| report.ratios),
    }
}

/// What a conductor is made of.
pub(crate) struct ConductorArgs {
    pub(crate) arm: Arc<ArmContext>,
    /// The progress it starts from: zero, or that of a checkpoint.
    pub(crate) progress: Progress,
    /// Turns true when the run is to stop.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) supervisor: ActorRef<ArmMsg>,
}

pub(crate) struct Conductor;

impl Actor for Conductor {
    type Msg = ConductorMsg;
    type State = ConductorArgs;
    type Arguments = ConductorArgs;

    async fn pre_start(
        &self,
        _: ActorRef<ConductorMsg>,
        args: ConductorArgs,
    ) -> Result<ConductorArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(
        &self,
        _: ActorRef<ConductorMsg>,
        message: ConductorMsg,
        args: &mut ConductorArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConductorMsg::TakeSteps => {
                let ended = Box::new(StepLoop::new(args).run().await);
                // If the supervisor has ended, nobody needs the result.
                let _ = args.supervisor.cast(ArmMsg::StepsEnded { ended });
            }
        }
        Ok(())
    }
}

/// The loop over an arm's steps.
struct StepLoop {
    arm: Arc<ArmContext>,
    supervisor: ActorRef<ArmMsg>,
    position: Position,
    stops: Stops,
    boundary: Boundary,
    failures: FailureWindows,
    pending: PendingSteps<StepTaken>,
    /// Webhooks of alarms that are under way.
    webhooks: JoinSet<()>,
    /// Whether the alarms and the checkpoint of the newest step are yet to come, because its evaluation failed.
    unsettled: bool,
}

impl StepLoop {
    fn new(args: &ConductorArgs) -> Self {
        let mut progress = args.progress.clone();
        // A resumed arm has another chance, but keeps its streaks (HEALTH-2).
        progress.health.died = None;
        if args.arm.config.fork.as_ref().is_some_and(|fork| fork.step == progress.step) {
            // What an alarm had yet to do when the arm was copied is done in the arm that was copied.
            progress.alarms.due.clear();
        }
        StepLoop {
            position: Position::new(args.arm.clone(), progress),
            stops: Stops { run: args.stop.clone(), arm: args.arm.live.stop_switch() },
            arm: args.arm.clone(),
            supervisor: args.supervisor.clone(),
            boundary: Boundary::default(),
            failures: FailureWindows::default(),
            pending: PendingSteps::default(),
            webhooks: JoinSet::new(),
            unsettled: false,
        }
    }

    async fn run(mut self) -> StepsEnded {
        let state = match self.take_steps().await {
            Ok(()) => ArmState::Done,
            Err(halt) => {
                // Whatever the reason, what was learned so far is kept.
                if let Err(unwritten) = self.write_checkpoint().await {
                    tracing::warn!(arm = %self.arm.id, "no checkpoint at the end: {unwritten}");
                }
                match halt {
                    Halt::Stopped => ArmState::Stopped,
                    Halt::NeedsHelp(reason) | Halt::Failed(reason) => ArmState::Failed { reason },
                }
            }
        };
        if let Err(Halt::Failed(unwritten)) = self.journal_notices().await {
            tracing::warn!(arm = %self.arm.id, "the journal lacks what happened to the servers: {unwritten}");
        }
        self.end_alarms().await;
        let state = match (state, self.position.finish_pruning().await) {
            (ArmState::Done, Err(error)) => ArmState::Failed { reason: error.to_string() },
            (state, _) => state,
        };
        let checkpoint = self.position.checkpoint.filter(|folder| folder.is_dir());
        StepsEnded { state, progress: self.position.progress, checkpoint }
    }

    async fn take_steps(&mut self) -> Result<(), Halt> {
        let mut done = self.evaluate_if_due().await;
        if self.arm.config.method == Method::None {
            return done;
        }
        loop {
            match done {
                Err(Halt::NeedsHelp(reason)) if can_be_helped(&self.arm) => {
                    // The pending steps were dispatched under conditions that do not work.
                    self.pending.abort();
                    self.arm.live.retake_from(self.position.progress.step + 1).await?;
                    self.journal_notices().await?;
                    self.boundary.pause_for_help(&self.arm, reason).await?;
                }
                done => done?,
            }
            self.make_forks().await?;
            done = match self.evaluation_is_due() {
                // It failed, and was waited for.
                true => self.finish_step_again().await,
                false if self.position.progress.step < self.arm.live.last_step() => self.next_step().await,
                false => break,
            };
        }
        self.journal_notices().await?;
        self.raise_alarms().await?;
        self.position.progress.alarms.due.clear();
        if self.position.progress.step < self.arm.config.steps {
            // A replay ends where the recorded arm did.
            return Err(Halt::Stopped);
        }
        let progress = &self.position.progress;
        let died = verdict_at_end(&progress.health, progress.step, &self.arm.config.limits);
        self.judge_health(died)?;
        Ok(self.write_checkpoint().await?)
    }

    /// Dispatches steps up to `max_staleness` ahead, then finishes the oldest.
    async fn next_step(&mut self) -> Result<(), Halt> {
        let arm = self.arm.clone();
        let ahead = if arm.config.method == Method::Grpo { arm.config.grpo.max_staleness } else { 0 };
        let furthest = (self.position.progress.step + ahead).min(arm.live.last_step() - 1);
        let mut next = self.position.progress.step + self.pending.0.len() as u64;
        let mut started;
        self.raise_alarms().await?;
        self.journal_notices().await?;
        loop {
            // What was ordered takes effect before the next step is dispatched.
            self.cross_boundary(next + 1).await?;
            self.position.progress.alarms.due.clear();
            started = Instant::now();
            if next > furthest {
                break;
            }
            self.dispatch(next)?;
            next += 1;
            if next > furthest {
                break;
            }
        }
        let Some(step) = self.pending.0.front_mut() else { return Ok(()) };
        self.stops.unless_stopped(step.collected()).await?;
        let health = self.position.progress.health.clone();
        let kept = || self.position.progress.alarms.verdicts.clone();
        let verdicts = arm.alarms.recheck_every().map(|_| kept());
        let start = StepStart { started, boundary: self.boundary.take_spent(), health, verdicts };
        let taken = step.finish(start).await;
        let taken = taken.inspect_err(|error| {
            if let StepError::Unrecorded { .. } = error {
                self.position.lost_rows();
            }
        })?;
        self.pending.0.pop_front();
        self.position.progress.step += 1;
        self.position.progress.groups.add(&taken.groups);
        self.position.progress.health = taken.health;
        self.position.progress.alarms.verdicts.extend(taken.kept);
        self.take_row(taken.row.as_ref());
        match self.judge_health(taken.died) {
            // A dead policy needs no evaluation, and its checkpoint is written when the arm ends.
            Err(Halt::NeedsHelp(reason)) => {
                self.after_step().await?;
                return Err(Halt::NeedsHelp(reason));
            }
            alive => alive?,
        }
        self.after_step().await?;
        taken.failures.map_or(Ok(()), |failures| self.failures.check(&arm, failures))
    }

    fn dispatch(&mut self, step: u64) -> Result<(), Halt> {
        let arm = self.arm.clone();
        // The root of the step's trace, whatever else the arm does meanwhile.
        let span = span!(
            parent: None, "step", arm = %arm.id.arm, seed = arm.id.seed, step = step + 1, policy_version = Empty,
            otel.status_code = Empty, otel.status_description = Empty
        );
        let pending = match arm.config.method {
            Method::Grpo => {
                let Some(conditions) = arm.live.in_force() else {
                    return Err(Halt::Failed("the arm has no rewards to train on".into()));
                };
                let held = Some(conditions.clone());
                let take = |turn| traced(span, training_step(arm, step, conditions, turn));
                PendingStep::spawn(step, held, take)
            }
            Method::Sft | Method::None => {
                PendingStep::spawn(step, None, |turn| traced(span, supervised_step(arm, step, turn)))
            }
        };
        self.pending.0.push_back(pending);
        Ok(())
    }

    async fn after_step(&mut self) -> Result<(), Halt> {
        self.boundary.step_taken();
        check_clips(&self.arm, &self.position.progress.groups)?;
        check_rows(&self.arm)?;
        self.unsettled = true;
        self.finish_step().await
    }

    /// What follows a step once it is recorded: its evaluation, its alarms and its checkpoint.
    async fn finish_step(&mut self) -> Result<(), Halt> {
        self.evaluate_if_due().await?;
        if std::mem::take(&mut self.unsettled) {
            self.settle_alarms().await?;
            let (step, config) = (self.position.progress.step, &self.arm.config);
            if step < config.steps && every(config.checkpoint.every, step) {
                self.write_checkpoint().await?;
            }
        }
        Ok(())
    }

    /// Finishes a step whose evaluation failed, when the arm is no longer paused.
    async fn finish_step_again(&mut self) -> Result<(), Halt> {
        self.cross_boundary(self.position.progress.step + 1).await?;
        self.finish_step().await
    }

    /// Writes what happened to the arm's servers to the journal.
    async fn journal_notices(&self) -> Result<(), Halt> {
        for notice in self.arm.notices.take() {
            self.arm.live.journal(Action::Server, SERVERS.into(), Some(notice)).await?;
        }
        Ok(())
    }

    async fn cross_boundary(&mut self, next: u64) -> Result<(), Halt> {
        let StepLoop { arm, supervisor, position, stops, boundary, pending, .. } = self;
        boundary.cross(arm, supervisor, position, stops, next, || conditions_of_next(arm, pending)).await
    }

    fn evaluation_is_due(&self) -> bool {
        let (step, config) = (self.position.progress.step, &self.arm.config);
        let due = match step {
            0 => config.eval.at_start || config.method == Method::None,
            _ => step == config.steps || every(config.eval.every, step),
        };
        due && self.position.progress.evaluated != Some(step)
    }

    async fn evaluate_if_due(&mut self) -> Result<(), Halt> {
        if self.evaluation_is_due() { self.evaluate().await } else { Ok(()) }
    }

    async fn evaluate(&mut self) -> Result<(), Halt> {
        let step = self.position.progress.step;
        let slot = self.arm.slots.evaluator.clone();
        let recording = Recording::default();
        let query = EvaluateQuery { step, recording: recording.clone() };
        let evaluating = slot.call(query, EvaluatorMsg::Evaluate);
        let evaluated = self.stops.unless_stopped(evaluating).await;
        // The evaluator may still be at work. What it has recorded counts; it records nothing from here on.
        if recording.give_up().await {
            self.position.progress.evaluated = Some(step);
        }
        let evaluated = evaluated?.map_err(|error| EvaluationError::Step(error.into()))??;
        self.judge_health(nan_verdict(evaluated.nan, evaluated.completions))
    }

    /// Applies `limits.action` if the policy `died`, for this reason (HEALTH-1). An arm that repeats a recorded run
    /// passed its limits then.
    fn judge_health(&mut self, died: Option<String>) -> Result<(), Halt> {
        let health = &mut self.position.progress.health;
        let action = self.arm.config.limits.action;
        let Some(reason) = died.filter(|_| !self.arm.live.is_replay()) else {
            if action == LimitAction::Pause {
                // Since it was resumed, it has recovered.
                health.died = None;
            }
            return Ok(());
        };
        let first = health.died.is_none();
        health.died.get_or_insert_with(|| reason.clone());
        match action {
            LimitAction::Fail => Err(Halt::Failed(reason)),
            LimitAction::Pause => {
                if can_be_helped(&self.arm) {
                    // Whoever resumes it gives it as many steps again.
                    let Health { steps, skipped_steps, .. } = *health;
                    *health =
                        Health { steps, skipped_steps, died: Some(reason.clone()), ..Health::default() };
                }
                Err(Halt::NeedsHelp(reason))
            }
            LimitAction::Ignore => {
                if first {
                    self.arm.warn(&format!("{reason}; the arm goes on, because limits.action is \"ignore\""));
                }
                Ok(())
            }
        }
    }

    /// Makes the forks that begin where the arm is now.
    async fn make_forks(&mut self) -> Result<(), Halt> {
        let (live, step) = (self.arm.live.clone(), self.position.progress.step);
        if !live.forks_are_due(step) {
            return Ok(());
        }
        // Whoever plans a fork holds this until the stored scenario names it.
        let experiment = live.lineage.hold().await;
        self.write_checkpoint().await?;
        for problem in live.make_forks(step, &experiment).await {
            self.arm.warn(&problem);
        }
        Ok(())
    }

    async fn write_checkpoint(&mut self) -> Result<(), CheckpointError> {
        let conditions = conditions_of_next(&self.arm, &self.pending);
        let written = self.position.write_checkpoint(conditions).await;
        if let Err(error @ StepError::Worker(WorkerError::NotFinite { .. })) = &written {
            self.position.progress.health.died.get_or_insert_with(|| error.to_string());
        }
        Ok(written?)
    }
}

/// A checkpoint could not be written, which ends the arm: it would lose its work.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct CheckpointError(#[from] StepError);

impl From<CheckpointError> for Halt {
    fn from(error: CheckpointError) -> Self {
        Halt::Failed(error.to_string())
    }
}

/// The conditions of the oldest step that is not trained on yet, or of the step to be dispatched next.
fn conditions_of_next(arm: &ArmContext, pending: &PendingSteps<StepTaken>) -> Option<ConditionsRecord> {
    let oldest = pending.0.front().and_then(|step| step.conditions.clone());
    oldest.or_else(|| arm.live.in_force()).map(|conditions| conditions.record())
}

/// Whether something that is due every `period` steps is due after `step`; a period of 0 means never.
fn every(period: u64, step: u64) -> bool {
    period > 0 && step.is_multiple_of(period)
}
