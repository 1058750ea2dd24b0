//! Runs on several processes: which of them this one is, starting the others, and what a rank other than 0 does.
//!
//! Rank 0 is the run as it is without others, with its run directory, its control channel and its output. The other ranks read
//! the same arguments, but only to compare them with rank 0's: what they train on comes from rank 0.
//!
//! - `RANKS-5` a rank other than 0 starts no run and writes no file. It ends with rank 0, however that ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributed::{Launch, RankError, Rendezvous};
use records::{Environment, RunDir};
use workers::Ranks;

use crate::cli::{RunOptions, Verbosity};
use crate::failure::Failure;
use crate::log;
use crate::signals::outlast_one_signal;
use crate::streams::{errln, leave};

/// Time between two looks at another process.
const LOOK: Duration = Duration::from_millis(250);

/// Longest wait for the other ranks of this machine to end with rank 0.
const LAST_RANKS: Duration = Duration::from_secs(10);

/// What this process is.
pub enum Role {
    /// It trains alone.
    Alone,
    /// It is rank 0 of several.
    Leader(Launch),
    /// It is another rank.
    Follower(Launch),
}

impl Role {
    /// Follows `--ranks`, or what a launcher put into the environment.
    pub fn of(options: &RunOptions) -> Result<Role, Failure> {
        if options.dry_run || options.ranks == Some(1) {
            return Ok(Role::Alone);
        }
        let launch = Launch::from_env().map_err(Failure::input)?;
        match (launch, options.ranks) {
            (Some(launch), Some(ranks)) if !launch.is_own() => Err(Failure::Input(format!(
                "--ranks {ranks}: a launcher has started {} ranks already; leave --ranks out, or write --ranks 1 to train on \
                 this process alone",
                launch.size
            ))),
            (Some(launch), _) if launch.rank == 0 => Ok(Role::Leader(launch)),
            (Some(launch), _) => Ok(Role::Follower(launch)),
            (None, Some(ranks)) if ranks > 1 => Ok(Role::Leader(Launch::own(usize::from(ranks)))),
            (None, _) => Ok(Role::Alone),
        }
    }
}

/// The options of a run that a launcher has started again: it goes on with the run that this launch began before.
pub fn restarted(options: RunOptions, launch: &Launch) -> RunOptions {
    let Some(identity) = launch.identity.as_deref().filter(|_| launch.attempt > 0) else { return options };
    if options.resume.is_some() || options.run_dir.is_some() {
        return options;
    }
    match run_of(options.out.as_deref(), &options, identity) {
        Some(dir) => {
            let (set, arms, seeds) = (Vec::new(), Vec::new(), Vec::new());
            RunOptions { scenario: None, out: None, resume: Some(dir), set, arms, seeds, ..options }
        }
        None => options,
    }
}

/// The run directory that an earlier attempt of this launch made.
fn run_of(out: Option<&std::path::Path>, options: &RunOptions, identity: &str) -> Option<PathBuf> {
    let out = match out {
        Some(out) => out.to_owned(),
        None => {
            let scenario = options.scenario.as_deref()?;
            scenarios::load(scenario, &options.set, &options.arms, None).ok()?.run.out
        }
    };
    let dirs = std::fs::read_dir(out).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let begun = |dir: &PathBuf| {
        let run_dir = RunDir::new(dir);
        let launch = Environment::read(&run_dir).and_then(|environment| environment.launch);
        launch.as_deref() == Some(identity) && run_dir.scenario().is_file()
    };
    dirs.filter(begun).max()
}

/// What must be the same on all ranks: the program, and the scenario with what the arguments make of it.
fn identity(options: &RunOptions) -> Result<Vec<(&'static str, String)>, Failure> {
    let scenario = match (&options.scenario, &options.resume) {
        (Some(scenario), _) => scenario.clone(),
        (None, Some(dir)) => RunDir::new(dir).scenario(),
        (None, None) => return Err(Failure::Input("no scenario given".into())),
    };
    let seeds = options.seeds();
    let experiment = scenarios::load(&scenario, &options.set, &options.arms, seeds.as_deref())?;
    let program = std::env::current_exe().and_then(|path| path.metadata());
    let size = program.map_or(0, |program| program.len());
    Ok(vec![
        ("program", format!("sandbox {} of {size} bytes", env!("CARGO_PKG_VERSION"))),
        ("scenario", experiment.fingerprint()),
    ])
}

/// Rank 0 with the other ranks, which end with this value.
pub struct Led {
    ranks: Ranks,
    started: Started,
    finished: bool,
}

