//! What comes of a simulation: speed, staleness, idle shares, and what limits the run.

use std::fmt;

use serde::Serialize;

use crate::arm::Job;
use crate::inputs::Inputs;

/// A resource that is busy for this share of the time or more limits the run.
const BUSY: f64 = 0.9;

/// Sums over a simulation.
pub(crate) struct Tally {
    steps: u64,
    /// Tokens of completions that were trained on, and of all that were sampled.
    tokens: f64,
    pub(crate) sampled_tokens: f64,
    /// Steps by their staleness.
    staleness: Vec<u64>,
    phases: Phases,
    pub(crate) sampler_seconds: f64,
    pub(crate) learner_seconds: f64,
    pub(crate) judge_seconds: f64,
    /// Time from the start of an arm to its end, of all arms.
    pub(crate) arm_seconds: f64,
    pub(crate) evaluation_seconds: f64,
    pub(crate) checkpoints: u64,
    pub(crate) failures: u64,
    pub(crate) lost_steps: u64,
}

impl Tally {
    pub(crate) fn new(max_staleness: u64) -> Self {
        Tally {
            steps: 0,
            tokens: 0.0,
            sampled_tokens: 0.0,
            staleness: vec![0; max_staleness as usize + 1],
            phases: Phases::default(),
            sampler_seconds: 0.0,
            learner_seconds: 0.0,
            judge_seconds: 0.0,
            arm_seconds: 0.0,
            evaluation_seconds: 0.0,
            checkpoints: 0,
            failures: 0,
            lost_steps: 0,
        }
    }

    /// Counts a step that made version `version` of the weights and is recorded now.
    pub(crate) fn add(&mut self, job: &Job, version: u64, now: f64) {
        let times = &job.times;
        self.steps += 1;
        self.tokens += job.tokens;
        let staleness = version.saturating_sub(job.version + 1) as usize;
        if let Some(count) = self.staleness.get_mut(staleness) {
            *count += 1;
        }
        let phases = &mut self.phases;
        phases.load += times.loaded - times.dispatched;
        phases.wait_for_sampler += times.sampling - times.loaded;
        phases.sample += times.sampled - times.sampling;
        phases.judge += times.judged - times.sampled;
        phases.reward += times.collected - times.judged;
        phases.wait_for_turn += times.turn - times.collected;
        phases.wait_for_learner += times.training - times.turn;
        phases.train += times.trained - times.training;
        phases.overhead += now - times.trained;
    }
}

/// How long a step is in each phase, in seconds, in the mean. With staleness, phases of several steps overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named after the phases")]
pub struct Phases {
    pub load: f64,
    pub wait_for_sampler: f64,
    pub sample: f64,
    /// Waiting for the judges included.
    pub judge: f64,
    pub reward: f64,
    /// Until the steps before it are trained on.
    pub wait_for_turn: f64,
    pub wait_for_learner: f64,
    pub train: f64,
    pub overhead: f64,
}

