//! Forks of living arms: what they begin with, that neither they nor their parents differ from arms that were never forked,
//! and that resumes and replays have them again.

use ::run::{ForkError, ForkRequest, Forked};

use super::*;

fn request(name: &str, settings: &[&str]) -> ForkRequest {
    ForkRequest {
        arm: "a".into(),
        name: name.into(),
        step: None,
        seeds: Vec::new(),
        settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
    }
}

impl Live {
    async fn fork(&self, name: &str, settings: &[&str]) -> Result<Forked, ForkError> {
        self.run.fork(request(name, settings), "test").await
    }

    async fn forked_at(&self, name: &str, settings: &[&str]) -> u64 {
        self.fork(name, settings).await.unwrap().step
    }
}

impl FinishedRun {
    /// The rows of a file of another arm under seed 3, without what the clock says.
    fn rows_of(&self, arm: &str, file: &str) -> Vec<Value> {
        timeless(&self.folder.path().join("run").join(arm).join("seed-3").join(file))
    }

    fn metrics_of(&self, arm: &str) -> Vec<Value> {
        self.rows_of(arm, "metrics.jsonl")
    }

    fn state_of(&self, arm: &str) -> String {
        let dir = RunDir::new(self.folder.path().join("run")).arm(&ArmId::new(arm, 3));
        dir.read_status().unwrap().unwrap().state.name().to_owned()
    }
}

fn steps(scenario: &str, steps: u64) -> String {
    scenario.replace("steps = 6", &format!("steps = {steps}"))
}

/// Runs a scenario to its end without any fork.
async fn alone(scenario: &str) -> FinishedRun {
    let finished = Live::start(scenario, registry()).await.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished
}

