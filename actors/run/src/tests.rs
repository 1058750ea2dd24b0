//! Random histories of changes, pauses, checkpoints, kills and resumes, compared with a reference model (ORDER-1).
//!
//! Each history is drawn from its number. It runs the real conductor, journal, recorder, conditions and checkpoints on an
//! arm whose model is a script, so that a history takes some milliseconds. `HISTORIES` sets how many are tried (default
//! 200), `HISTORY` is the number of the only one, or of the first.

/// Makes a [`Fault`] of a text like `format!`'s.
macro_rules! fault {
    ($($text:tt)*) => { Fault(format!($($text)*)) };
}

mod alarms;
mod history;
mod model;
mod scripted;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use records::{Applied, ArmState, CheckpointState};
use scenarios::RewardSpec;
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};

use self::history::{Op, Pick, draw_history};
use self::model::{Edit, Model, Now};
use self::scripted::Scripted;
use self::world::{STEPS, World, change_of, edit_of, formula};
use crate::live::{ChangeError, Requires};
use crate::replay::Recording;
use crate::{ArmHandle, RunHandle};

type Asked = JoinHandle<Result<Applied, ChangeError>>;

async fn answer_to(asked: Asked) -> Result<Result<Applied, ChangeError>, Fault> {
    let answer = tokio::time::timeout(Duration::from_secs(60), asked).await;
    let answer = answer.map_err(|_| fault!("hung: a change was not answered"))?;
    answer.map_err(|error| fault!("{error}"))
}

/// How a history differs from the model.
#[derive(Debug)]
struct Fault(String);

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Fault(text)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of the process: until it is killed or the arm has ended.
struct Life<'a> {
    world: &'a World,
    model: &'a mut Model,
    run: RunHandle,
    arm: ArmHandle,
    recorder: ractor::ActorCell,
    scripted: Option<Scripted>,
    resumed: bool,
}

