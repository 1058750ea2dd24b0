//! How a run is spread over the machine.

use records::Environment;
use scenarios::Experiment;
use workers::Ranks;

/// Where tensors are, and how many arms train at the same time.
pub(crate) struct Plan {
    pub(crate) device: tch::Device,
    /// Arms that train at the same time.
    pub(crate) side_by_side: usize,
    /// Whether `run.parallel_arms` sets that number.
    pub(crate) is_limited: bool,
    /// libtorch threads per arm; 0 leaves the choice to libtorch.
    pub(crate) threads: usize,
    /// The cores that this process may use.
    pub(crate) cores: usize,
    /// The launch that started it as one of several; see [`Environment::launch`].
    pub(crate) launch: Option<String>,
}

impl Plan {
    /// Follows `[run]`; where it leaves the choice open, arms on the CPU get a core each and arms on a GPU run
    /// one after the other.
    pub(crate) fn of(experiment: &Experiment, device: tch::Device) -> Self {
        Plan::on(experiment, device, cores())
    }

    fn on(experiment: &Experiment, device: tch::Device, cores: usize) -> Self {
        let run = &experiment.run;
        // Forks come later, and change nothing for the arms that begin with the run.
        let first = experiment.arms.iter().filter(|arm| arm.fork.is_none()).count();
        let arms = first.max(1) * run.seeds.len();
        let on_cpu = device == tch::Device::Cpu;
        let side_by_side = match run.parallel_arms {
            0 if on_cpu => cores.min(arms).max(1),
            0 => 1,
            chosen => chosen,
        };
        let threads = match run.threads {
            0 if on_cpu => (cores / side_by_side).max(1),
            chosen => chosen,
        };
        Plan { device, side_by_side, is_limited: run.parallel_arms > 0, threads, cores, launch: None }
    }

    /// The plan of a process that shares its machine with other ranks, each of which has as many cores.
    pub(crate) fn beside(self, experiment: &Experiment, ranks: Option<&Ranks>) -> Self {
        let Some(ranks) = ranks else { return self };
        let cores = (self.cores / ranks.on_this_machine()).max(1);
        Plan { launch: ranks.launch().map(str::to_owned), ..Plan::on(experiment, self.device, cores) }
    }

    /// How many samplers and optimizers may compute at the same time: on the CPU as many as there are cores for their
    /// threads, elsewhere all of them (`None`).
    pub(crate) fn compute_slots(&self) -> Option<usize> {
        let threads = self.threads.max(1);
        (self.device == tch::Device::Cpu).then(|| (self.cores / threads).max(1))
    }

    /// The content of `environment.json`.
    pub(crate) fn environment(&self, experiment: &Experiment) -> Environment {
        Environment {
            arms_side_by_side: self.side_by_side,
            threads_per_arm: Some(self.threads),
            launch: self.launch.clone(),
            ..Environment::of(experiment, format!("{:?}", self.device))
        }
    }
}

/// Number of arms of an experiment that train at the same time, and libtorch threads of each; 0 leaves the choice to
/// libtorch.
pub fn side_by_side(experiment: &Experiment, device: tch::Device) -> (usize, usize) {
    let Plan { side_by_side, threads, .. } = Plan::of(experiment, device);
    (side_by_side, threads)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
