//! Whole runs of a tiny random policy: what they record, how they handle failures, and that a seed determines them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::run::{RunArgs, RunError, RunOutcome};
use audio::{Downmix, FeatureExtractor, Hearing};
use records::{ArmState, OwnedRunDir, RunDir};
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use runtime::RunEvent;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use workers::{AudioSource, Clip, ClipError, ClipRequest};

/// A GRPO arm with a random policy: groups of 3, two prompts per step, and a data set of a few clips.
pub(crate) const SCENARIO: &str = r#"
[run]
name = "test"
seeds = [3]
steps = 6
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 6
heldout_clips = 3

[sampling]
group_size = 3
prompts_per_step = 2
max_new_tokens = 6

[rewards]
format = { kind = "format" }
noise = { kind = "by-length" }

[shaping]
formula = "format + noise"

[eval]
every = 3
limit = 4

[checkpoint]
every = 2

[[arm]]
name = "a"
"#;

/// A reward that scores by length, so that the rewards of a group differ.
pub(crate) struct ByLength;

impl Reward for ByLength {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(item.completion.len() as f64)).collect())
    }
}

pub(crate) fn registry() -> RewardRegistry {
    let mut registry = RewardRegistry::standard();
    registry.register("by-length", |_| Ok(Box::new(ByLength)));
    registry
}

/// A run that has ended, with its warnings and its files.
pub(crate) struct Ran {
    pub(crate) outcome: Result<RunOutcome, RunError>,
    pub(crate) warnings: Vec<String>,
    pub(crate) folder: tempfile::TempDir,
}

impl Ran {
    fn arm_dir(&self) -> PathBuf {
        self.folder.path().join("run/a/seed-3")
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        lines(&self.arm_dir().join(file))
    }

    pub(crate) fn timeless(&self, file: &str) -> Vec<Value> {
        timeless(&self.arm_dir().join(file))
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.arm_dir().join("status.json")).unwrap()).unwrap()
    }

    pub(crate) fn only_arm(&self) -> &ArmState {
        &self.outcome.as_ref().unwrap().arms[0].state
    }
}

/// The rows of a JSON Lines file.
pub(crate) fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of a JSON Lines file without wall-clock times, which differ between runs.
pub(crate) fn timeless(file: &Path) -> Vec<Value> {
    let mut lines = lines(file);
    for line in &mut lines {
        line.as_object_mut()
            .unwrap()
            .retain(|name, _| !name.ends_with("_seconds") && !name.ends_with("_per_second"));
    }
    lines
}

/// Runs a scenario to its end. `on_event` sees every event and can stop the run.
pub(crate) async fn run_in(
    folder: tempfile::TempDir,
    scenario: &str,
    registry: RewardRegistry,
    audio_source: Option<AudioSource>,
    resume: bool,
    mut on_event: impl FnMut(&RunEvent, &watch::Sender<bool>),
) -> Ran {
    let path = folder.path().join("test.toml");
    std::fs::write(&path, scenario).unwrap();
    let experiment = scenarios::load(&path, &[], &[], None).unwrap();
    let run_dir = folder.path().join("run");
    std::fs::create_dir_all(&run_dir).unwrap();
    let run_dir = RunDir::new(run_dir);
    let (events, mut received) = mpsc::unbounded_channel();
    let (stop, stopping) = watch::channel(false);
    let registry = Arc::new(registry);
    let run_dir = OwnedRunDir::claim(run_dir).unwrap();
    let args = RunArgs {
        experiment,
        run_dir,
        registry,
        resume,
        audio_source,
        controlled: false,
        replay: None,
        ranks: None,
    };
    let running = tokio::spawn(::run::run(args, events, stopping));
    let mut warnings = Vec::new();
    while let Some(event) = received.recv().await {
        on_event(&event, &stop);
        if let RunEvent::Warning { message, .. } = event {
            warnings.push(message);
        }
    }
    Ran { outcome: running.await.unwrap(), warnings, folder }
}

pub(crate) async fn run(scenario: &str, registry: RewardRegistry, audio_source: Option<AudioSource>) -> Ran {
    run_in(tempfile::tempdir().unwrap(), scenario, registry, audio_source, false, |_, _| {}).await
}

