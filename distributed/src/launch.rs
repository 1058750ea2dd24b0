//! What the launcher says about this process.
//!
//! torchrun and Kubernetes (JobSet, PyTorchJob) set `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`. Slurm sets variables
//! of its own for each process of a job step, which are read in their place.

use crate::error::RankError;
use crate::node_list::first_node;

/// Where torchrun's own programs meet, if nothing else is said.
const DEFAULT_PORT: u16 = 29500;

/// The place of this process among the ranks, and where they meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The number of this process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// The number of this process among those of its machine, from 0, by which it chooses its GPU.
    pub local_rank: usize,
    /// The number of processes on this machine, which share its cores.
    pub local_size: usize,
    /// How often the launcher has started all ranks again. Ranks of different attempts don't meet.
    pub attempt: u64,
    /// What is the same in every attempt of one launch and in no other launch; `None` if the launcher says nothing of the kind.
    pub identity: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the launcher serves the store itself.
    pub(crate) launcher_serves: bool,
    /// Whether all ranks are processes that rank 0 started on this machine.
    pub(crate) own: bool,
}

/// Names the variable that marks the processes which rank 0 started.
const OWN: &str = "AUDIO_THINKER_OWN_RANK";

impl Launch {
    /// Reads the environment; `None` if this process was not started as one of several.
    ///
    /// Errors: [`RankError::Launch`]: the variables contradict each other or can't be read.
    pub fn from_env() -> Result<Option<Launch>, RankError> {
        Launch::from(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Rank 0 of a group that it starts itself, on this machine.
    pub fn own(size: usize) -> Launch {
        Launch {
            rank: 0,
            size,
            local_rank: 0,
            local_size: size,
            attempt: 0,
            identity: None,
            host: "127.0.0.1".into(),
            port: 0,
            launcher_serves: false,
            own: true,
        }
    }

    /// The environment of a rank that rank 0 starts, by which it finds rank 0's store at `port`.
    pub fn variables(&self, rank: usize, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("RANK", rank.to_string()),
            ("WORLD_SIZE", self.size.to_string()),
            ("LOCAL_RANK", rank.to_string()),
            ("LOCAL_WORLD_SIZE", self.size.to_string()),
            ("MASTER_ADDR", self.host.clone()),
            ("MASTER_PORT", port.to_string()),
            (OWN, "1".into()),
        ]
    }

    /// Whether this process was started by rank 0 on this machine.
    pub fn is_own(&self) -> bool {
        self.own
    }

    fn from(get: &dyn Fn(&'static str) -> Option<String>) -> Result<Option<Launch>, RankError> {
        let launch = if get("RANK").is_some() || get("WORLD_SIZE").is_some() {
            Launch::of_torchrun(get)?
        } else if get("SLURM_STEP_NUM_TASKS").is_some() {
            Launch::of_slurm(get)?
        } else {
            return Ok(None);
        };
        if launch.size > 1 && launch.rank >= launch.size {
            return Err(RankError::Launch {
                variable: "RANK",
                value: launch.rank.to_string(),
                problem: format!("there are only {} ranks", launch.size),
            });
        }
        Ok((launch.size > 1).then_some(launch))
    }

    fn of_torchrun(get: &dyn Fn(&'static str) -> Option<String>) -> Result<Launch, RankError> {
        let rank = required(get, "RANK")?;
        let size = required(get, "WORLD_SIZE")?;
        let attempt = optional(get, "TORCHELASTIC_RESTART_COUNT")?.unwrap_or(0);
        Ok(Launch {
            rank,
            size,
            local_rank: optional(get, "LOCAL_RANK")?.unwrap_or(rank),
            local_size: optional(get, "LOCAL_WORLD_SIZE")?.unwrap_or(1),
            attempt,
            identity: get("TORCHELASTIC_RUN_ID").map(|run| format!("torchrun {run} {}", parent())),
            host: get("MASTER_ADDR").unwrap_or_else(|| "127.0.0.1".into()),
            port: optional(get, "MASTER_PORT")?.unwrap_or(DEFAULT_PORT),
            // Its agent listens at MASTER_PORT then, in every attempt.
            launcher_serves: get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True"),
            own: get(OWN).is_some(),
        })
    }

    fn of_slurm(get: &dyn Fn(&'static str) -> Option<String>) -> Result<Launch, RankError> {
        let rank = required(get, "SLURM_PROCID")?;
        let size = required(get, "SLURM_STEP_NUM_TASKS")?;
        let list = get("SLURM_STEP_NODELIST").or_else(|| get("SLURM_JOB_NODELIST")).unwrap_or_default();
        let host = get("MASTER_ADDR").or_else(|| first_node(&list));
        let job: u64 = optional(get, "SLURM_JOB_ID")?.unwrap_or(0);
        let step: u64 = optional(get, "SLURM_STEP_ID")?.unwrap_or(0);
        // `4(x2),3`: those of the first machines; all machines have as many, or the exact number does not matter.
        let tasks = get("SLURM_STEP_TASKS_PER_NODE").unwrap_or_default();
        let local_size = tasks.split(['(', ',']).next().and_then(|tasks| tasks.parse().ok()).unwrap_or(1);
        Ok(Launch {
            rank,
            size,
            local_rank: optional(get, "SLURM_LOCALID")?.unwrap_or(0),
            local_size,
            attempt: optional(get, "SLURM_RESTART_COUNT")?.unwrap_or(0),
            identity: Some(format!("slurm {job} {step}")),
            host: host.ok_or_else(|| RankError::Launch {
                variable: "SLURM_STEP_NODELIST",
                value: list,
                problem: "it names no machine on which rank 0 is; set MASTER_ADDR".into(),
            })?,
            // Steps of different jobs on one machine must not meet.
            port: optional(get, "MASTER_PORT")?.unwrap_or(10_000 + ((job * 8 + step % 8) % 20_000) as u16),
            launcher_serves: false,
            own: false,
        })
    }
}

/// The launcher's process: its number and when it was started, which no other process has in common with it.
fn parent() -> String {
    let parent = std::os::unix::process::parent_id();
    let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything; the start is the 20th field behind it.
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    format!("{parent} {}", started.unwrap_or("0"))
}

fn required<T: std::str::FromStr>(
    get: &dyn Fn(&'static str) -> Option<String>,
    variable: &'static str,
) -> Result<T, RankError> {
    let problem = "it is needed beside the others that the launcher sets".to_owned();
    optional(get, variable)?.ok_or_else(|| RankError::Launch { variable, value: String::new(), problem })
}

fn optional<T: std::str::FromStr>(
    get: &dyn Fn(&'static str) -> Option<String>,
    variable: &'static str,
) -> Result<Option<T>, RankError> {
    let Some(value) = get(variable) else { return Ok(None) };
    match value.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(RankError::Launch { variable, value, problem: "not a number that fits".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&'static str, &str)]) -> Result<Option<Launch>, RankError> {
        let find =
            |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Launch::from(&find)
    }

    #[test]
    fn a_process_without_a_launcher_and_one_rank_alone_are_no_group() {
        assert_eq!(launch(&[]), Ok(None));
        assert_eq!(launch(&[("RANK", "0"), ("WORLD_SIZE", "1")]), Ok(None));
        // A batch script, without srun.
        assert_eq!(launch(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]), Ok(None));
        assert_eq!(
            launch(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1"), ("MASTER_ADDR", "a")]),
            Ok(None)
        );
    }

    #[test]
    fn torchrun_says_everything_and_serves_the_store() {
        let found = launch(&[
            ("RANK", "3"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "2"),
            ("MASTER_ADDR", "node7"),
            ("MASTER_PORT", "4321"),
            ("TORCHELASTIC_RESTART_COUNT", "2"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ("TORCHELASTIC_RUN_ID", "mine"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.rank, found.size, found.local_rank, found.local_size, found.attempt),
            (3, 4, 1, 2, 2)
        );
        assert_eq!((found.host.as_str(), found.port, found.launcher_serves), ("node7", 4321, true));
        let parent = std::os::unix::process::parent_id();
        let identity = found.identity.unwrap();
        assert!(
            identity.starts_with(&format!("torchrun mine {parent} ")) && !identity.ends_with(" 0"),
            "{identity}"
        );
    }

    #[test]
    fn the_variables_of_a_jobset_need_no_more_than_four() {
        let found = launch(&[
            ("RANK", "0"),
            ("WORLD_SIZE", "2"),
            ("MASTER_ADDR", "js-0.js"),
            ("MASTER_PORT", "3389"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_size, found.launcher_serves), (0, 2, 1, false));
        assert_eq!((found.host.as_str(), found.port, found.identity), ("js-0.js", 3389, None));
    }

    #[test]
    fn slurm_variables_are_mapped() {
        let step = [
            ("SLURM_PROCID", "5"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "4(x2)"),
            ("SLURM_STEP_NODELIST", "gpu[07-08]"),
            ("SLURM_JOB_ID", "1234"),
            ("SLURM_STEP_ID", "2"),
            ("SLURM_RESTART_COUNT", "1"),
        ];
        let found = launch(&step).unwrap().unwrap();
        assert_eq!(
            (found.rank, found.size, found.local_rank, found.local_size, found.attempt),
            (5, 8, 1, 4, 1)
        );
        assert_eq!((found.host.as_str(), found.port), ("gpu07", 10_000 + 1234 * 8 + 2));
        assert_eq!(found.identity.as_deref(), Some("slurm 1234 2"));
        let elsewhere: Vec<_> =
            step.into_iter().chain([("MASTER_ADDR", "a"), ("MASTER_PORT", "7")]).collect();
        let found = launch(&elsewhere).unwrap().unwrap();
        assert_eq!((found.host.as_str(), found.port), ("a", 7));
    }

    #[test]
    fn mistakes_name_the_variable() {
        let message = |variables: &[(&'static str, &str)]| launch(variables).unwrap_err().to_string();
        assert!(message(&[("RANK", "one"), ("WORLD_SIZE", "2")]).starts_with("RANK=one: not a number"));
        assert!(message(&[("RANK", "0")]).starts_with("WORLD_SIZE=: it is needed"));
        assert!(message(&[("RANK", "2"), ("WORLD_SIZE", "2")]).starts_with("RANK=2: there are only 2 ranks"));
        assert!(
            message(&[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_PORT", "99999")])
                .starts_with("MASTER_PORT=")
        );
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2")];
        assert!(message(&slurm).contains("set MASTER_ADDR"));
    }

    #[test]
    fn a_rank_that_rank_0_starts_finds_it() {
        let own = Launch::own(3);
        let variables = own.variables(2, 4000);
        let found = Launch::from(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        });
        let found = found.unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_size, found.port, found.own), (2, 3, 3, 4000, true));
    }
}
