//! Sampling: calls to the samplers of an arm, for a step or a batch of an evaluation.

use super::{Event, World};
use crate::arm::{Call, Doing};
use crate::draw::Purpose;
use crate::slots::{Claim, Who};

impl World<'_> {
    pub(super) fn loaded(&mut self, arm: usize, step: u64) {
        let now = self.queue.now;
        if let Some(job) = self.arms[arm].job(step) {
            job.times.loaded = now;
        }
        self.call(arm, Call::Step(step));
    }

    /// Asks the next batch of an evaluation.
    pub(super) fn ask_batch(&mut self, arm: usize) {
        self.call(arm, Call::Evaluation);
    }

    fn call(&mut self, arm: usize, call: Call) {
        if self.samples_in_turn() {
            self.arms[arm].calls.push_back(call);
            self.next_call(arm);
        } else {
            self.begin(arm, call);
        }
    }

    /// Takes the next call up, if the samplers have none.
    fn next_call(&mut self, arm: usize) {
        let state = &mut self.arms[arm];
        if state.call.is_some() {
            return;
        }
        state.call = state.calls.pop_front();
        if state.call.is_none() {
            return;
        }
        let claim = Claim { arm, life: state.life, who: Who::Sampler };
        if self.take(claim) {
            self.begin_call(arm);
        }
    }

    /// Begins the call for which the samplers have a slot now.
    pub(super) fn begin_call(&mut self, arm: usize) {
        if let Some(call) = self.arms[arm].call {
            self.begin(arm, call);
        }
    }

    fn end_call(&mut self, arm: usize) {
        if !self.samples_in_turn() {
            return;
        }
        let state = &mut self.arms[arm];
        state.call = None;
        let claim = Claim { arm, life: state.life, who: Who::Sampler };
        self.give_back(claim);
        self.next_call(arm);
    }

    fn begin(&mut self, arm: usize, call: Call) {
        match call {
            Call::Step(step) => self.sample(arm, step),
            Call::Evaluation => {
                let (now, inputs) = (self.queue.now, self.inputs);
                let seconds = inputs.evaluation.sample_seconds;
                let state = &mut self.arms[arm];
                let life = state.life;
                state.samplers.iter_mut().for_each(|sampler| sampler.stall(now, &inputs.sampler, seconds));
                self.queue.after(seconds, Event::EvaluationSampled { arm, life });
                for sampler in 0..inputs.sampler.count {
                    self.plan_tick(arm, sampler);
                }
            }
        }
    }

    /// Spreads the prompts of a step over the samplers.
    fn sample(&mut self, arm: usize, step: u64) {
        let (now, inputs) = (self.queue.now, self.inputs);
        let mut lengths = self.stream(Purpose::Lengths, [arm as u64, step]);
        let most = if inputs.completions.max_tokens == 0 { u64::MAX } else { inputs.completions.max_tokens };
        let mut groups = vec![Vec::new(); inputs.sampler.count];
        let mut prompts = vec![0_usize; inputs.sampler.count];
        for prompt in 0..inputs.run.prompts_per_step {
            let sampler = prompt % inputs.sampler.count;
            prompts[sampler] += 1;
            let drawn = |_| lengths.draw(&inputs.completions.tokens).min(most as f64);
            groups[sampler].extend((0..inputs.run.group_size).map(drawn));
        }
        let tokens: f64 = groups.iter().flatten().sum();
        let state = &mut self.arms[arm];
        let version = state.progress;
        let is_new = state.loaded_version.replace(version) != Some(version);
        let load = if is_new { inputs.sampler.load_seconds } else { 0.0 };
        if let Some(job) = state.job(step) {
            (job.version, job.tokens, job.times.sampling) = (version, tokens, now);
            job.open = groups.iter().map(Vec::len).sum();
        }
        self.tally.sampled_tokens += tokens;
        for (sampler, tokens) in groups.iter().enumerate() {
            if tokens.is_empty() {
                continue;
            }
            let prompts = prompts[sampler] as f64 * inputs.sampler.prefill_seconds;
            let stall = load + inputs.sampler.call_seconds + prompts;
            self.arms[arm].samplers[sampler].add(now, &inputs.sampler, step, tokens, stall);
            self.plan_tick(arm, sampler);
        }
    }

    pub(super) fn plan_tick(&mut self, arm: usize, sampler: usize) {
        let state = &self.arms[arm].samplers[sampler];
        if let Some(seconds) = state.until_next(&self.inputs.sampler) {
            let generation = state.generation;
            self.queue.after(seconds, Event::SamplerTick { arm, sampler, generation });
        }
    }

    /// Sequences of a sampler end, unless it has another generation by now.
    pub(super) fn sampler_tick(&mut self, arm: usize, sampler: usize, generation: u64) {
        let (now, inputs) = (self.queue.now, self.inputs);
        let state = &mut self.arms[arm];
        if state.samplers[sampler].generation != generation {
            return;
        }
        let ended = state.samplers[sampler].finished(now, &inputs.sampler);
        let mut sampled = Vec::new();
        for step in ended {
            let Some(job) = state.job(step) else { continue };
            job.open -= 1;
            if job.open == 0 {
                job.times.sampled = now;
                sampled.push(step);
            }
        }
        self.plan_tick(arm, sampler);
        for step in sampled {
            self.end_call(arm);
            self.judge_step(arm, step);
        }
    }

    pub(super) fn evaluation_sampled(&mut self, arm: usize) {
        self.end_call(arm);
        self.judge_batch(arm);
    }

    /// A batch of an evaluation is answered and judged.
    pub(super) fn batch_done(&mut self, arm: usize) {
        let now = self.queue.now;
        let state = &mut self.arms[arm];
        let Doing::Evaluating { batches } = state.doing else { return };
        if batches > 1 {
            state.doing = Doing::Evaluating { batches: batches - 1 };
            return self.ask_batch(arm);
        }
        state.evaluated = Some(state.progress);
        state.evaluation_seconds += now - state.paused_since;
        self.go_on(arm);
    }
}
