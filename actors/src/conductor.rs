//! The conductor: drives an arm's steps through the other actors.
//!
//! - `CONDUCT-1` every dispatched group ends exactly once: trained on, or excluded with a reason; the counts add up.
//! - `CONDUCT-2` completions of step `s` are sampled from a version no older than `s − max_staleness`. With 0, all is
//!   synchronous, and a run on the CPU is the same bit for bit under the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use scenarios::{Method, OnJudgeFailure};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::collect::{AUDIO_UNREADABLE, Missing};
use crate::arm::context::{ArmContext, ArmMsg};
use crate::checkpoint;
use crate::evaluator::{EvaluateQuery, EvaluatorMsg};
use crate::event::{ArmStatus, RunEvent};
use crate::live::Conditions;
use crate::optimizer::{CheckpointQuery, OptimizerMsg};
use crate::progress::{Ended, Progress};
use crate::reward::Cause;

mod boundary;
pub mod collect;
mod grpo;
pub mod rows;
mod sft;

/// What a conductor is made of.
pub struct ConductorArgs {
    /// What all actors of the arm know.
    pub context: Arc<ArmContext>,
    /// Where it begins.
    pub progress: Progress,
    /// Turns true when the run is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// Told once how the steps ended.
    pub arm: ActorRef<ArmMsg>,
}

/// Messages to the conductor.
pub enum ConductorMsg {
    /// Take all steps; what steers them meanwhile is the stop switch.
    TakeSteps,
}

/// The actor.
pub struct Conductor;

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
        state: &mut ConductorArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConductorMsg::TakeSteps => {
                let drive = Drive {
                    arm: state.context.clone(),
                    supervisor: state.arm.clone(),
                    progress: state.progress.clone(),
                    stops: Stops { run: state.stop.clone(), arm: state.context.live.stop_switch() },
                    checkpoint: checkpoint::newest(&state.context.dir),
                    missing: VecDeque::new(),
                    unjudged: VecDeque::new(),
                    ahead: Ahead(VecDeque::new()),
                    paused: None,
                    allowance: None,
                    at_boundaries: Duration::ZERO,
                };
                let ended = Box::new(drive.run_to_the_end().await);
                // If the arm has gone, nobody is left to hear of it.
                let _ = state.arm.cast(ArmMsg::StepsEnded { ended });
            }
        }
        Ok(())
    }
}

/// Why the steps end early.
enum Halt {
    Stopped,
    /// The step in hand left no trace and can be taken again, once somebody has looked into the reason.
    Stuck(String),
    Failed(String),
}

impl From<String> for Halt {
    fn from(reason: String) -> Self {
        Halt::Failed(reason)
    }
}

/// What a step lacked.
struct StepMissing {
    /// Completions sampled.
    completions: u64,
    /// Those of them that have no reward, since a score that the formula needs is missing.
    without_reward: u64,
    /// The scores missing, by component.
    components: BTreeMap<String, Missing>,
}

struct Drive {
    arm: Arc<ArmContext>,
    supervisor: ActorRef<ArmMsg>,
    progress: Progress,
    stops: Stops,
    checkpoint: Option<PathBuf>,
    /// Scores missing in the last steps.
    missing: VecDeque<StepMissing>,
    /// Verdicts that could not be had, and those asked for, of the last steps.
    unjudged: VecDeque<(u64, u64)>,
    /// Steps sent out and not taken yet.
    ahead: Ahead,
    /// Why no further step is taken for now.
    paused: Option<Pause>,
    /// Steps still to be taken before the next pause.
    allowance: Option<u64>,
    /// Time spent at boundaries since the last step.
    at_boundaries: Duration,
}

impl Drive {
    async fn run_to_the_end(mut self) -> Ended {
        let status = match self.steps().await {
            Ok(()) => ArmStatus::Done,
            Err(halt) => {
                // What was learned so far is kept, whatever the reason.
                if let Err(unwritten) = self.write_checkpoint().await {
                    tracing::warn!(arm = %self.arm.name, "no checkpoint at the end: {unwritten}");
                }
                match halt {
                    Halt::Stopped => ArmStatus::Stopped,
                    Halt::Stuck(reason) | Halt::Failed(reason) => ArmStatus::Failed { reason },
                }
            }
        };
        Ended { status, progress: self.progress, checkpoint: self.checkpoint }
    }

    async fn steps(&mut self) -> Result<(), Halt> {
        let arm = self.arm.clone();
        if self.evaluation_is_due() {
            self.evaluate().await?;
        }
        match arm.config.method {
            Method::None => return Ok(()),
            Method::Grpo => self.grpo_steps().await?,
            Method::Sft => self.sft_steps().await?,
        }
        if self.progress.step < arm.total_steps {
            // The arm that this one repeats came no further.
            return Err(Halt::Stopped);
        }
        self.write_checkpoint().await?;
        Ok(())
    }

