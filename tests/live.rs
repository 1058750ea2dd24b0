//! Changes of a run in progress: when they take effect, what is refused, and that no group is lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as gate};

use ::run::replay::{Comparison, Recording};
use ::run::{ArmHandle, ChangeError, RunArgs, RunHandle, RunOutcome};
use records::{Applied, ArmId, ArmState, Change, JournalEntry, OwnedRunDir, RunDir};
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use runtime::RunEvent;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::runs::{ByLength, lines, timeless};

mod alarms;
mod forks;
mod order;
mod refusals;
mod replays;
mod settings;

/// A GRPO arm with a random policy: two questions per step, two completions each, two tokens long.
const SCENARIO: &str = r#"
[run]
name = "test"
seeds = [3]
steps = 6
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 4
heldout_clips = 2

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 2

[supervision]
probe_timeout_seconds = 60

[rewards]
format = { kind = "format" }
noise = { kind = "by-length" }

[shaping]
formula = "format + w_noise * noise"
weights = { noise = 1.0 }

[eval]
at_start = false
every = 0
limit = 2

[checkpoint]
every = 2

# Random weights hardly vary in their rewards.
[limits]
action = "ignore"

[[arm]]
name = "a"
"#;

/// A reward that gives every completion the same score.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(default)]
struct Constant {
    value: f64,
}

impl Reward for Constant {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(vec![Some(self.value); batch.items.len()])
    }
}

pub(crate) fn registry() -> RewardRegistry {
    let mut registry = RewardRegistry::standard();
    registry.register("by-length", |_| Ok(Box::new(ByLength)));
    registry.register("constant", |options| {
        Ok(Box::new(rewards::read_options::<Constant>("constant", options)?))
    });
    registry
}

/// A run in progress and its first arm, `a` with seed 3.
pub(crate) struct Live {
    run: RunHandle,
    pub(crate) arm: ArmHandle,
    events: broadcast::Receiver<Arc<RunEvent>>,
    ended: JoinHandle<RunOutcome>,
    folder: tempfile::TempDir,
    stop: watch::Sender<bool>,
}

/// A run that has ended: the final state of arm `a` with seed 3, and its files.
pub(crate) struct FinishedRun {
    pub(crate) status: ArmState,
    folder: tempfile::TempDir,
}

impl Live {
    pub(crate) async fn start(scenario: &str, registry: RewardRegistry) -> Live {
        Live::start_in(tempfile::tempdir().unwrap(), scenario, registry, |_| {}).await
    }

    async fn start_in(
        folder: tempfile::TempDir,
        scenario: &str,
        registry: RewardRegistry,
        adapt: impl FnOnce(&mut RunArgs),
    ) -> Live {
        let path = folder.path().join("test.toml");
        std::fs::write(&path, scenario).unwrap();
        let run_dir = RunDir::new(folder.path().join("run"));
        std::fs::create_dir_all(run_dir.path()).unwrap();
        let mut args = RunArgs {
            experiment: scenarios::load(&path, &[], &[], None).unwrap(),
            run_dir: OwnedRunDir::claim(run_dir).unwrap(),
            registry: Arc::new(registry),
            resume: false,
            audio_source: None,
            controlled: true,
            replay: None,
            ranks: None,
        };
        adapt(&mut args);
        let (events, _) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let running = ::run::start(args, events, stopped).await.unwrap();
        let run = running.handle.clone();
        let arm = run.arm(&ArmId::new("a", 3)).unwrap();
        let events = run.subscribe();
        let ended = tokio::spawn(async move { running.end().await.unwrap() });
        Live { run, arm, events, ended, folder, stop }
    }

    /// Starts a run and pauses it before the first step.
    async fn start_paused(scenario: &str, registry: RewardRegistry) -> Live {
        let mut live = Live::start(scenario, registry).await;
        live.arm.pause("test", None).unwrap();
        assert_eq!(live.paused().await, 0);
        live
    }

