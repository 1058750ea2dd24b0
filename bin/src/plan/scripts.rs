//! The scripts that start the tasks of a sweep: xargs, a Slurm job array, a Kubernetes JobSet.
//!
//! Each task may be started again at any time: it goes on from its last checkpoint, or ends at once if it is done. With
//! SIGTERM, which schedulers send before they take a machine away, it writes a checkpoint and ends with exit code 130.

use std::path::Path;

use scenarios::Experiment;

use super::Plan;
use crate::cli::{Array, PlanOptions};
use crate::failure::Failure;

/// What is added to the measured time and memory, for machines that are slower or have more to do.
const TIME_MARGIN: f64 = 1.5;
const MEMORY_MARGIN: f64 = 1.25;

/// The time that a task has for its last step and its checkpoint after SIGTERM, in seconds.
const GRACE: u64 = 300;

pub fn script(
    array: Array,
    plan: &Plan,
    experiment: &Experiment,
    options: &PlanOptions,
    sweep: &Path,
) -> Result<String, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Failure::running);
    let command = command(&absolute(&options.scenario)?, options, &absolute(sweep)?);
    let script = Script { plan, name: name(&experiment.run.name), threads: threads(experiment), command };
    Ok(match array {
        Array::Shell => script.filled(include_str!("shell.sh")),
        Array::Slurm => script.slurm(),
        Array::K8s => script.jobset(&absolute(sweep)?),
    })
}

/// The command that runs a task, but for its number.
fn command(scenario: &Path, options: &PlanOptions, sweep: &Path) -> String {
    let mut words = vec!["sandbox".to_owned(), quoted(&scenario.display().to_string())];
    for arm in &options.arms {
        words.extend(["--arm".to_owned(), quoted(arm)]);
    }
    for setting in &options.set {
        words.extend(["--set".to_owned(), quoted(setting)]);
    }
    if let Some(seeds) = options.seeds() {
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        words.extend(["--seeds".to_owned(), seeds.join(",")]);
    }
    words.extend(["--sweep".to_owned(), quoted(&sweep.display().to_string())]);
    words.join(" ")
}

/// A word for a shell, in single quotes if it needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=,:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A name that Slurm and Kubernetes take: lower-case letters, digits and dashes, at most 40.
fn name(run: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = run.chars().map(letter).take(40).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name.to_owned() } else { format!("sweep-{name}") }
}

/// Cores that a task uses.
fn threads(experiment: &Experiment) -> usize {
    if experiment.run.threads > 0 { experiment.run.threads } else { 4 }
}

struct Script<'a> {
    plan: &'a Plan,
    name: String,
    threads: usize,
    command: String,
}

impl Script<'_> {
    /// The memory to ask for, in MB; none if nothing was measured.
    fn megabytes(&self) -> Option<u64> {
        let largest = self.plan.largest()?;
        Some((MEMORY_MARGIN * largest.memory_bytes as f64 / 1e6).ceil() as u64)
    }

    /// The time to ask for, in minutes; none if nothing was measured.
    fn minutes(&self) -> Option<u64> {
        let largest = self.plan.largest()?;
        Some((TIME_MARGIN * largest.seconds / 60.0).ceil() as u64 + GRACE / 60)
    }

    /// A template with what is between two @ filled in.
    fn filled(&self, template: &str) -> String {
        let facts = [
            ("NAME", self.name.clone()),
            ("COUNT", self.plan.tasks.len().to_string()),
            ("THREADS", self.threads.to_string()),
            ("GRACE", GRACE.to_string()),
            ("COMMAND", self.command.clone()),
        ];
        facts
            .iter()
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }

    fn slurm(&self) -> String {
        let limits = [
            self.minutes().map(|minutes| format!("#SBATCH --time={minutes}\n")),
            self.megabytes().map(|megabytes| format!("#SBATCH --mem={megabytes}M\n")),
            self.plan.gpu.then(|| "#SBATCH --gres=gpu:1\n".to_owned()),
        ];
        let limits: String = limits.into_iter().flatten().collect();
        self.filled(&include_str!("slurm.sh").replace("@LIMITS@\n", &format!("{limits}\n")))
    }

    fn jobset(&self, sweep: &Path) -> String {
        let memory = self.megabytes().map_or_else(String::new, |megabytes| format!(", memory: {megabytes}M"));
        let limits = if self.plan.gpu { ", limits: { nvidia.com/gpu: 1 }" } else { "" };
        let resources = format!("{{ requests: {{ cpu: {}{memory} }}{limits} }}", self.threads);
        let folder = sweep.parent().unwrap_or(sweep).display().to_string();
        let template = include_str!("jobset.yaml").replace("@RESOURCES@", &resources);
        self.filled(&template.replace("@FOLDER@", &folder))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PlannedTask, TaskNeeds};
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_reach_the_command_whole() {
        assert_eq!(quoted("grpo.lr=1e-4"), "grpo.lr=1e-4");
        assert_eq!(quoted("grpo*"), "'grpo*'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    fn plan(needs: Option<TaskNeeds>, gpu: bool) -> Plan {
        let task = |number| PlannedTask { number, arms: vec!["a".into()], seed: 1, needs };
        Plan { gpu, tasks: vec![task(1), task(2)] }
    }

    #[test]
    fn the_array_asks_for_what_was_measured_with_a_margin() {
        let needs = TaskNeeds { seconds: 600.0, memory_bytes: 2_000_000_000, ..TaskNeeds::default() };
        let measured = plan(Some(needs), true);
        let script = Script {
            plan: &measured,
            name: "s".into(),
            threads: 3,
            command: "sandbox a.toml --sweep d".into(),
        };
        let slurm = script.slurm();
        // 1.5 · 600 s are 15 minutes, and 5 for the checkpoint. 1.25 · 2 GB.
        let asked =
            "#SBATCH --signal=TERM@300\n#SBATCH --time=20\n#SBATCH --mem=2500M\n#SBATCH --gres=gpu:1\n";
        assert!(slurm.contains(asked), "{slurm}");
        assert!(
            slurm.contains("#SBATCH --array=1-2\n") && slurm.contains("srun sandbox a.toml --sweep d --task")
        );
        let jobset = script.jobset(Path::new("/shared/sweeps/d"));
        let resources = "resources: { requests: { cpu: 3, memory: 2500M }, limits: { nvidia.com/gpu: 1 } }";
        assert!(jobset.contains(resources) && jobset.contains("mountPath: \"/shared/sweeps\""), "{jobset}");
        assert!(!jobset.contains('@') && !slurm.replace("TERM@300", "").contains('@'));

        let unmeasured = plan(None, false);
        let script = Script { plan: &unmeasured, ..script };
        assert!(!script.slurm().contains("--time") && script.jobset(Path::new("/d")).contains("{ cpu: 3 }"));
    }

    #[test]
    fn names_are_those_that_schedulers_take() {
        assert_eq!(name("Ablation of CR + TR"), "ablation-of-cr---tr");
        assert_eq!(name("7b"), "sweep-7b");
    }
}