    /// Takes GRPO steps.
    async fn grpo_steps(&mut self) -> Result<(), Halt> {
        while self.progress.step < self.arm.live.last_step() {
            let taken = self.next_grpo_step().await;
            self.unless_stuck(taken).await?;
        }
        Ok(())
    }

    /// Takes the next GRPO step, collecting up to `max_staleness` further ones meanwhile.
    async fn next_grpo_step(&mut self) -> Result<(), Halt> {
        let arm = self.arm.clone();
        let furthest = (self.progress.step + arm.config.grpo.max_staleness).min(arm.live.last_step() - 1);
        let mut next = self.progress.step + self.ahead.0.len() as u64;
        let mut started;
        loop {
            // The boundary: what has been asked for takes effect before the next step is sent out.
            self.at_boundary(next + 1).await?;
            started = Instant::now();
            if next > furthest {
                break;
            }
            let Some(conditions) = arm.live.in_force() else {
                return Err(Halt::Failed("the arm has nothing to reward its completions by".into()));
            };
            let collecting = tokio::spawn(collect::collect(arm.clone(), next, conditions.clone()));
            self.ahead.0.push_back((conditions, collecting));
            next += 1;
            if next > furthest {
                break;
            }
        }
        let Some((_, collecting)) = self.ahead.0.front_mut() else { return Ok(()) };
        let collected = self.stops.unless_stopped(collecting).await?;
        let collected = collected
            .map_err(|error| Halt::Stuck(format!("collecting step {}: {error}", self.progress.step + 1)))?
            .map_err(Halt::Stuck)?;
        self.ahead.0.pop_front();
        let judged = (collected.judged.failed(), collected.judged.requests);
        let missing = self.grpo_step(collected, started).await?;
        self.after_step().await?;
        self.check_judge(judged)?;
        self.check_missing(missing)
    }

    async fn sft_steps(&mut self) -> Result<(), Halt> {
        while self.progress.step < self.arm.live.last_step() {
            let taken = self.next_sft_step().await;
            self.unless_stuck(taken).await?;
        }
        Ok(())
    }

    async fn next_sft_step(&mut self) -> Result<(), Halt> {
        self.at_boundary(self.progress.step + 1).await?;
        let arm = self.arm.clone();
        let prepared = self.stops.unless_stopped(sft::prepare(&arm, self.progress.step)).await?;
        self.sft_step(prepared.map_err(Halt::Stuck)?).await?;
        self.after_step().await
    }

    async fn after_step(&mut self) -> Result<(), Halt> {
        let (step, total) = (self.progress.step, self.arm.total_steps);
        self.count_down();
        self.check_readable()?;
        if self.evaluation_is_due() {
            self.evaluate().await?;
        }
        if step < total && every(self.arm.config.checkpoint.every, step) {
            self.write_checkpoint().await?;
        }
        Ok(())
    }

    fn evaluation_is_due(&self) -> bool {
        let (step, config) = (self.progress.step, &self.arm.config);
        let due = match step {
            0 => config.eval.at_start || config.method == Method::None,
            _ => step == self.arm.total_steps || every(config.eval.every, step),
        };
        due && self.progress.evaluated != Some(step)
    }

    /// Ends the arm when too many of its clips could not be read.
    fn check_readable(&self) -> Result<(), Halt> {
        let groups = &self.progress.groups;
        let unreadable = groups.excluded.get(AUDIO_UNREADABLE).copied().unwrap_or_default();
        let most = self.arm.config.loader.max_failed_fraction;
        if unreadable as f64 > most * groups.dispatched as f64 {
            return Err(Halt::Failed(format!(
                "{unreadable} of {} clips could not be read, more than loader.max_failed_fraction = {most} allows; see \
                 run.log for which",
                groups.dispatched
            )));
        }
        Ok(())
    }

    async fn evaluate(&mut self) -> Result<(), Halt> {
        let query = EvaluateQuery { step: self.progress.step };
        let slot = self.arm.slots.evaluator.clone();
        let evaluated = self.stops.unless_stopped(slot.call(query, EvaluatorMsg::Evaluate)).await?;
        evaluated.map_err(|error| error.to_string())??;
        self.progress.evaluated = Some(self.progress.step);
        Ok(())
    }

    async fn write_checkpoint(&mut self) -> Result<(), String> {
        if self.arm.config.method == Method::None {
            return Ok(());
        }
        let folder = checkpoint::folder(&self.arm.dir, self.progress.step);
        if self.checkpoint.as_ref() == Some(&folder) {
            return Ok(());
        }
        let query = CheckpointQuery {
            folder: folder.clone(),
            progress: self.progress.clone(),
            conditions: self.conditions_of_next().map(|conditions| conditions.record()),
        };
        self.arm
            .slots
            .optimizer
            .call(query, OptimizerMsg::Checkpoint)
            .await
            .map_err(|error| error.to_string())??;
        self.checkpoint = Some(folder);
        checkpoint::keep_newest(&self.arm.dir, self.arm.config.checkpoint.keep)
            .map_err(|error| format!("{}: {error}", self.arm.dir.display()))
    }