impl Life<'_> {
    fn ask(&self, pick: Pick) -> (Edit, Asked) {
        let (edit, requires) = edit_of(pick, &self.model.latest());
        let (arm, change) = (self.arm.0.clone(), change_of(&edit));
        (edit, tokio::spawn(async move { arm.change(change, "test".into(), requires).await }))
    }

    /// Takes in the answer to a change that fits.
    fn answered(&mut self, edit: Edit, answer: Result<Applied, ChangeError>) -> Result<(), Fault> {
        match answer {
            Ok(Applied { version, .. }) if self.model.knows(version) => {
                Err(fault!("version {version} was given twice"))
            }
            Ok(Applied { version, step }) => {
                self.model.change(version, step, edit);
                Ok(())
            }
            Err(ChangeError::Ended { .. }) => Ok(()),
            Err(error) => Err(fault!("{edit:?} was refused: {error}")),
        }
    }

    fn ended(&self) -> bool {
        self.arm.view().state.has_ended()
    }

    async fn until(&self, what: &str, reached: impl Fn(&ArmState) -> bool) -> Result<(), Fault> {
        for _ in 0..5_000_000 {
            if reached(&self.arm.view().state) {
                return Ok(());
            }
            yield_now().await;
        }
        Err(fault!("hung: the arm is {:?} and was to become {what}", self.arm.view().state))
    }

    async fn until_paused(&self) -> Result<(), Fault> {
        if self.scripted.is_none() {
            return Ok(());
        }
        self.until("paused", |state| matches!(state, ArmState::Paused { .. }) || state.has_ended()).await
    }

    /// Lets the arm take its last step, whatever it paused for.
    async fn finish(&self) -> Result<(), Fault> {
        for moment in 0..5_000_000 {
            match self.arm.view().state {
                state if state.has_ended() => return Ok(()),
                // An arm that ends meanwhile needs no resume.
                ArmState::Paused { .. } if moment % 1000 == 0 => drop(self.arm.resume("test")),
                _ => yield_now().await,
            }
        }
        Err(fault!("hung: the arm is {:?}", self.arm.view().state))
    }

    async fn start(&mut self) -> Result<(), Fault> {
        if self.scripted.is_none() {
            let started = Scripted::start(&self.run, &self.arm.0, self.resumed).await;
            self.scripted = Some(started.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Carries out an operation; returns the changes in flight if it was a kill.
    async fn carry_out(&mut self, op: &Op) -> Result<Option<Vec<Edit>>, Fault> {
        // The arm may end meanwhile; that an order is then refused is no fault.
        let _ = match op {
            Op::Start => return self.start().await.map(|()| None),
            Op::Change(pick) => {
                let (edit, asked) = self.ask(*pick);
                let answer = answer_to(asked).await?;
                return self.answered(edit, answer).map(|()| None);
            }
            Op::Together(one, other) => {
                let asked = [self.ask(*one), self.ask(*other)];
                for (edit, asked) in asked {
                    let answer = answer_to(asked).await?;
                    self.answered(edit, answer)?;
                }
                return Ok(None);
            }
            Op::Stale(pick) => return self.refuse_stale(*pick).await.map(|()| None),
            Op::AddTaken => return self.refuse_taken().await.map(|()| None),
            Op::Pause => self.arm.pause("test", None),
            Op::Resume => self.arm.resume("test"),
            Op::Steps(steps) => {
                let ordered = self.arm.step(*steps, "test");
                self.until_paused().await?;
                ordered
            }
            Op::Checkpoint => self.arm.checkpoint("test").await.map(drop),
            Op::Break => {
                self.scripted.iter().for_each(Scripted::break_loader);
                Ok(())
            }
            Op::Run(moments) => {
                for _ in 0..*moments {
                    yield_now().await;
                }
                Ok(())
            }
            Op::Kill { during, after, torn } => {
                return self.kill(during, *after, *torn).await.map(Some);
            }
        };
        Ok(None)
    }

    async fn refuse_stale(&mut self, pick: Pick) -> Result<(), Fault> {
        let latest = self.model.latest();
        let (edit, mut requires) = edit_of(pick, &latest);
        // Without an earlier version to be stale, one that never was.
        let known = latest.version.checked_sub(1).unwrap_or(7);
        requires.version = Some(known);
        match self.arm.change_if(change_of(&edit), "test", requires).await {
            Err(ChangeError::Stale { newest, changes, .. }) if newest == latest.version => {
                let told: Vec<u64> = changes.iter().map(|change| change.version).collect();
                let expected = if known > newest { Vec::new() } else { vec![newest] };
                if told == expected { Ok(()) } else { Err(fault!("told of {told:?} after {known}")) }
            }
            Err(ChangeError::Ended { .. }) => Ok(()),
            other => Err(fault!("a change from version {known} of {}: {other:?}", latest.version)),
        }
    }

    async fn refuse_taken(&mut self) -> Result<(), Fault> {
        for name in self.model.latest().rewards.keys() {
            let edit = Edit { rewards: [(name.clone(), Some(1.0))].into(), ..Edit::default() };
            let requires = Requires { added: [name.clone()].into(), ..Requires::default() };
            match self.arm.change_if(change_of(&edit), "test", requires).await {
                Err(ChangeError::Exists { .. } | ChangeError::Ended { .. }) => {}
                other => return Err(fault!("`{name}` was added again: {other:?}")),
            }
        }
        Ok(())
    }

    async fn kill(&mut self, during: &[Pick], after: u32, torn: bool) -> Result<Vec<Edit>, Fault> {
        let asked: Vec<(Edit, Asked)> = during.iter().map(|pick| self.ask(*pick)).collect();
        for _ in 0..after {
            yield_now().await;
        }
        // First the recorder, so that nothing more is written.
        self.recorder.kill();
        while self.recorder.get_status() != ractor::ActorStatus::Stopped {
            yield_now().await;
        }
        let mut in_flight = Vec::new();
        for (edit, asked) in asked {
            if asked.is_finished() {
                self.answered(edit, answer_to(asked).await?)?;
            } else {
                asked.abort();
                in_flight.push(edit);
            }
        }
        if let Some(scripted) = self.scripted.take() {
            scripted.kill().await;
        }
        if torn {
            let dir = self.world.run_dir("run");
            for file in [dir.journal(), dir.arm(&self.world.id).metrics()] {
                if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(file) {
                    file.write_all(b"{\"format_version\":1,\"ti").unwrap();
                }
            }
        }
        Ok(in_flight)
    }
}

fn same(found: &records::ConditionsRecord, expected: &Now) -> Result<(), Fault> {
    let value = |spec: &RewardSpec| spec.options.get("value").and_then(toml::Value::as_float);
    let rewards: BTreeMap<String, f64> =
        found.rewards.iter().map(|(name, spec)| (name.clone(), value(spec).unwrap_or_default())).collect();
    let weights = found.weights.iter().map(|(name, weight)| (name.clone(), weight.at(1))).collect();
    let (version, formula) = (found.version, found.formula.clone());
    let found = Now { version, weights, formula, rewards };
    if found == *expected { Ok(()) } else { Err(fault!("found {found:?}\nexpected {expected:?}")) }
}

/// Compares the journal with what was acknowledged, and takes in what was not but is in the journal.
fn read_journal(world: &World, model: &mut Model, mut in_flight: Vec<Edit>) -> Result<(), Fault> {
    let mut journaled = BTreeSet::new();
    for line in world.lines(&world.run_dir("run").journal()) {
        if line["action"] != "change" {
            continue;
        }
        let (version, step) = (line["version"].as_u64().unwrap(), line["step"].as_u64().unwrap());
        if !model.knows(version) {
            let asked = in_flight.iter().position(|edit| json!(change_of(edit)) == line["change"]);
            let asked = asked.ok_or_else(|| format!("the journal has {line}, which nobody asked for"))?;
            model.change(version, step, in_flight.remove(asked));
        } else if !journaled.insert(version) {
            model.retake(version, step);
        }
        journaled.insert(version);
    }
    match model.versions().into_iter().find(|version| !journaled.contains(version)) {
        Some(lost) => Err(fault!("version {lost} was acknowledged and is not in the journal")),
        None => Ok(()),
    }
}

/// Compares the rows of all steps, and the last checkpoint, with the model.
fn check_records(world: &World, model: &Model) -> Result<(), Fault> {
    let dir = world.run_dir("run").arm(&world.id);
    let rows = world.lines(&dir.metrics());
    let steps: Vec<u64> = rows.iter().map(|row| row["step"].as_u64().unwrap()).collect();
    if steps != (1..=STEPS).collect::<Vec<_>>() {
        return Err(fault!("the steps on record are {steps:?}"));
    }
    for (step, row) in (1..).zip(&rows) {
        let now = model.at(step);
        let mean = |name: &str| row["components"][name].as_f64().unwrap_or(f64::NAN);
        let factor: f64 = now.formula.split(' ').next().unwrap().parse().unwrap();
        let extras = now.rewards.iter().filter(|(name, _)| !["noise", "bonus"].contains(&name.as_str()));
        let reward = factor * now.rewards["bonus"]
            + now.weights["noise"] * mean("noise")
            + extras.map(|(_, value)| value).sum::<f64>();
        let components: Vec<&String> = row["components"].as_object().unwrap().keys().collect();
        let right = row["weights_version"] == now.version
            && row["weights"] == json!(now.weights)
            && components == now.rewards.keys().collect::<Vec<_>>()
            && (row["reward"].as_f64().unwrap() - reward).abs() < 1e-9;
        if !right {
            return Err(fault!("step {step} is {row}\nexpected {now:?} with the reward {reward}"));
        }
    }
    let rollouts = world.lines(&dir.rollouts()).len() as u64;
    if rollouts != 2 * STEPS {
        return Err(fault!("{rollouts} completions on record"));
    }
    let newest = CheckpointState::newest(&dir).map_err(|error| error.to_string())?;
    let newest = newest.ok_or_else(|| fault!("no checkpoint at the end"))?;
    let kept = newest.conditions.ok_or_else(|| fault!("a checkpoint without conditions"))?;
    same(&kept, &model.at(newest.progress.step + 1)).map_err(|problem| fault!("the checkpoint: {problem}"))
}

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(future);
    // What a killed process had begun goes no further.
    runtime.shutdown_background();
    done
}

/// One life; whether the arm has ended, and the changes in flight at a kill.
async fn live(
    world: &World,
    model: &mut Model,
    ops: &mut VecDeque<Op>,
    resumed: bool,
) -> Result<(bool, Vec<Edit>), Fault> {
    let run = world.open("run", resumed, None)?;
    let arm = run.arm(&world.id).unwrap();
    let (recorder, _owned) = Scripted::recorder(&run).await;
    let latest = arm.latest().map_err(|error| error.to_string())?;
    same(&latest, &model.latest()).map_err(|problem| format!("after the resume: {problem}"))?;
    let mut life = Life { world, model, run, arm, recorder, scripted: None, resumed };
    while let Some(op) = ops.pop_front() {
        if let Some(in_flight) = life.carry_out(&op).await? {
            return Ok((false, in_flight));
        }
        if !life.ended() {
            let latest = life.arm.latest().map_err(|error| error.to_string());
            // The arm may have ended in between.
            if let Ok(latest) = latest {
                same(&latest, &life.model.latest()).map_err(|problem| format!("after {op:?}: {problem}"))?;
            }
        }
    }
    life.start().await?;
    life.finish().await?;
    let state = life.arm.view().state;
    if let Some(scripted) = life.scripted.take() {
        scripted.kill().await;
    }
    match state {
        ArmState::Done => Ok((true, Vec::new())),
        state => Err(fault!("the arm ended as {state:?}")),
    }
}

async fn replay(world: &World) -> Result<(), Fault> {
    let mut experiment = world.experiment.clone();
    let recording =
        Recording::open(&world.run_dir("run"), &mut experiment).map_err(|error| error.to_string())?;
    let run = world.open("again", false, Some(recording.replay.clone()))?;
    let (recorder, _owned) = Scripted::recorder(&run).await;
    let arm = run.arm(&world.id).unwrap();
    let scripted = Scripted::start(&run, &arm.0, false).await.map_err(|error| error.to_string())?;
    while !arm.view().state.has_ended() {
        yield_now().await;
    }
    scripted.kill().await;
    recorder.kill();
    let compared =
        recording.compare(&world.run_dir("again"), &experiment).map_err(|error| error.to_string())?;
    match compared.iter().find(|arm| arm.difference.is_some()) {
        Some(differs) => Err(fault!("the replay: {differs}")),
        None => Ok(()),
    }
}

fn run_history(arm: &str, number: u64, ops: &[Op]) -> Result<(), Fault> {
    let world = World::new(arm, &mut StdRng::seed_from_u64(number ^ 0x5eed));
    let start = Now {
        version: 0,
        weights: [("noise".to_owned(), 1.0)].into(),
        formula: formula(1, &BTreeSet::new()),
        // The value of a reward that is not a constant is not looked at.
        rewards: [("noise".to_owned(), 0.0), ("bonus".to_owned(), 1.0)].into(),
    };
    let mut model = Model::new(start);
    let mut ops: VecDeque<Op> = ops.iter().cloned().collect();
    let mut resumed = false;
    loop {
        let (ended, in_flight) = in_runtime(live(&world, &mut model, &mut ops, resumed))?;
        read_journal(&world, &mut model, in_flight)?;
        if ended {
            break;
        }
        resumed = true;
    }
    check_records(&world, &model)?;
    // Which weights a step is sampled from depends on the time if steps overlap.
    if world.staleness == 0 { in_runtime(replay(&world)) } else { Ok(()) }
}

/// What is wrong with a history; a panic is wrong too.
fn fault_of(arm: &str, number: u64, ops: &[Op]) -> Option<String> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| run_history(arm, number, ops))) {
        Ok(result) => result.err().map(|fault| fault.0),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default())
        }
    }
}

/// Leaves out what is not needed for a fault.
fn shrink(arm: &str, number: u64, mut ops: Vec<Op>, mut fault: String) -> (Vec<Op>, String) {
    let mut place = 0;
    while place < ops.len() {
        let mut fewer = ops.clone();
        fewer.remove(place);
        match fault_of(arm, number, &fewer) {
            Some(other) => (ops, fault) = (fewer, other),
            None => place += 1,
        }
    }
    (ops, fault)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// ORDER-1.
#[test]
fn random_histories_agree_with_the_reference_model() {
    let first = variable("HISTORY");
    let count = variable("HISTORIES").unwrap_or(if first.is_some() { 1 } else { 200 });
    let first = first.unwrap_or(0);
    let threads = if count > 1000 { 2 } else { 1 };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let arm = format!("a{thread}");
                for number in (first + thread..first + count).step_by(threads as usize) {
                    let ops = draw_history(&mut StdRng::seed_from_u64(number));
                    if let Some(fault) = fault_of(&arm, number, &ops) {
                        let (ops, fault) = shrink(&arm, number, ops, fault);
                        panic!("history {number} (repeat it with HISTORY={number}):\n{ops:#?}\n{fault}");
                    }
                }
            });
        }
    });
}