impl Phases {
    fn named(&self) -> [(&'static str, f64); 9] {
        [
            ("load", self.load),
            ("wait for the sampler", self.wait_for_sampler),
            ("sample", self.sample),
            ("judge", self.judge),
            ("reward", self.reward),
            ("wait for its turn", self.wait_for_turn),
            ("wait for the learner", self.wait_for_learner),
            ("train", self.train),
            ("overhead", self.overhead),
        ]
    }

    fn divided(mut self, by: f64) -> Self {
        for phase in [
            &mut self.load,
            &mut self.wait_for_sampler,
            &mut self.sample,
            &mut self.judge,
            &mut self.reward,
            &mut self.wait_for_turn,
            &mut self.wait_for_learner,
            &mut self.train,
            &mut self.overhead,
        ] {
            *phase /= by;
        }
        self
    }
}

/// What comes of a simulated run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Time of the whole run.
    pub wall_seconds: f64,
    /// Arms, and those that train at the same time.
    pub arms: usize,
    /// Arms that train at the same time.
    pub parallel_arms: usize,
    /// Steps of all arms.
    pub steps: u64,
    /// Time from one step of an arm to its next one, evaluations and checkpoints included.
    pub seconds_per_step: f64,
    /// Steps of all arms.
    pub steps_per_hour: f64,
    /// Completions that are trained on, of all arms.
    pub completions_per_hour: f64,
    /// Tokens of completions that are trained on, of all arms.
    pub tokens_per_second: f64,
    /// The share of steps of each staleness, from 0.
    pub staleness: Vec<f64>,
    /// Share of the time in which the samplers of running arms are idle.
    pub sampler_idle: f64,
    /// The same of learners.
    pub learner_idle: f64,
    /// The same of places at the judges; absent without judges.
    pub judge_idle: Option<f64>,
    /// The same of what sampler and learner take turns on, GPUs or cores; absent if they do not.
    pub shared_idle: Option<f64>,
    /// GPUs of arms that train at the same time, and of judges.
    pub gpus: usize,
    /// Those, for the time of the run.
    pub gpu_hours: f64,
    /// A step's phases.
    pub phases: Phases,
    /// Time of an arm's evaluations.
    pub evaluation_seconds: f64,
    /// Failures of anything.
    pub failures: u64,
    /// Steps that were taken again after a failure.
    pub lost_steps: u64,
    /// What limits the run.
    pub bottleneck: String,
}