impl Led {
    /// Waits for the other ranks, after starting them if no launcher has.
    pub fn meet(launch: &Launch, options: &RunOptions) -> Result<Led, Failure> {
        let identity = identity(options)?;
        let rendezvous = Rendezvous::open(launch, timeout(options)).map_err(Failure::input)?;
        let started = Started::default();
        if launch.is_own() {
            started.start(launch, rendezvous.port())?;
        }
        let group = rendezvous.meet(&identity, &mut || started.all_alive());
        let group = group.map_err(|error| match error {
            RankError::Unlike { .. } => Failure::input(error),
            other => Failure::running(other),
        })?;
        let ranks = Ranks::new(group, launch, options.collectives);
        started.watch(&ranks);
        Ok(Led { ranks, started, finished: false })
    }

    /// The ranks to train with.
    pub fn ranks(&self) -> Ranks {
        self.ranks.clone()
    }

    /// Lets the other ranks end without an error.
    pub fn finish(mut self) {
        self.finished = true;
        self.ranks.finish();
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        if !self.finished {
            self.ranks.end("rank 0 ended; its own output says why");
        }
        self.started.wait();
    }
}

/// The processes that rank 0 has started.
#[derive(Default)]
struct Started {
    children: Arc<Mutex<Vec<(usize, Child)>>>,
}

impl Started {
    /// Starts all ranks but rank 0, with the arguments of this process.
    fn start(&self, launch: &Launch, port: u16) -> Result<(), Failure> {
        let program = std::env::current_exe();
        let program =
            program.map_err(|error| Failure::Running(format!("ranks can't be started: {error}")))?;
        for rank in 1..launch.size {
            let mut command = Command::new(&program);
            command.args(std::env::args_os().skip(1)).envs(launch.variables(rank, port));
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command
                .spawn()
                .map_err(|error| Failure::Running(format!("rank {rank} can't be started: {error}")))?;
            self.lock().push((rank, child));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Child)>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if one has ended.
    fn all_alive(&self) -> Result<(), RankError> {
        for (rank, child) in self.lock().iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(RankError::Ended(format!("rank {rank} ended ({status})")));
            }
        }
        Ok(())
    }

    /// The ranks whose processes have ended.
    fn ended(&self) -> Vec<usize> {
        let has_ended = |(rank, child): &mut (usize, Child)| match child.try_wait() {
            Ok(Some(_)) => Some(*rank),
            _ => None,
        };
        self.lock().iter_mut().filter_map(has_ended).collect()
    }

    /// Ends the ranks as soon as one of those that were started ends, which the others would notice later.
    fn watch(&self, ranks: &Ranks) {
        let (children, ranks) = (Arc::downgrade(&self.children), ranks.clone());
        let watch = move || {
            while let Some(children) = children.upgrade() {
                let started = Started { children };
                if let Err(error) = started.all_alive() {
                    started.ended().into_iter().for_each(|rank| ranks.gone(rank));
                    ranks.end(&error.to_string());
                    return;
                }
                std::thread::sleep(LOOK);
            }
        };
        // Without the thread a rank that ended is found silent.
        let _ = std::thread::Builder::new().name("ranks".into()).spawn(watch);
    }

    /// Waits for all of them, and kills those that don't end.
    fn wait(&self) {
        let began = Instant::now();
        for (_, child) in self.lock().iter_mut() {
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < LAST_RANKS {
                std::thread::sleep(LOOK);
            }
            // It fails for one that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn timeout(options: &RunOptions) -> Duration {
    Duration::from_secs(u64::from(options.rank_timeout))
}

/// Trains as another rank than 0 until rank 0 ends.
pub fn follow(launch: &Launch, options: &RunOptions, verbosity: Verbosity) -> Result<(), Failure> {
    log::to_terminal(verbosity);
    let rank = launch.rank;
    outlast_one_signal()?;
    if launch.is_own() {
        end_with_parent()?;
    }
    let failed = |error: RankError| Failure::Running(format!("rank {rank}: {error}"));
    let identity = identity(options)?;
    let rendezvous = Rendezvous::open(launch, timeout(options)).map_err(failed)?;
    let group = rendezvous.meet(&identity, &mut || Ok(())).map_err(failed)?;
    group.watch(Box::new(move |error| {
        errln!("error: rank {rank}: {error}");
        leave(1)
    }));
    ::run::follow(group, launch.local_rank).map_err(failed)
}

/// Ends this process when the one that started it is gone, however early.
fn end_with_parent() -> Result<(), Failure> {
    let parent = std::os::unix::process::parent_id();
    let watch = move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(LOOK);
        }
        // The thread of the signs of life says more, if the ranks have met.
        std::thread::sleep(4 * LOOK);
        leave(1)
    };
    let started = std::thread::Builder::new().name("parent".into()).spawn(watch);
    started.map(drop).map_err(|error| Failure::Running(format!("a thread could not be started: {error}")))
}
