//! The part of a campaign that watches: it divides the inputs among child processes and collects what they find.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{Finding, FindingKind, Mutator, Target, scratch};

/// Inputs of one child. A child starts in a fraction of a second, and its memory is given back at its end.
const BATCH: u64 = 50_000;

/// How often the parent looks at a child.
const LOOK: Duration = Duration::from_millis(50);

/// An input is hung after this many limits.
const HUNG_AFTER: u32 = 10;

/// A target stops after this many findings: more of them are the same mistake.
const MOST_FINDINGS: usize = 200;

/// What a campaign runs.
pub struct Campaign {
    /// Inputs of each target.
    pub inputs: u64,
    /// Determines every input.
    pub seed: u64,
    /// Children at the same time.
    pub jobs: usize,
    /// Longest time of one input.
    pub limit: Duration,
    /// The folder that inputs are written to which fail.
    pub findings: PathBuf,
}

/// The result of one target.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Inputs that were fed.
    pub inputs: u64,
    /// The time of its children, added up.
    pub seconds: f64,
    /// Its findings.
    pub findings: Vec<Finding>,
}

/// A range of inputs that waits for a child.
struct Batch {
    target: Target,
    from: u64,
    to: u64,
}

impl Campaign {
    /// Runs the targets; the outcome of each by its name.
    ///
    /// # Errors
    /// A child cannot be started, or a file not be written.
    pub fn run(&self, targets: &[Target]) -> io::Result<BTreeMap<&'static str, Outcome>> {
        let queue = Mutex::new(self.batches(targets));
        let outcomes = Mutex::new(BTreeMap::<&'static str, Outcome>::new());
        let work = || -> io::Result<()> {
            loop {
                let Some(batch) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else {
                    return Ok(());
                };
                let found = |name| {
                    outcomes.lock().ok().map_or(0, |all| all.get(name).map_or(0, |one| one.findings.len()))
                };
                if found(batch.target.name) >= MOST_FINDINGS {
                    continue;
                }
                let (outcome, rest) = self.run_batch(&batch)?;
                self.keep(&batch.target, &outcome.findings)?;
                if let Ok(mut outcomes) = outcomes.lock() {
                    let sum = outcomes.entry(batch.target.name).or_default();
                    sum.inputs += outcome.inputs;
                    sum.seconds += outcome.seconds;
                    sum.findings.extend(outcome.findings);
                }
                if let (Some(rest), Ok(mut queue)) = (rest, queue.lock()) {
                    queue.push_front(rest);
                }
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })?;
        Ok(outcomes.into_inner().expect("no worker panicked"))
    }

    /// The batches of all targets, in turn, so that each target has begun before the first is done.
    fn batches(&self, targets: &[Target]) -> VecDeque<Batch> {
        let mut queue = VecDeque::new();
        let mut from = 0;
        while from < self.inputs {
            let to = (from + BATCH).min(self.inputs);
            queue.extend(targets.iter().map(|&target| Batch { target, from, to }));
            from = to;
        }
        queue
    }

    /// Runs one batch in a child. If the child dies or hangs, the rest of the batch is returned.
    fn run_batch(&self, batch: &Batch) -> io::Result<(Outcome, Option<Batch>)> {
        let begin = Instant::now();
        let progress = tempfile::NamedTempFile::new()?;
        let mut child = self.start(batch, progress.path())?;
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let (status, hung) = self.watch(&mut child, progress.path())?;
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        scratch::remove_of(child.id());
        let mut outcome = Outcome { seconds: begin.elapsed().as_secs_f64(), ..Outcome::default() };
        outcome.findings = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if status.success() && !hung {
            outcome.inputs = batch.to - batch.from;
            return Ok((outcome, None));
        }
        let index = number(progress.path()).unwrap_or(batch.from).max(batch.from);
        let (kind, detail) = match hung {
            true => (FindingKind::Hung, format!("not done after {:?}", self.limit * HUNG_AFTER)),
            false => cause(status, &stderr),
        };
        outcome.findings.push(Finding { kind, index, detail });
        outcome.inputs = index + 1 - batch.from;
        let rest = Batch { target: batch.target, from: index + 1, to: batch.to };
        Ok((outcome, (rest.from < rest.to).then_some(rest)))
    }

    fn start(&self, batch: &Batch, progress: &Path) -> io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .args(["--target", batch.target.name, "--seed", &self.seed.to_string()])
            .args(["--limit-ms", &self.limit.as_millis().to_string()])
            .args(["--range", &format!("{}..{}", batch.from, batch.to)])
            .arg("--progress")
            .arg(progress)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Waits for a child; kills it if it does not get past an input.
    fn watch(&self, child: &mut Child, progress: &Path) -> io::Result<(ExitStatus, bool)> {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status, false));
            }
            let now = number(progress);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            // Before the first number the child loads its libraries.
            let patience = if now.is_some() { self.limit * HUNG_AFTER } else { Duration::from_secs(120) };
            if since.elapsed() > patience {
                child.kill()?;
                return Ok((child.wait()?, true));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Writes the inputs of the findings, so that they can be repeated with `--input`.
    fn keep(&self, target: &Target, findings: &[Finding]) -> io::Result<()> {
        if findings.is_empty() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.findings)?;
        let mutator = Mutator::new(target, target.seeds(), self.seed);
        for finding in findings {
            let name = format!("{}-{}-{}-{}", target.name, finding.kind.name(), self.seed, finding.index);
            std::fs::write(self.findings.join(format!("{name}.in")), mutator.input(finding.index))?;
            std::fs::write(self.findings.join(format!("{name}.txt")), format!("{}\n", finding.detail))?;
        }
        Ok(())
    }
}

/// Reads a stream to its end on a thread of its own, so that the child never waits for its reader.
fn collect(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn number(progress: &Path) -> Option<u64> {
    Some(u64::from_le_bytes(std::fs::read(progress).ok()?.try_into().ok()?))
}

/// Why a child ended, by its status and its last words.
fn cause(status: ExitStatus, stderr: &str) -> (FindingKind, String) {
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    if stderr.contains("memory allocation of") {
        return (FindingKind::Memory, last.to_owned());
    }
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit {code}"),
        (None, None) => "ended".to_owned(),
    };
    (FindingKind::Died, format!("{how}: {last}"))
}