impl Outcome {
    pub(crate) fn of(inputs: &Inputs, tally: &Tally, wall: f64, judge_room: usize) -> Self {
        let run = &inputs.run;
        let parallel_arms = inputs.parallel_arms();
        let kept = run.steps * run.arms as u64;
        let completions = kept as f64 * (run.prompts_per_step * run.group_size) as f64;
        // Steps that were taken again count once.
        let tokens = tally.tokens * kept as f64 / tally.steps.max(1) as f64;
        let hours = (wall / 3600.0).max(f64::MIN_POSITIVE);
        let idle = |busy: f64, most: f64| 1.0 - (busy / most.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        let computed = tally.sampler_seconds / inputs.sampler.count as f64 + tally.learner_seconds;
        let shared_idle = match (inputs.learner.shares_gpu, run.compute_slots) {
            (true, _) => Some(idle(computed, tally.arm_seconds)),
            (false, 0) => None,
            (false, slots) => Some(idle(computed, slots as f64 * wall)),
        };
        let gpus = parallel_arms * inputs.gpus_of_arm() + inputs.gpus_of_judges();
        let mut outcome = Outcome {
            wall_seconds: wall,
            arms: run.arms,
            parallel_arms,
            steps: kept,
            seconds_per_step: tally.arm_seconds / kept as f64,
            steps_per_hour: kept as f64 / hours,
            completions_per_hour: completions / hours,
            tokens_per_second: tokens / wall.max(f64::MIN_POSITIVE),
            staleness: tally
                .staleness
                .iter()
                .map(|count| *count as f64 / tally.steps.max(1) as f64)
                .collect(),
            sampler_idle: idle(tally.sampler_seconds, inputs.sampler.count as f64 * tally.arm_seconds),
            learner_idle: idle(tally.learner_seconds, tally.arm_seconds),
            judge_idle: (judge_room > 0).then(|| idle(tally.judge_seconds, judge_room as f64 * wall)),
            shared_idle,
            gpus,
            gpu_hours: gpus as f64 * hours,
            phases: tally.phases.divided(tally.steps.max(1) as f64),
            evaluation_seconds: tally.evaluation_seconds / run.arms as f64,
            failures: tally.failures,
            lost_steps: tally.lost_steps,
            bottleneck: String::new(),
        };
        outcome.bottleneck = outcome.limit(inputs);
        outcome
    }

    /// What is busy nearly all the time; else the phase that a step spends most time in.
    fn limit(&self, inputs: &Inputs) -> String {
        let shared = if inputs.learner.shares_gpu { "the GPUs of the arms" } else { "the cores" };
        let resources = [
            ("the samplers", Some(self.sampler_idle)),
            ("the learners", Some(self.learner_idle)),
            ("the judges", self.judge_idle),
            (shared, self.shared_idle),
        ];
        let busiest = resources
            .into_iter()
            .filter_map(|(name, idle)| Some((name, 1.0 - idle?)))
            .max_by(|one, other| one.1.total_cmp(&other.1));
        if let Some((name, busy)) = busiest.filter(|(_, busy)| *busy >= BUSY) {
            return format!("{name}, busy {:.0} % of the time", 100.0 * busy);
        }
        let phases = self.phases.named();
        let of_step: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
        let longest = phases.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
        let (name, seconds) = longest.unwrap_or(("nothing", 0.0));
        format!(
            "nothing is busy all the time: the phases of a step follow one another, and the longest is `{name}` with {:.0} %",
            100.0 * seconds / of_step.max(f64::MIN_POSITIVE)
        )
    }
}

/// A time as a person would say it.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        ..0.1 => format!("{:.1} ms", 1000.0 * seconds),
        0.1..100.0 => format!("{seconds:.2} s"),
        100.0..6000.0 => format!("{:.1} min", seconds / 60.0),
        6000.0..360_000.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A number with three digits, and commas between thousands.
pub(crate) fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let mut line = |name: &str, value: String| writeln!(f, "{name:<22}{value}");
        let beside =
            if self.arms > 1 { format!(", {} at a time", self.parallel_arms) } else { String::new() };
        line("arms", format!("{}{beside}", number(self.arms as f64).trim_end_matches(".0")))?;
        line("wall time", time(self.wall_seconds))?;
        line("a step of an arm", time(self.seconds_per_step))?;
        line(
            "throughput",
            format!(
                "{} steps/h, {} completions/h, {} tokens/s",
                number(self.steps_per_hour),
                number(self.completions_per_hour),
                number(self.tokens_per_second)
            ),
        )?;
        let phases = self.phases.named();
        let shown = phases.iter().filter(|(_, seconds)| *seconds > 0.0);
        let shown: Vec<String> = shown.map(|(name, seconds)| format!("{name} {}", time(*seconds))).collect();
        line("phases of a step", shown.join(", "))?;
        let staleness = self.staleness.iter().enumerate().filter(|(_, share)| **share > 0.0);
        let staleness: Vec<String> =
            staleness.map(|(age, share)| format!("{age}: {}", percent(*share))).collect();
        line("staleness", staleness.join(", "))?;
        let mut idle = vec![
            format!("samplers {}", percent(self.sampler_idle)),
            format!("learners {}", percent(self.learner_idle)),
        ];
        idle.extend(self.judge_idle.map(|share| format!("judges {}", percent(share))));
        idle.extend(
            self.shared_idle.map(|share| format!("what sampler and learner share {}", percent(share))),
        );
        line("idle", idle.join(", "))?;
        if self.gpus > 0 {
            line("GPUs", format!("{}, {} GPU hours", self.gpus, number(self.gpu_hours)))?;
        }
        if self.failures > 0 {
            line("failures", format!("{}, {} steps taken again", self.failures, self.lost_steps))?;
        }
        line("bottleneck", self.bottleneck.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_times_a_unit() {
        assert_eq!(
            [0.0, 99.96, 999.6, 12_345.0, 1_234_567.0].map(number),
            ["0.0", "100.0", "1,000", "12,345", "1,234,567"]
        );
        assert_eq!(
            [0.0123, 4.0, 120.0, 7200.0, 864_000.0].map(time),
            ["12.3 ms", "4.00 s", "2.0 min", "2.0 h", "10.0 days"]
        );
    }
}