    /// What the next step to be taken is, or will be, rewarded by.
    fn conditions_of_next(&self) -> Option<Arc<Conditions>> {
        let ahead = self.ahead.0.front().map(|(conditions, _)| conditions.clone());
        ahead.or_else(|| self.arm.live.in_force())
    }

    /// Ends the arm when too many completions have been without a reward for too long (REWARD-1).
    fn check_missing(&mut self, step: StepMissing) -> Result<(), Halt> {
        const WINDOW: usize = 10;
        self.missing.push_back(step);
        if self.missing.len() > WINDOW {
            self.missing.pop_front();
        }
        let completions: u64 = self.missing.iter().map(|step| step.completions).sum();
        let without: u64 = self.missing.iter().map(|step| step.without_reward).sum();
        let most = self.arm.config.supervision.max_missing_fraction;
        let too_many = self.missing.len() == WINDOW && without as f64 > most * completions as f64;
        // A run that was helped over it goes over it again.
        if too_many && !self.arm.live.is_replay() {
            let steps = std::mem::take(&mut self.missing);
            return Err(Halt::Stuck(format!(
                "{without} of {completions} completions were left without a reward in the last {WINDOW} steps, more than \
                 supervision.max_missing_fraction = {most} allows{}",
                blame(&steps)
            )));
        }
        Ok(())
    }

    /// Ends the arm when its judge fails too often and the scenario says not to go on without it.
    fn check_judge(&mut self, step: (u64, u64)) -> Result<(), Halt> {
        let judge = &self.arm.config.judge;
        self.unjudged.push_back(step);
        if self.unjudged.len() > judge.failure_window {
            self.unjudged.pop_front();
        }
        let (failed, asked) =
            self.unjudged.iter().fold((0, 0), |(failed, asked), step| (failed + step.0, asked + step.1));
        let too_many = failed as f64 > judge.max_failed_fraction * asked as f64;
        // A run that was helped over it goes over it again.
        if self.unjudged.len() < judge.failure_window || !too_many || self.arm.live.is_replay() {
            return Ok(());
        }
        self.unjudged.clear();
        let reason = format!(
            "{failed} of {asked} verdicts could not be had in the last {} steps, more than judge.max_failed_fraction = {} \
             allows; judge_failures in metrics.jsonl has the causes",
            judge.failure_window, judge.max_failed_fraction
        );
        match judge.on_failure {
            OnJudgeFailure::Exclude => Ok(()),
            OnJudgeFailure::Pause => Err(Halt::Stuck(reason)),
            OnJudgeFailure::Abort => {
                Err(Halt::Failed(format!("{reason}; see to the judge, then go on with --resume")))
            }
        }
    }

    fn tell(&self, event: RunEvent) {
        self.arm.tell(event);
    }
}

/// The component that most scores are missing of, how many by cause, and what it last said.
fn blame(steps: &VecDeque<StepMissing>) -> String {
    let mut components: BTreeMap<&str, (BTreeMap<Cause, u64>, Option<&str>)> = BTreeMap::new();
    for (name, missing) in steps.iter().flat_map(|step| &step.components) {
        let (causes, failure) = components.entry(name).or_default();
        for (cause, count) in &missing.causes {
            *causes.entry(*cause).or_default() += count;
        }
        *failure = missing.failure.as_deref().or(*failure);
    }
    let worst = components.into_iter().max_by_key(|(_, (causes, _))| causes.values().sum::<u64>());
    let Some((name, (causes, failure))) = worst else { return String::new() };
    let counts: Vec<String> = causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    let said = failure.map_or_else(String::new, |failure| format!("; it last failed with: {failure}"));
    format!("; `{name}` lacks {} scores{said}", counts.join(", "))
}

/// The switches that end the steps; each turns true once.
struct Stops {
    run: watch::Receiver<bool>,
    arm: watch::Receiver<bool>,
}

impl Stops {
    /// Waits for `work`, but no longer than until the run, or the arm, is asked to stop.
    async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            // One whose switch has gone is never asked to stop.
            Ok(_) = self.run.wait_for(|stop| *stop) => Err(Halt::Stopped),
            Ok(_) = self.arm.wait_for(|stop| *stop) => Err(Halt::Stopped),
            done = work => Ok(done),
        }
    }
}

/// Whether something done every `period` steps is done after `step`; a period of 0 is never.
fn every(period: u64, step: u64) -> bool {
    period > 0 && step.is_multiple_of(period)
}

/// Why an arm takes no further step for now.
#[derive(Clone, Debug, PartialEq)]
struct Pause {
    reason: String,
    /// It can't go on by itself, and does not wait for ever.
    needs_help: bool,
}

/// Steps being collected ahead; dropped, they are given up.
struct Ahead(VecDeque<(Arc<Conditions>, Collecting)>);

type Collecting = JoinHandle<Result<collect::Collected, String>>;

impl Ahead {
    fn give_up(&mut self) {
        self.0.drain(..).for_each(|(_, collecting)| collecting.abort());
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.give_up();
    }
}