    /// Waits for the first event for which `wanted` returns something.
    async fn wait_for<T>(&mut self, wanted: impl Fn(&RunEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv().await.unwrap();
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// Waits until the arm pauses and returns the number of completed steps.
    pub(crate) async fn paused(&mut self) -> u64 {
        self.wait_for(|event| match event {
            RunEvent::Paused { step, .. } => Some(*step),
            _ => None,
        })
        .await
    }

    /// Has the run stop after its present step.
    pub(crate) fn stop(&self) {
        self.stop.send(true).unwrap();
    }

    /// Waits until the run has ended.
    pub(crate) async fn end(self) -> FinishedRun {
        let outcome = self.ended.await.unwrap();
        FinishedRun { status: outcome.arms[0].state.clone(), folder: self.folder }
    }
}

impl FinishedRun {
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("run/a/seed-3")
    }

    pub(crate) fn metrics(&self) -> Vec<Value> {
        lines(&self.dir().join("metrics.jsonl"))
    }

    /// The completions of the training steps.
    fn rollouts(&self) -> Vec<Value> {
        let mut rollouts = lines(&self.dir().join("rollouts.jsonl"));
        rollouts.retain(|rollout| rollout["phase"] == "train");
        rollouts
    }

    fn journal(&self) -> Vec<JournalEntry> {
        RunDir::new(self.folder.path().join("run")).read_journal().unwrap()
    }

    /// Asserts that every dispatched group was either trained on or excluded, and that every completion is recorded.
    fn assert_adds_up(&self, steps: u64) {
        let status: Value =
            serde_json::from_slice(&std::fs::read(self.dir().join("status.json")).unwrap()).unwrap();
        let groups = &status["groups"];
        assert_eq!(groups["dispatched"].as_u64(), Some(2 * steps), "{groups}");
        let excluded: BTreeMap<String, u64> = serde_json::from_value(groups["excluded"].clone()).unwrap();
        assert_eq!(groups["trained"].as_u64().unwrap() + excluded.values().sum::<u64>(), 2 * steps);
        assert_eq!(self.rollouts().len() as u64, 4 * steps);
    }
}

fn weight(name: &str, value: f64) -> Change {
    Change { weights: [(name.to_owned(), value)].into(), ..Change::default() }
}

fn formula(text: &str) -> Change {
    Change { formula: Some(text.to_owned()), ..Change::default() }
}

fn reward(name: &str, spec: &str) -> Change {
    let spec = toml::from_str(spec).unwrap();
    Change { rewards: [(name.to_owned(), Some(spec))].into(), ..Change::default() }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_effect_at_a_boundary_and_every_rollout_records_its_version() {
    let mut live = Live::start_paused(SCENARIO, registry()).await;
    let first = live.arm.change(weight("noise", 0.5), "test").await.unwrap();
    assert_eq!(
        first,
        Applied { version: 1, step: 1 },
        "a paused arm applies a change at once, for the next step"
    );
    live.arm.step(2, "test").unwrap();
    assert_eq!(live.paused().await, 2);
    let second = live.arm.change(formula("w_noise * noise - 2 * format"), "test").await.unwrap();
    assert_eq!(second, Applied { version: 2, step: 3 });
    let view = live.arm.view();
    assert_eq!((view.state.name(), view.step), ("paused", 2));
    let conditions = view.conditions.unwrap();
    assert_eq!((conditions.version, conditions.weights["noise"]), (2, 0.5));
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished.assert_adds_up(6);
    for rollout in finished.rollouts() {
        let [format, noise] = ["format", "noise"].map(|name| number(&rollout["components"][name]));
        let (version, expected) = match rollout["step"].as_u64().unwrap() {
            1 | 2 => (1, format + 0.5 * noise),
            _ => (2, 0.5 * noise - 2.0 * format),
        };
        assert_eq!(
            (rollout["weights_version"].as_u64(), number(&rollout["reward"])),
            (Some(version), expected)
        );
    }
    assert!(finished.metrics().iter().all(|line| line["weights"] == serde_json::json!({ "noise": 0.5 })));
    let journal = finished.journal();
    let changes: Vec<&JournalEntry> = journal.iter().filter(|entry| entry.change.is_some()).collect();
    assert_eq!(changes[0].from, Some(serde_json::json!({ "weights": { "noise": 1.0 } })));
    assert_eq!(changes[1].from, Some(serde_json::json!({ "formula": "format + w_noise * noise" })));
    assert_eq!((changes[1].version, changes[1].step, &*changes[1].by), (2, 3, "test"));
    let actions: Vec<Value> = journal.iter().map(|entry| serde_json::json!(entry.action)).collect();
    assert_eq!(actions, ["pause", "change", "step", "change", "resume"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_can_replace_the_formula_and_the_rewards_it_uses() {
    let mut live = Live::start_paused(SCENARIO, registry()).await;
    let used = live
        .arm
        .change(Change { rewards: [("noise".into(), None)].into(), ..Change::default() }, "test")
        .await;
    assert_eq!(
        used.unwrap_err().to_string(),
        "`noise` can't be removed, because the formula `format + w_noise * noise` uses it; give a formula without it in \
         the same change"
    );
    let change = Change {
        weights: [("bonus".into(), 3.0)].into(),
        formula: Some("format + w_bonus * bonus".into()),
        rewards: [
            ("noise".into(), None),
            ("bonus".into(), Some(toml::from_str("kind = \"constant\"\nvalue = 2.0").unwrap())),
        ]
        .into(),
        ..Change::default()
    };
    live.arm.check(&change).unwrap();
    assert_eq!(live.arm.change(change, "test").await.unwrap().version, 1);
    live.arm.step(1, "test").unwrap();
    live.paused().await;
    let names = |live: &Live| live.arm.view().conditions.unwrap().rewards.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&live), ["bonus", "format"]);
    live.arm.stop("test").await.unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Stopped);
    for rollout in finished.rollouts() {
        let format = number(&rollout["components"]["format"]);
        assert_eq!(number(&rollout["reward"]), format + 6.0);
        assert!(rollout["components"].get("noise").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_progress_is_scored_by_the_reward_it_started_with() {
    /// A reward that blocks in step 2 until it is released.
    struct Gated {
        reached: Arc<AtomicBool>,
        released: Arc<Mutex<gate::Receiver<()>>>,
    }
    impl Reward for Gated {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            if batch.step == 2 {
                self.reached.store(true, Ordering::SeqCst);
                self.released.lock().unwrap().recv().unwrap();
            }
            Ok(vec![Some(-1.0); batch.items.len()])
        }
    }
    let (reached, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (release, released) = gate::channel();
    let released = Arc::new(Mutex::new(released));
    let mut registry = registry();
    registry.register("gated", {
        let reached = reached.clone();
        move |_| Ok(Box::new(Gated { reached: reached.clone(), released: released.clone() }))
    });
    registry.register("counted", {
        let opened = opened.clone();
        move |_| {
            opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Constant { value: 7.0 }))
        }
    });
    let live = Live::start(&SCENARIO.replace("by-length", "gated"), registry).await;
    while !reached.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let swapping = tokio::spawn({
        let arm = live.arm.clone();
        async move { arm.change(reward("noise", "kind = \"counted\""), "test").await }
    });
    while opened.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!swapping.is_finished(), "the step in progress still uses the old reward");
    release.send(()).unwrap();
    let applied = swapping.await.unwrap().unwrap();
    assert!(applied.version == 1 && applied.step >= 3, "{applied:?}");
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished.assert_adds_up(6);
    for rollout in finished.rollouts() {
        let swapped = rollout["step"].as_u64().unwrap() >= applied.step;
        let expected = if swapped { (1, 7.0) } else { (0, -1.0) };
        let found = (rollout["weights_version"].as_u64().unwrap(), number(&rollout["components"]["noise"]));
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_concurrent_changes_lose_no_group_and_never_mix_versions() {
    const TASKS: usize = 8;
    const EACH: usize = 125;
    let scenario = SCENARIO.replace("steps = 6", "steps = 1000000");
    let mut live = Live::start(&scenario.replace("by-length", "constant"), registry()).await;
    live.wait_for(|event| matches!(event, RunEvent::StepDone { .. }).then_some(())).await;
    let mut tasks = Vec::new();
    for task in 0..2 * TASKS {
        let arm = live.arm.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..EACH {
                // Every value is used only once, so it identifies the change.
                let value = 1.0 + (task * EACH + number) as f64;
                let change = if task < TASKS {
                    reward("noise", &format!("kind = \"constant\"\nvalue = {value:?}"))
                } else {
                    weight("noise", value)
                };
                arm.change(change, "test").await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let generation = live.arm.view().conditions.unwrap().rewards["noise"].generation;
    assert_eq!(generation, 1 + (TASKS * EACH) as u64);
    live.arm.stop("test").await.unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Stopped);

    // By version, according to the journal: the reward's score and its weight.
    let mut versions = vec![(0.0, 1.0)];
    let mut steps = vec![1];
    let mut journal: Vec<JournalEntry> = finished.journal();
    journal.retain(|entry| entry.change.is_some());
    assert_eq!(journal.len(), 2 * TASKS * EACH);
    for (place, entry) in journal.iter().enumerate() {
        assert_eq!(entry.version, place as u64 + 1);
        let change = entry.change.as_ref().unwrap();
        let (score, weight) = *versions.last().unwrap();
        versions.push(match (change.weights.get("noise"), change.rewards.get("noise")) {
            (Some(weight), None) => (score, *weight),
            (None, Some(Some(spec))) => (spec.options["value"].as_float().unwrap(), weight),
            _ => panic!("{entry:?}"),
        });
        steps.push(entry.step);
    }
    let taken = finished.metrics().len() as u64;
    finished.assert_adds_up(taken);
    assert!(taken >= EACH as u64, "each task waits for a boundary with every change");
    for rollout in finished.rollouts() {
        let version = rollout["weights_version"].as_u64().unwrap() as usize;
        let (score, weight) = versions[version];
        assert_eq!(number(&rollout["components"]["noise"]), score);
        assert_eq!(number(&rollout["reward"]), number(&rollout["components"]["format"]) + weight * score);
        // A step uses the newest version that was in force when it started.
        let step = rollout["step"].as_u64().unwrap();
        assert_eq!(version, steps.partition_point(|first| *first <= step) - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_can_be_stopped_alone_and_an_ended_arm_refuses_commands() {
    let mut live = Live::start_paused(SCENARIO, registry()).await;
    let folder = live.arm.checkpoint("test").await.unwrap();
    assert!(folder.ends_with("checkpoints/step-000000") && folder.join("model.safetensors").is_file());
    live.arm.stop("test").await.unwrap();
    live.wait_for(|event| matches!(event, RunEvent::ArmEnded { .. }).then_some(())).await;
    let ended = "arm `a` (seed 3) has ended";
    assert!(live.arm.change(weight("noise", 2.0), "test").await.unwrap_err().to_string().contains(ended));
    assert!(live.arm.pause("test", None).unwrap_err().to_string().contains(ended));
    assert!(live.arm.checkpoint("test").await.unwrap_err().to_string().contains(ended));
    assert_eq!(live.arm.view().state, ArmState::Stopped);
    let (run, stop) = (live.run.clone(), live.stop.clone());
    let finished = live.end().await;
    assert_eq!((finished.status.clone(), *stop.borrow()), (ArmState::Stopped, false));
    assert!(run.has_ended());
    assert_eq!(run.journal().len(), finished.journal().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_that_is_changed_before_it_starts_uses_the_change_from_step_1() {
    let scenario = SCENARIO.replace("seeds = [3]", "seeds = [3, 4]\nparallel_arms = 1");
    let live = Live::start_paused(&scenario, registry()).await;
    let waiting = live.run.arm(&ArmId::new("a", 4)).unwrap();
    assert_eq!(waiting.view().state, ArmState::Planned);
    let change = Change {
        weights: [("noise".into(), 2.0)].into(),
        ..reward("noise", "kind = \"constant\"\nvalue = 5.0")
    };
    assert_eq!(waiting.change(change, "test").await.unwrap(), Applied { version: 1, step: 1 });
    live.arm.stop("test").await.unwrap();
    let outcome = live.ended.await.unwrap();
    assert_eq!(outcome.arms[1].state, ArmState::Done);
    let rollouts = lines(&live.folder.path().join("run/a/seed-4/rollouts.jsonl"));
    let trained: Vec<&Value> = rollouts.iter().filter(|rollout| rollout["phase"] == "train").collect();
    assert_eq!(trained.len(), 24);
    for rollout in trained {
        assert_eq!(number(&rollout["reward"]), number(&rollout["components"]["format"]) + 10.0);
        assert_eq!(rollout["weights_version"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_continues_under_the_changed_conditions() {
    let change_at_two = async |live: &mut Live| {
        live.arm.step(2, "test").unwrap();
        live.paused().await;
        live.arm.change(reward("noise", "kind = \"constant\"\nvalue = 2.0"), "test").await.unwrap();
        live.arm.change(weight("noise", 0.1), "test").await.unwrap();
        live.arm.step(1, "test").unwrap();
        live.paused().await;
        live.arm.change(formula("format - w_noise * noise"), "test").await.unwrap();
    };
    let mut live = Live::start_paused(SCENARIO, registry()).await;
    change_at_two(&mut live).await;
    live.arm.resume("test").unwrap();
    let whole = live.end().await;

    let mut live = Live::start_paused(SCENARIO, registry()).await;
    change_at_two(&mut live).await;
    // The last change is newer than any checkpoint, so only the journal has it.
    live.stop.send_replace(true);
    let stopped = live.end().await;
    assert_eq!((stopped.status.clone(), stopped.metrics().len()), (ArmState::Stopped, 3));
    let changes =
        |finished: &FinishedRun| finished.journal().iter().filter(|entry| entry.change.is_some()).count();
    let before = changes(&stopped);
    let live = Live::start_in(stopped.folder, SCENARIO, registry(), |args| args.resume = true).await;
    let resumed = live.end().await;
    assert_eq!(resumed.status, ArmState::Done);
    assert_eq!(changes(&resumed), before, "resuming applies no change a second time");
    assert_eq!(timeless(&resumed.dir().join("metrics.jsonl")), timeless(&whole.dir().join("metrics.jsonl")));
    assert_eq!(resumed.rollouts(), whole.rollouts());
    assert_eq!(resumed.metrics().last().unwrap()["weights_version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_follows_its_schedule_until_a_change_replaces_it() {
    let scenario = SCENARIO.replace("noise = 1.0", "noise = { schedule = [[0, 0.0], [4, 2.0]] }");
    let mut live = Live::start_paused(&scenario, registry()).await;
    live.arm.step(3, "test").unwrap();
    live.paused().await;
    let view = live.arm.view().conditions.unwrap();
    assert_eq!((view.weights["noise"], view.schedules.len()), (2.0, 1), "the weight of the next step");
    live.arm.change(weight("noise", 0.25), "test").await.unwrap();
    assert!(live.arm.view().conditions.unwrap().schedules.is_empty());
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    let weights: Vec<f64> = finished.metrics().iter().map(|line| number(&line["weights"]["noise"])).collect();
    assert_eq!(weights, [0.5, 1.0, 1.5, 0.25, 0.25, 0.25]);
    for rollout in finished.rollouts() {
        let step = rollout["step"].as_u64().unwrap() as usize;
        let [format, noise] = ["format", "noise"].map(|name| number(&rollout["components"][name]));
        assert_eq!(number(&rollout["reward"]), format + weights[step - 1] * noise);
        assert_eq!(rollout["weights_version"], u64::from(step > 3));
    }
    let from = finished.journal().into_iter().find_map(|entry| entry.from).unwrap();
    assert_eq!(from["weights"]["noise"]["schedule"], serde_json::json!([[0, 0.0], [4, 2.0]]));
}

/// Prints how long changes delay steps at their boundary: `cargo nextest run
/// longest_delay --run-ignored only --no-capture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for docs/log.md"]
async fn longest_delay_of_a_step_by_a_swap() {
    let mut live = Live::start(&SCENARIO.replace("steps = 6", "steps = 1000000"), registry()).await;
    live.wait_for(|event| matches!(event, RunEvent::StepDone { .. }).then_some(())).await;
    for number in 0..1000 {
        let change = reward("noise", &format!("kind = \"constant\"\nvalue = {number}.5"));
        live.arm.change(change, "test").await.unwrap();
    }
    live.arm.stop("test").await.unwrap();
    let finished = live.end().await;
    let swapped: std::collections::BTreeSet<u64> =
        finished.journal().iter().map(|entry| entry.step).collect();
    for (what, with) in [("a swap", true), ("none", false)] {
        let mut delays: Vec<f64> = finished
            .metrics()
            .iter()
            .filter(|line| swapped.contains(&line["step"].as_u64().unwrap()) == with)
            .map(|line| number(&line["boundary_seconds"]) * 1e3)
            .collect();
        delays.sort_by(f64::total_cmp);
        let Some(longest) = delays.last() else { continue };
        let median = delays[delays.len() / 2];
        println!("{} boundaries with {what}: median {median:.4} ms, longest {longest:.4} ms", delays.len());
    }
}
