//! The simulated run: events, and what follows from each. This file is the conductor of every arm, as
//! `actors/run/src/conductor.rs` is of a real one; sampling and judging are below `world/`.
//!
//! ```text
//! go_on ─ an evaluation or a checkpoint that is due
//!       ─ steps up to `max_staleness` ahead: load → [samplers] → [judges] → rewards → collected
//!       ─ the oldest step, once it is collected: [learner] → records → go_on
//! ```

use crate::arm::{Arm, Doing, Job, Times};
use crate::draw::{Purpose, Stream};
use crate::error::SimulationError;
use crate::inputs::{Batching, Inputs};
use crate::judge::Judges;
use crate::outcome::{Outcome, Tally};
use crate::queue::Queue;
use crate::slots::{Claim, Slots, Who};

mod failing;
mod judging;
mod sampling;

/// Something that happens to an arm, or to a judge's server. Those with a `life` are void if the arm has another one by then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Ready { arm: usize, life: u64 },
    Loaded { arm: usize, life: u64, step: u64 },
    SamplerTick { arm: usize, sampler: usize, generation: u64 },
    EvaluationSampled { arm: usize, life: u64 },
    Judged { server: usize, number: u64 },
    Collected { arm: usize, life: u64, step: u64 },
    Trained { arm: usize, life: u64 },
    Recorded { arm: usize, life: u64 },
    CheckpointWritten { arm: usize, life: u64 },
    LearnerFails { arm: usize },
    SamplerFails { arm: usize, sampler: usize },
    JudgeFails { server: usize },
    JudgeRestarts { server: usize },
}

pub(crate) struct World<'a> {
    inputs: &'a Inputs,
    queue: Queue<Event>,
    arms: Vec<Arm>,
    begun: usize,
    done: usize,
    judges: Judges,
    /// The cores, which all arms share.
    cores: Slots,
    tally: Tally,
}

/// Simulates a run to its end.
///
/// Errors: [`SimulationError::NoProgress`].
pub fn simulate(inputs: &Inputs) -> Result<Outcome, SimulationError> {
    let mut world = World::new(inputs);
    let per_step =
        (4 * inputs.run.prompts_per_step * inputs.run.group_size * inputs.judge.requests + 32) as u64;
    let batches = inputs.evaluation.batches * (inputs.evaluation.judge_requests as u64 + 2);
    let steps = inputs.run.steps * inputs.run.arms as u64;
    // A hundred times as many events as without any failure.
    let most = (steps.saturating_mul(per_step + batches).saturating_mul(100)).max(1_000_000);
    let mut events = 0;
    world.begin_arms();
    while world.done < world.arms.len() {
        let Some(event) = world.queue.next() else { break };
        world.happen(event);
        events += 1;
        if events > most {
            let kept = world.arms.iter().map(|arm| arm.progress).sum();
            return Err(SimulationError::NoProgress { steps: kept, of: steps, events });
        }
    }
    Ok(world.outcome())
}

impl<'a> World<'a> {
    fn new(inputs: &'a Inputs) -> Self {
        let slots = inputs.run.compute_slots;
        let arm = |_| Arm::new(inputs.sampler.count, inputs.learner.shares_gpu);
        World {
            inputs,
            queue: Queue::new(),
            arms: (0..inputs.run.arms).map(arm).collect(),
            begun: 0,
            done: 0,
            judges: Judges::new(&inputs.judge),
            cores: Slots::new((slots > 0).then_some(slots)),
            tally: Tally::new(inputs.run.max_staleness),
        }
    }

    fn begin_arms(&mut self) {
        self.plan_failures_of_judges();
        for _ in 0..self.inputs.parallel_arms() {
            self.begin_next_arm();
        }
    }

