//! Failures: when learners, samplers and judges fail, and what is lost then.

use super::{Event, World};
use crate::arm::Doing;
use crate::draw::{Purpose, Stream};

const SECONDS_PER_HOUR: f64 = 3600.0;

impl World<'_> {
    /// Has an event happen after a random time with this mean in hours; 0 means never.
    fn plan_failure(&mut self, purpose: Purpose, place: u64, mean_hours: f64, event: Event) {
        if mean_hours <= 0.0 {
            return;
        }
        let mut stream = Stream::new(self.inputs.run.seed, purpose, [place, self.queue.now.to_bits()]);
        let seconds = stream.exponential(mean_hours * SECONDS_PER_HOUR);
        self.queue.after(seconds, event);
    }

    fn plan_failure_of_learner(&mut self, arm: usize) {
        // Any of the learners of an arm takes it down.
        let mean = self.inputs.failures.learner_mtbf_hours / self.inputs.learner.count as f64;
        self.plan_failure(Purpose::LearnerFailures, arm as u64, mean, Event::LearnerFails { arm });
    }

    fn plan_failure_of_sampler(&mut self, arm: usize, sampler: usize) {
        let mean = self.inputs.failures.sampler_mtbf_hours;
        let place = (arm * self.inputs.sampler.count + sampler) as u64;
        self.plan_failure(Purpose::SamplerFailures, place, mean, Event::SamplerFails { arm, sampler });
    }

    fn plan_failure_of_judge(&mut self, server: usize) {
        let mean = self.inputs.failures.judge_mtbf_hours;
        self.plan_failure(Purpose::JudgeFailures, server as u64, mean, Event::JudgeFails { server });
    }

    pub(super) fn plan_failures_of(&mut self, arm: usize) {
        self.plan_failure_of_learner(arm);
        for sampler in 0..self.inputs.sampler.count {
            self.plan_failure_of_sampler(arm, sampler);
        }
    }

    pub(super) fn plan_failures_of_judges(&mut self) {
        for server in 0..self.inputs.judge.servers {
            self.plan_failure_of_judge(server);
        }
    }

    /// The arm goes back to its last checkpoint, after a restart.
    pub(super) fn learner_fails(&mut self, arm: usize) {
        let (now, inputs) = (self.queue.now, self.inputs);
        let state = &mut self.arms[arm];
        if state.doing == Doing::Done {
            return;
        }
        self.tally.failures += 1;
        self.tally.lost_steps += state.progress - state.checkpoint;
        state.life += 1;
        state.doing = Doing::Starting;
        state.progress = state.checkpoint;
        state.evaluated = state.evaluated.filter(|step| *step <= state.checkpoint);
        state.pending.clear();
        state.calls.clear();
        state.call = None;
        state.loaded_version = None;
        state.samplers.iter_mut().for_each(|sampler| sampler.clear(now, &inputs.sampler));
        let life = state.life;
        for next in self.slots(arm).forget(arm) {
            self.granted(next);
        }
        self.queue.after(inputs.failures.learner_restart_seconds, Event::Ready { arm, life });
        self.plan_failure_of_learner(arm);
    }

    /// The sampler begins its sequences again, after a restart.
    pub(super) fn sampler_fails(&mut self, arm: usize, sampler: usize) {
        let (now, inputs) = (self.queue.now, self.inputs);
        if self.arms[arm].doing == Doing::Done {
            return;
        }
        self.tally.failures += 1;
        let restart = inputs.failures.sampler_restart_seconds;
        self.arms[arm].samplers[sampler].fail(now, &inputs.sampler, restart);
        self.plan_tick(arm, sampler);
        self.plan_failure_of_sampler(arm, sampler);
    }

    pub(super) fn judge_fails(&mut self, server: usize) {
        self.tally.failures += 1;
        self.judges.fail(server);
        self.queue.after(self.inputs.failures.judge_restart_seconds, Event::JudgeRestarts { server });
        // The others may have room.
        self.begin_requests();
    }

    pub(super) fn judge_restarts(&mut self, server: usize) {
        self.judges.restart(server);
        self.begin_requests();
        self.plan_failure_of_judge(server);
    }
}
