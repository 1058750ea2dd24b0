//! Judging: requests of a step, or of a batch of an evaluation, to the judges that all arms share.

use super::{Event, World};
use crate::draw::Purpose;
use crate::judge::{Of, Request};

impl World<'_> {
    /// Asks for verdicts on a step's completions, all at once.
    pub(super) fn judge_step(&mut self, arm: usize, step: u64) {
        let inputs = self.inputs;
        let completions = inputs.run.prompts_per_step * inputs.run.group_size;
        let mut drawn = self.stream(Purpose::Judging, [arm as u64, step]);
        let mut times = Vec::new();
        if inputs.judge.servers > 0 {
            for _ in 0..completions {
                if !drawn.happens(inputs.judge.asked) {
                    continue;
                }
                for _ in 0..inputs.judge.requests {
                    if !drawn.happens(inputs.judge.cache_hit_rate) {
                        times.push(drawn.draw(&inputs.judge.latency_seconds));
                    }
                }
            }
        }
        let Some(job) = self.arms[arm].job(step) else { return };
        job.open = times.len();
        match times.is_empty() {
            true => self.step_judged(arm, step),
            false => self.ask(arm, Of::Step(step), times),
        }
    }

    /// Asks for verdicts on the answers to a batch of an evaluation.
    pub(super) fn judge_batch(&mut self, arm: usize) {
        let inputs = self.inputs;
        let asked = if inputs.judge.servers > 0 { inputs.evaluation.judge_requests } else { 0 };
        let place = [arm as u64, self.queue.now.to_bits()];
        let mut drawn = self.stream(Purpose::Evaluation, place);
        let missed = (0..asked).filter(|_| !drawn.happens(inputs.judge.cache_hit_rate)).count();
        let times: Vec<f64> = (0..missed).map(|_| drawn.draw(&inputs.judge.latency_seconds)).collect();
        self.arms[arm].open_requests = times.len();
        match times.is_empty() {
            true => self.batch_done(arm),
            false => self.ask(arm, Of::Evaluation, times),
        }
    }

    fn ask(&mut self, arm: usize, of: Of, times: Vec<f64>) {
        let life = self.arms[arm].life;
        for seconds in times {
            self.judges.ask(Request { arm, life, of, seconds });
        }
        self.begin_requests();
    }

    pub(super) fn begin_requests(&mut self) {
        while let Some(begun) = self.judges.begin() {
            self.queue.after(begun.seconds, Event::Judged { server: begun.server, number: begun.number });
        }
    }

    pub(super) fn judged(&mut self, server: usize, number: u64) {
        let Some(Request { arm, life, of, .. }) = self.judges.done(server, number) else { return };
        self.begin_requests();
        if !self.lives(arm, life) {
            return;
        }
        let state = &mut self.arms[arm];
        match of {
            Of::Step(step) => {
                let Some(job) = state.job(step) else { return };
                job.open -= 1;
                if job.open == 0 {
                    self.step_judged(arm, step);
                }
            }
            Of::Evaluation => {
                state.open_requests -= 1;
                if state.open_requests == 0 {
                    self.batch_done(arm);
                }
            }
        }
    }

    fn step_judged(&mut self, arm: usize, step: u64) {
        let now = self.queue.now;
        let state = &mut self.arms[arm];
        let life = state.life;
        if let Some(job) = state.job(step) {
            job.times.judged = now;
        }
        self.queue.after(self.inputs.run.reward_seconds, Event::Collected { arm, life, step });
    }
}
