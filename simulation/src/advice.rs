//! What to add next: the same run with one sampler, learner, judge or step of staleness more.

use serde::Serialize;

use crate::error::SimulationError;
use crate::inputs::Inputs;
use crate::outcome::Outcome;
use crate::world::simulate;

/// A gain that is none: such an addition is no better for taking no GPU.
const NOTHING: f64 = 0.005;

/// An addition to a run, and what it gains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Addition {
    /// What is added.
    pub what: String,
    /// GPUs that it takes, over all arms that train at the same time.
    pub gpus: usize,
    /// Completions per hour with it, of all arms.
    pub completions_per_hour: f64,
    /// Gain of completions per hour, as a share of what it was.
    pub gain: f64,
    /// That for each added GPU; absent if it takes none.
    pub gain_per_gpu: Option<f64>,
}

/// Simulates a run, and again with each possible addition. The additions come in the order of what to try first: those that
/// take no GPU by their gain, then the others by their gain per GPU.
///
/// Errors: [`SimulationError::NoProgress`].
pub fn advise(inputs: &Inputs) -> Result<(Outcome, Vec<Addition>), SimulationError> {
    let outcome = simulate(inputs)?;
    let mut additions = Vec::new();
    for (what, with) in variants(inputs) {
        let gpus = with.parallel_arms() * with.gpus_of_arm() + with.gpus_of_judges() - outcome.gpus;
        let rate = simulate(&with)?.completions_per_hour;
        let gain = rate / outcome.completions_per_hour - 1.0;
        let gain_per_gpu = (gpus > 0).then(|| gain / gpus as f64);
        additions.push(Addition { what, gpus, completions_per_hour: rate, gain, gain_per_gpu });
    }
    additions.sort_by(|one, other| {
        let is_free = |addition: &Addition| addition.gpus == 0 && addition.gain > NOTHING;
        let value = |addition: &Addition| addition.gain_per_gpu.unwrap_or(addition.gain);
        is_free(other).cmp(&is_free(one)).then(value(other).total_cmp(&value(one)))
    });
    Ok((outcome, additions))
}

/// The run with each addition. The number of arms that train at the same time stays, unless it is what is added.
fn variants(inputs: &Inputs) -> Vec<(String, Inputs)> {
    let mut base = inputs.clone();
    base.run.parallel_arms = inputs.parallel_arms();
    base.run.gpus = 0;
    let changed = |what: &str, change: &dyn Fn(&mut Inputs)| {
        let mut with = base.clone();
        change(&mut with);
        (what.to_owned(), with)
    };
    let mut variants = vec![
        changed("a sampler for each arm", &|with| with.sampler.count += 1),
        changed(&format!("max_staleness = {}", base.run.max_staleness + 1), &|with| {
            with.run.max_staleness += 1;
        }),
    ];
    if !base.learner.shares_gpu {
        variants.push(changed("a learner for each arm", &|with| with.learner.count += 1));
    } else {
        variants.push(changed("a GPU of its own for each learner", &|with| with.learner.shares_gpu = false));
    }
    if base.judge.servers > 0 {
        variants.push(changed("a judge's server", &|with| with.judge.servers += 1));
        variants.push(changed(
            "twice the concurrency of each judge's server, at the same latency",
            &|with| {
                with.judge.concurrency *= 2;
            },
        ));
    }
    if base.run.parallel_arms < base.run.arms {
        variants.push(changed("an arm at the same time", &|with| with.run.parallel_arms += 1));
    }
    variants
}

impl std::fmt::Display for Addition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.1} %", 100.0 * self.gain)?;
        match self.gain_per_gpu {
            Some(_) if self.gpus == 1 => write!(f, " for a GPU: {}", self.what),
            Some(per_gpu) => {
                write!(f, " for {} GPUs, {:+.2} % each: {}", self.gpus, 100.0 * per_gpu, self.what)
            }
            None => write!(f, " for no GPU: {}", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_a_run_is_what_to_add_first() {
        let inputs = Inputs::parse(
            r#"
            [run]
            steps = 40
            max_staleness = 4
            [completions]
            tokens = { kind = "fixed", value = 10 }
            [sampler]
            decode = [{ sequences = 16, tokens_per_second = 160 }]
            [learner]
            seconds_per_token = 0.001
            [judge]
            servers = 1
            gpus = 1
            concurrency = 4
            latency_seconds = { kind = "fixed", value = 1 }
            "#,
        )
        .unwrap();
        // Sampling takes 1 s, judging 16 completions four at a time 4 s, training 0.16 s.
        let (outcome, additions) = advise(&inputs).unwrap();
        assert!(outcome.bottleneck.starts_with("the judges, busy "), "{}", outcome.bottleneck);
        let names: Vec<&str> = additions.iter().map(|addition| addition.what.as_str()).collect();
        assert_eq!(
            names[..2],
            ["twice the concurrency of each judge's server, at the same latency", "a judge's server"]
        );
        // Two servers judge a step in 2 s: about twice as fast.
        assert!((additions[1].gain - 1.0).abs() < 0.1 && additions[1].gpus == 1, "{}", additions[1]);
        let sampler = additions.iter().find(|addition| addition.what == "a sampler for each arm").unwrap();
        assert!(sampler.gain.abs() < 0.02, "{sampler}");
    }
}