pub(crate) fn counts(groups: &Value) -> (u64, u64, BTreeMap<String, u64>) {
    let excluded = serde_json::from_value(groups["excluded"].clone()).unwrap();
    (groups["dispatched"].as_u64().unwrap(), groups["trained"].as_u64().unwrap(), excluded)
}

fn samples(request: &ClipRequest) -> Result<Vec<f32>, ClipError> {
    let hearing = Hearing { downmix: Downmix::First, ..Hearing::default() };
    let clip = audio::load(&request.path, &hearing).map_err(|error| ClipError(error.to_string()))?;
    Ok(clip.samples)
}

fn decode(request: &ClipRequest) -> Clip {
    let folder = scenarios::builtin_tiny_policy().unwrap();
    let features = FeatureExtractor::open(&folder).unwrap();
    Ok(features.extract(&samples(request)?).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_with_the_same_seed_differ_only_in_wall_clock_times() {
    let (first, second) = (run(SCENARIO, registry(), None).await, run(SCENARIO, registry(), None).await);
    assert_eq!(first.only_arm(), &ArmState::Done);
    assert_eq!(first.lines("metrics.jsonl").len(), 6);
    assert_eq!(first.timeless("metrics.jsonl"), second.timeless("metrics.jsonl"));
    assert_eq!(first.timeless("eval.jsonl"), second.timeless("eval.jsonl"));
    assert_eq!(first.lines("rollouts.jsonl"), second.lines("rollouts.jsonl"));
    // 6 steps of 2 × 3 completions, and evaluations of 4 questions at steps 0, 3 and 6.
    assert_eq!(first.lines("rollouts.jsonl").len(), 36 + 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_reward_and_one_of_a_decoder_exclude_no_group() {
    /// Panics the first time it sees step 5.
    struct PanicsOnce(Arc<AtomicUsize>);
    impl Reward for PanicsOnce {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            if batch.step == 5 && self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("on purpose at step 5");
            }
            ByLength.score(batch)
        }
    }
    let panics = Arc::new(AtomicUsize::new(0));
    let mut registry = registry();
    registry.register("by-length", {
        let panics = panics.clone();
        move |_| Ok(Box::new(PanicsOnce(panics.clone())))
    });
    let decodings = Arc::new(AtomicUsize::new(0));
    let source: AudioSource = Arc::new({
        let decodings = decodings.clone();
        move |request: &ClipRequest| {
            // The first calls check whether any clip can be read at all.
            if decodings.fetch_add(1, Ordering::SeqCst) == 4 {
                panic!("on purpose, once");
            }
            decode(request)
        }
    });
    let ran = run(SCENARIO, registry, Some(source)).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    assert!(panics.load(Ordering::SeqCst) >= 2, "the batch was scored again");
    assert!(decodings.load(Ordering::SeqCst) > 4);
    assert!(ran.warnings.iter().any(|warning| warning.contains("`reward/noise` failed and was restarted")));
    assert_eq!(counts(&ran.status()["groups"]), (12, 12, BTreeMap::new()));
    // The training is the same as without the panics.
    assert_eq!(
        ran.timeless("metrics.jsonl"),
        run(SCENARIO, self::registry(), None).await.timeless("metrics.jsonl")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_that_always_panics_ends_its_arm_with_the_reason_and_a_checkpoint() {
    struct Panics;
    impl Reward for Panics {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            if batch.step == 3 { panic!("always at step 3") } else { ByLength.score(batch) }
        }
    }
    let mut registry = registry();
    registry.register("by-length", |_| Ok(Box::new(Panics)));
    let ran = run(SCENARIO, registry, None).await;
    let ArmState::Failed { reason } = ran.only_arm() else { panic!("{:?}", ran.only_arm()) };
    assert!(
        reason.contains("`reward/noise` failed more than 5 times") && reason.contains("always at step 3"),
        "{reason}"
    );
    let status = ran.status();
    assert_eq!((status["status"].as_str(), status["step"].as_u64()), (Some("failed"), Some(2)));
    assert!(Path::new(status["checkpoint"].as_str().unwrap()).join("model.safetensors").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn clips_longer_than_the_window_are_counted_and_cause_one_warning() {
    let folder = scenarios::builtin_tiny_policy().unwrap();
    let features = FeatureExtractor::open(&folder).unwrap();
    let long: AudioSource = Arc::new(move |request: &ClipRequest| {
        let mut samples = samples(request)?;
        samples.resize(16_000 * 10, 0.0);
        Ok(features.extract(&samples).into())
    });
    let ran = run(SCENARIO, registry(), Some(long)).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    // Two prompts a step.
    assert!(ran.lines("metrics.jsonl").iter().all(|line| line["audio_truncated"] == 2));
    assert!(ran.lines("eval.jsonl").iter().all(|line| line["truncated_clips"] == 4));
    let warned: Vec<_> = ran.warnings.iter().filter(|warning| warning.contains("cut there")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    let short = run(SCENARIO, registry(), None).await;
    assert!(short.lines("metrics.jsonl").iter().all(|line| line["audio_truncated"] == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_clips_are_excluded_and_counted_and_the_groups_add_up() {
    // The file name decides whether a clip is unreadable, so it is the same clip in every split and step.
    let bad = |path: &Path| path.file_stem().unwrap().to_string_lossy().ends_with(['0', '2', '4']);
    let source: AudioSource = Arc::new(move |request: &ClipRequest| {
        let path = &request.path;
        if bad(path) { Err(ClipError(format!("{}: cut short", path.display()))) } else { decode(request) }
    });
    let ran = run(SCENARIO, registry(), Some(source)).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let (dispatched, trained, excluded) = counts(&ran.status()["groups"]);
    assert!(excluded["audio_unreadable"] > 0 && trained > 0);
    assert_eq!(dispatched, trained + excluded.values().sum::<u64>());
    assert!(ran.warnings.iter().any(|warning| warning.contains("cut short")));

    let strict = SCENARIO.replace("[rewards]", "[loader]\nmax_failed_fraction = 0.05\n\n[rewards]");
    let source: AudioSource = Arc::new(move |request: &ClipRequest| {
        let path = &request.path;
        if bad(path) { Err(ClipError(format!("{}: cut short", path.display()))) } else { decode(request) }
    });
    let ran = run(&strict, registry(), Some(source)).await;
    let ArmState::Failed { reason } = ran.only_arm() else { panic!("{:?}", ran.only_arm()) };
    assert!(
        reason.contains("clips could not be read, more than loader.max_failed_fraction = 0.05"),
        "{reason}"
    );

    let none: AudioSource =
        Arc::new(|request: &ClipRequest| Err(ClipError(format!("{}: empty", request.path.display()))));
    let ran = run(SCENARIO, registry(), Some(none)).await;
    let Err(RunError::Input(error)) = ran.outcome else { panic!("nothing to train on") };
    let message = error.to_string();
    assert!(message.contains("none of the") && message.contains("empty"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_without_a_score_leaves_its_group_and_a_group_with_too_few_is_excluded() {
    /// Gives no score to the second completion of every group, and only one score to the first group of even steps.
    struct Gaps;
    impl Reward for Gaps {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            let score = |(place, item): (usize, &rewards::RewardItem)| {
                let alone = batch.step.is_multiple_of(2) && item.group == 0 && place % 3 == 2;
                (place % 3 != 1 && !alone).then_some(place as f64)
            };
            Ok(batch.items.iter().enumerate().map(score).collect())
        }
    }
    let mut registry = registry();
    registry.register("by-length", |_| Ok(Box::new(Gaps)));
    let ran = run(SCENARIO, registry, None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    // In steps 2, 4 and 6, one of the two groups is excluded.
    let excluded = [("too_few_scored".to_owned(), 3)].into();
    assert_eq!(counts(&ran.status()["groups"]), (12, 9, excluded));
    for rollout in ran.lines("rollouts.jsonl").iter().filter(|rollout| rollout["phase"] == "train") {
        let missing = rollout["index"] == 1;
        if missing {
            assert!(rollout["reward"].is_null() && rollout["advantage"].is_null(), "{rollout}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_and_resumed_ends_like_one_that_was_not() {
    let whole = run(SCENARIO, registry(), None).await;
    let stopped = run_in(tempfile::tempdir().unwrap(), SCENARIO, registry(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 3, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped);
    let taken = stopped.lines("metrics.jsonl").len();
    assert!((3..6).contains(&taken), "{taken}");
    // An incomplete last line, as a killed process leaves it.
    let metrics = stopped.arm_dir().join("metrics.jsonl");
    let cut = std::fs::read_to_string(&metrics).unwrap() + "{\"step\": 99, \"lo";
    std::fs::write(&metrics, cut).unwrap();

    let resumed = run_in(stopped.folder, SCENARIO, registry(), None, true, |_, _| {}).await;
    assert_eq!(resumed.only_arm(), &ArmState::Done);
    assert_eq!(resumed.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"));
    assert_eq!(resumed.lines("rollouts.jsonl"), whole.lines("rollouts.jsonl"));
    assert_eq!(resumed.status()["groups"], whole.status()["groups"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn staleness_does_not_exceed_max_staleness() {
    let ran =
        run(&SCENARIO.replace("[rewards]", "[grpo]\nmax_staleness = 2\n\n[rewards]"), registry(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let staleness: Vec<u64> =
        ran.lines("metrics.jsonl").iter().map(|line| line["staleness"].as_u64().unwrap()).collect();
    assert_eq!(staleness.len(), 6);
    assert!(staleness.iter().all(|&lag| lag <= 2), "{staleness:?}");
}

/// The scenario with the built-in policy frozen and a LoRA adapter, and further keys of `[policy]`.
fn with_lora(rest: &str) -> String {
    SCENARIO.replace("from_scratch = true", &format!("train = \"lora\"\n{rest}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lora_run_that_is_stopped_and_resumed_ends_like_one_that_was_not() {
    let scenario = with_lora(
        "lora = { rank = 4, dropout = 0.1, target_modules = [\"q_proj\", \"v_proj\", \"down_proj\"] }",
    );
    let whole = run(&scenario, registry(), None).await;
    assert_eq!(whole.only_arm(), &ArmState::Done);
    let metrics = whole.lines("metrics.jsonl");
    let number = |line: &Value, name: &str| line[name].as_f64().unwrap();
    // A new adapter does not change the base, which is the reference, so the KL divergence starts at 0 and then grows.
    assert!(number(&metrics[0], "kl").abs() < 1e-6 && number(&metrics[5], "kl") > 1e-6, "{metrics:?}");
    let stopped = run_in(tempfile::tempdir().unwrap(), &scenario, registry(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 3, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped);
    let status = stopped.status();
    let checkpoint = Path::new(status["checkpoint"].as_str().unwrap());
    assert!(checkpoint.join("adapter_model.safetensors").exists());
    assert!(!checkpoint.join("model.safetensors").exists(), "a checkpoint contains only the adapter");

    let resumed = run_in(stopped.folder, &scenario, registry(), None, true, |_, _| {}).await;
    assert_eq!(resumed.only_arm(), &ArmState::Done);
    assert_eq!(resumed.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"));
    assert_eq!(resumed.lines("rollouts.jsonl"), whole.lines("rollouts.jsonl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_can_start_from_the_adapter_of_another_run() {
    let first = run(&with_lora(""), registry(), None).await;
    let status = first.status();
    let trained = status["checkpoint"].as_str().unwrap();
    let scenario = with_lora(&format!("adapter = \"{trained}\"")).replace("steps = 6", "steps = 1");
    let second = run(&scenario, registry(), None).await;
    assert_eq!(second.only_arm(), &ArmState::Done);
    let kl = |ran: &Ran, step: usize| ran.lines("metrics.jsonl")[step]["kl"].as_f64().unwrap();
    assert!(
        kl(&first, 0).abs() < 1e-6 && kl(&second, 0) > 1e-6,
        "the adapter differs from the base from the start"
    );

    let other = with_lora("adapter = \"nowhere\"");
    let message = run(&other, registry(), None).await.outcome.unwrap_err().to_string();
    assert!(message.contains("nowhere/adapter_config.json"), "{message}");
}