/// FORK-3, and FORK-4 for the replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_without_a_change_takes_its_parents_steps_and_the_parent_those_it_would_have_taken() {
    let scenario = steps(SCENARIO, 54);
    let mut live = Live::start_paused(&scenario, registry()).await;
    live.arm.step(3, "test").unwrap();
    live.paused().await;
    live.arm.change(weight("noise", 0.25), "test").await.unwrap();
    live.arm.step(1, "test").unwrap();
    assert_eq!(live.paused().await, 4);
    assert_eq!(live.forked_at("same", &[]).await, 4, "a paused arm is copied where it is");
    let other = ["shaping.weights.noise=-1", "grpo.lr=1e-3"];
    assert_eq!(live.forked_at("other", &other).await, 4);
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    let parent = finished.metrics_of("a");
    assert_eq!(parent.len(), 54);
    let conditions = |mut rows: Vec<Value>| {
        // A fork begins at version 0 of its own conditions, which are its parent's.
        rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("weights_version")));
        rows
    };
    assert_eq!(conditions(finished.metrics_of("same")), conditions(parent.clone()));
    assert_eq!(
        conditions(finished.rows_of("same", "rollouts.jsonl")),
        conditions(finished.rows_of("a", "rollouts.jsonl"))
    );
    assert_eq!(finished.rows_of("same", "eval.jsonl"), finished.rows_of("a", "eval.jsonl"));
    let other = finished.metrics_of("other");
    assert_eq!((other.len(), &other[..4]), (54, &parent[..4]), "its first steps are its parent's");
    assert_eq!(other[4]["weights"]["noise"], -1.0);
    assert_ne!(other[53]["reward"], parent[53]["reward"]);

    let (again, compared) = replays::replay(&finished).await;
    let told: Vec<String> = compared.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "a (seed 3): the same in all 54 steps; changes made again: 1",
            "same (seed 3): the same in all 54 steps; changes made again: 0",
            "other (seed 3): the same in all 54 steps; changes made again: 0",
        ]
    );
    assert_eq!(again.rows_of("other", "rollouts.jsonl"), finished.rows_of("other", "rollouts.jsonl"));

    let mut unforked = Live::start_paused(&scenario, registry()).await;
    unforked.arm.step(3, "test").unwrap();
    unforked.paused().await;
    unforked.arm.change(weight("noise", 0.25), "test").await.unwrap();
    unforked.arm.resume("test").unwrap();
    assert_eq!(unforked.end().await.metrics_of("a"), parent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_arm_is_copied_at_its_next_boundary_also_with_lora_and_a_fork_can_be_forked() {
    for policy in ["from_scratch = true", "train = \"lora\""] {
        let scenario = steps(SCENARIO, 40).replace("from_scratch = true", policy);
        let mut live = Live::start(&scenario, registry()).await;
        live.wait_for(|event| matches!(event, RunEvent::StepDone { step: 3, .. }).then_some(())).await;
        let at = live.forked_at("b", &["shaping.weights.noise=-1"]).await;
        let is_b = |event: &RunEvent| match event {
            RunEvent::StepDone { id, step, .. } if id.arm == "b" && *step > at + 1 => Some(()),
            _ => None,
        };
        live.wait_for(is_b).await;
        let again =
            live.run.fork(ForkRequest { arm: "b".into(), ..request("c", &[]) }, "test").await.unwrap();
        assert!(again.step > at);
        let finished = live.end().await;
        let [a, b, c] = ["a", "b", "c"].map(|arm| finished.metrics_of(arm));
        assert_eq!((a.len(), b.len()), (40, 40));
        assert_eq!(b[..at as usize], a[..at as usize]);
        assert_ne!(b[39], a[39]);
        assert_eq!(c, b, "a fork of a fork, without a change");
        let unforked = alone(&scenario).await;
        assert_eq!(unforked.metrics_of("a"), a, "{policy}");
        let (_, compared) = replays::replay(&finished).await;
        assert_eq!(compared.len(), 3);
        assert!(compared.iter().all(|arm| arm.difference.is_none()), "{compared:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_may_be_stale_when_an_arm_is_copied() {
    let scenario = steps(SCENARIO, 20).replace("[rewards]", "[grpo]\nmax_staleness = 1\n\n[rewards]");
    let mut live = Live::start(&scenario, registry()).await;
    live.wait_for(|event| matches!(event, RunEvent::StepDone { step: 3, .. }).then_some(())).await;
    let at = live.forked_at("b", &[]).await as usize;
    let finished = live.end().await;
    assert_eq!((finished.state_of("a"), finished.state_of("b")), ("done".into(), "done".into()));
    let [a, b] = ["a", "b"].map(|arm| finished.metrics_of(arm));
    assert_eq!((a.len(), b.len(), &b[..at]), (20, 20, &a[..at]));
}

/// FORK-4.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_goes_on_with_its_forks() {
    let scenario = steps(SCENARIO, 30);
    let mut whole = None;
    for stops in [false, true] {
        let mut live = Live::start_paused(&scenario, registry()).await;
        live.arm.step(3, "test").unwrap();
        live.paused().await;
        live.forked_at("b", &["shaping.weights.noise=-1"]).await;
        // Of a step to come: the stop is before it.
        let later = ForkRequest { step: Some(21), ..request("later", &["grpo.lr=1e-3"]) };
        assert_eq!(live.run.fork(later, "test").await.unwrap().step, 21);
        if stops {
            live.arm.step(2, "test").unwrap();
            live.paused().await;
            live.wait_for(|event| match event {
                RunEvent::StepDone { id, step: 8, .. } if id.arm == "b" => Some(()),
                _ => None,
            })
            .await;
            live.stop();
        } else {
            live.arm.resume("test").unwrap();
        }
        let mut finished = live.end().await;
        if stops {
            assert_eq!(finished.state_of("b"), "stopped");
            assert!(!finished.folder.path().join("run/later").exists());
            let dir = finished.folder.path().join("run/scenario.toml");
            let resumed = Live::start_in(finished.folder, &scenario, registry(), |args| {
                args.experiment = scenarios::load(&dir, &[], &[], None).unwrap();
                args.resume = true;
            })
            .await;
            finished = resumed.end().await;
        }
        let rows = ["a", "b", "later"].map(|arm| finished.metrics_of(arm));
        assert_eq!(rows.each_ref().map(Vec::len), [30, 30, 30]);
        assert_eq!((&rows[2][..21], &rows[1][..3]), (&rows[0][..21], &rows[0][..3]));
        match &whole {
            None => whole = Some(rows),
            Some(whole) => assert_eq!(&rows, whole),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_can_say_where_arms_are_forked() {
    let scenario = steps(SCENARIO, 12);
    let declared = format!(
        "{scenario}[[arm]]\nname = \"b\"\nfork = {{ arm = \"a\", step = 5 }}\nshaping.weights.noise = -1.0\n\
         [[arm]]\nname = \"c\"\nfork = {{ arm = \"b\", step = 5 }}\n[[arm]]\nname = \"first\"\nfork = {{ arm = \"a\", step = 0 }}\n"
    );
    let finished = Live::start(&declared, registry()).await.end().await;
    let [a, b, c, first] = ["a", "b", "c", "first"].map(|arm| finished.metrics_of(arm));
    assert_eq!((&b[..5], b.len()), (&a[..5], 12));
    assert_ne!(b[11], a[11]);
    assert_eq!((c, first), (b, a));
    let actions: Vec<Value> = finished.journal().iter().map(|entry| serde_json::json!(entry.note)).collect();
    assert_eq!(actions.len(), 3, "{actions:?}");
    assert!(actions.contains(&"copied from a after step 5".into()), "{actions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_goes_back_to_a_checkpoint_in_a_new_arm() {
    let scenario = steps(SCENARIO, 10).replace("every = 2\n\n#", "every = 2\nkeep = 10\n\n#");
    let mut live = Live::start_paused(&scenario, registry()).await;
    live.arm.step(4, "test").unwrap();
    live.paused().await;
    live.arm.change(weight("noise", 0.25), "test").await.unwrap();
    live.arm.step(3, "test").unwrap();
    assert_eq!(live.paused().await, 7);
    let back = |step| ForkRequest { step: Some(step), ..request("again", &[]) };
    let error = live.run.fork(back(3), "test").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "arm `a` can't be copied: seed 3 has gone past step 3 and has no checkpoint of it (it has those of 0, 2, 4, 6, 7)"
    );
    live.run.fork(back(2), "test").await.unwrap();
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    let (a, again) = (finished.metrics_of("a"), finished.metrics_of("again"));
    assert_eq!((again.len(), &again[..4]), (10, &a[..4]));
    assert_eq!(again[9]["weights"]["noise"], 1.0, "under the conditions of that time");
    assert_eq!(a[9]["weights"]["noise"], 0.25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_can_not_be_is_refused_in_one_line_and_leaves_nothing() {
    let live = Live::start_paused(SCENARIO, registry()).await;
    let stored = std::fs::read_to_string(live.run.run_dir().scenario()).unwrap();
    let cases = [
        (request("a", &[]), "fork a: there is an arm `a` already; give the fork another name"),
        (ForkRequest { arm: "b".into(), ..request("c", &[]) }, "fork c: there is no arm `b`; the arms are a"),
        (request("c", &["shaping.weights.nois=1"]), "no formula uses the weight `nois`"),
        (request("c", &["shaping.formula=format + nosie"]), "did you mean `noise`?"),
        (request("c", &["policy.dtype=\"bf16\""]), "has another [policy] than `a`"),
        (request("c", &["grpo.lr=-1"]), "grpo"),
        (request("c", &["rewards.noise.kind=\"nothing\""]), "which is no reward"),
        (request("c/d", &[]), "`name`"),
        (ForkRequest { seeds: vec![4], ..request("c", &[]) }, "arm `a` is not trained under the seed 4"),
        (ForkRequest { step: Some(6), ..request("c", &[]) }, "write a step from 0 to 5"),
    ];
    for (wrong, expected) in cases {
        let error = live.run.fork(wrong, "test").await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    assert_eq!(std::fs::read_to_string(live.run.run_dir().scenario()).unwrap(), stored);
    live.arm.resume("test").unwrap();
    let run = live.run.clone();
    let finished = live.end().await;
    let error = run.fork(request("c", &[]), "test").await.unwrap_err().to_string();
    assert_eq!(error, "the run has ended; `sandbox --resume` goes on with it");
    let folders = std::fs::read_dir(finished.folder.path().join("run")).unwrap();
    let folders: Vec<_> = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).collect();
    assert_eq!(folders.len(), 1);
}