    fn begin_next_arm(&mut self) {
        let arm = self.begun;
        let Some(state) = self.arms.get_mut(arm) else { return };
        state.began = self.queue.now;
        self.begun += 1;
        self.queue.after(self.inputs.run.startup_seconds, Event::Ready { arm, life: 0 });
        self.plan_failures_of(arm);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ready { arm, life } if self.lives(arm, life) => self.go_on(arm),
            Event::Loaded { arm, life, step } if self.lives(arm, life) => self.loaded(arm, step),
            Event::SamplerTick { arm, sampler, generation } => self.sampler_tick(arm, sampler, generation),
            Event::EvaluationSampled { arm, life } if self.lives(arm, life) => self.evaluation_sampled(arm),
            Event::Judged { server, number } => self.judged(server, number),
            Event::Collected { arm, life, step } if self.lives(arm, life) => self.collected(arm, step),
            Event::Trained { arm, life } if self.lives(arm, life) => self.trained(arm),
            Event::Recorded { arm, life } if self.lives(arm, life) => self.recorded(arm),
            Event::CheckpointWritten { arm, life } if self.lives(arm, life) => self.checkpoint_written(arm),
            Event::LearnerFails { arm } => self.learner_fails(arm),
            Event::SamplerFails { arm, sampler } => self.sampler_fails(arm, sampler),
            Event::JudgeFails { server } => self.judge_fails(server),
            Event::JudgeRestarts { server } => self.judge_restarts(server),
            // Of an earlier life.
            Event::Ready { .. }
            | Event::Loaded { .. }
            | Event::EvaluationSampled { .. }
            | Event::Collected { .. }
            | Event::Trained { .. }
            | Event::Recorded { .. }
            | Event::CheckpointWritten { .. } => {}
        }
    }

    fn lives(&self, arm: usize, life: u64) -> bool {
        self.arms[arm].life == life
    }

    /// The conductor's loop between two steps.
    fn go_on(&mut self, arm: usize) {
        let (now, inputs) = (self.queue.now, self.inputs);
        let state = &mut self.arms[arm];
        let (life, progress) = (state.life, state.progress);
        if evaluation_is_due(inputs, progress) && state.evaluated != Some(progress) {
            state.doing = Doing::Evaluating { batches: inputs.evaluation.batches };
            state.paused_since = now;
            return self.ask_batch(arm);
        }
        let is_last = progress == inputs.run.steps;
        if progress > state.checkpoint && (is_last || every(inputs.checkpoint.every, progress)) {
            state.doing = Doing::WritingCheckpoint;
            return self.queue.after(inputs.checkpoint.seconds, Event::CheckpointWritten { arm, life });
        }
        if is_last {
            state.doing = Doing::Done;
            state.ended = now;
            self.done += 1;
            return self.begin_next_arm();
        }
        state.doing = Doing::Waiting;
        let furthest = (progress + inputs.run.max_staleness).min(inputs.run.steps - 1);
        for step in progress + state.pending.len() as u64..=furthest {
            let times = Times { dispatched: now, ..Times::default() };
            state.pending.push_back(Job {
                step,
                version: 0,
                tokens: 0.0,
                open: 0,
                is_collected: false,
                times,
            });
            self.queue.after(inputs.run.load_seconds, Event::Loaded { arm, life, step });
        }
        self.train_if_ready(arm);
    }

    fn collected(&mut self, arm: usize, step: u64) {
        let now = self.queue.now;
        if let Some(job) = self.arms[arm].job(step) {
            job.is_collected = true;
            job.times.collected = now;
        }
        self.train_if_ready(arm);
    }

    /// Grants the oldest step its turn, if it is collected and the conductor waits for it.
    fn train_if_ready(&mut self, arm: usize) {
        let now = self.queue.now;
        let state = &mut self.arms[arm];
        let Some(job) = state.pending.front_mut() else { return };
        if state.doing != Doing::Waiting || !job.is_collected {
            return;
        }
        state.doing = Doing::Training;
        job.times.turn = now;
        let claim = Claim { arm, life: state.life, who: Who::Learner };
        if self.take(claim) {
            self.train(arm);
        }
    }

    fn train(&mut self, arm: usize) {
        let (now, inputs) = (self.queue.now, self.inputs);
        let state = &mut self.arms[arm];
        let life = state.life;
        let Some(job) = state.pending.front_mut() else { return };
        job.times.training = now;
        let prompts = inputs.run.prompts_per_step as f64 * inputs.completions.prompt_tokens;
        let seconds = inputs.learner.seconds(job.tokens + prompts);
        self.tally.learner_seconds += seconds;
        self.queue.after(seconds, Event::Trained { arm, life });
    }

    fn trained(&mut self, arm: usize) {
        let now = self.queue.now;
        let state = &mut self.arms[arm];
        let life = state.life;
        if let Some(job) = state.pending.front_mut() {
            job.times.trained = now;
        }
        self.give_back(Claim { arm, life, who: Who::Learner });
        self.arms[arm].progress += 1;
        self.queue.after(self.inputs.run.overhead_seconds, Event::Recorded { arm, life });
    }

    fn recorded(&mut self, arm: usize) {
        let now = self.queue.now;
        let state = &mut self.arms[arm];
        if let Some(job) = state.pending.pop_front() {
            self.tally.add(&job, state.progress, now);
        }
        self.go_on(arm);
    }

    fn checkpoint_written(&mut self, arm: usize) {
        let state = &mut self.arms[arm];
        state.checkpoint = state.progress;
        self.tally.checkpoints += 1;
        self.go_on(arm);
    }

    /// The slots that a claim is for: those of the cores, or the arm's own GPU.
    fn slots(&mut self, arm: usize) -> &mut Slots {
        self.arms[arm].gpu.as_mut().unwrap_or(&mut self.cores)
    }

    fn take(&mut self, claim: Claim) -> bool {
        self.slots(claim.arm).take(claim)
    }

    fn give_back(&mut self, claim: Claim) {
        if let Some(next) = self.slots(claim.arm).give_back(claim) {
            self.granted(next);
        }
    }

    fn granted(&mut self, claim: Claim) {
        match claim.who {
            Who::Sampler => self.begin_call(claim.arm),
            Who::Learner => self.train(claim.arm),
        }
    }

    fn outcome(mut self) -> Outcome {
        let wall = self.queue.now;
        self.tally.judge_seconds = self.judges.busy_seconds;
        for arm in &self.arms {
            self.tally.arm_seconds += arm.ended - arm.began;
            self.tally.evaluation_seconds += arm.evaluation_seconds;
            self.tally.sampler_seconds +=
                arm.samplers.iter().map(|sampler| sampler.busy_seconds).sum::<f64>();
        }
        Outcome::of(self.inputs, &self.tally, wall, self.judges.room())
    }

    /// Whether steps of an arm are sampled one after another.
    fn samples_in_turn(&self) -> bool {
        self.inputs.sampler.batching == Batching::Step
    }

    fn stream(&self, purpose: Purpose, place: [u64; 2]) -> Stream {
        Stream::new(self.inputs.run.seed, purpose, place)
    }
}

/// Whether something that is due every `period` steps is due after `step`; a period of 0 means never.
fn every(period: u64, step: u64) -> bool {
    period > 0 && step > 0 && step.is_multiple_of(period)
}

fn evaluation_is_due(inputs: &Inputs, progress: u64) -> bool {
    let evaluation = &inputs.evaluation;
    evaluation.batches > 0
        && match progress {
            0 => evaluation.at_start,
            _ => progress == inputs.run.steps || every(evaluation.every, progress),
        }
}

#[cfg(test)]
mod tests;
