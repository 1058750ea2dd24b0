//! Alarms in the loop of a scripted arm: what they do at the step boundary, and that a kill changes nothing of it.

use records::ArmState;
use serde_json::Value;
use tokio::task::yield_now;

use super::scripted::Scripted;
use super::world::World;
use super::{Fault, in_runtime, replay};

/// At step 4 a weight is tripled, at step 7 the arm pauses, and at step 9 the last one changes two things.
const ALARMS: &str = r#"
[[alarm]]
name = "triple"
when = "step >= 4"
then = "weights.noise*=3"

[[alarm]]
name = "hold"
when = "mean(step, 3) >= 6 for 1 step"
then = ["checkpoint", "pause"]
message = "look at it"

[[alarm]]
name = "both"
when = "{weights.noise} > 2 and step > 6 for 3 steps"
then = ["weights.noise=0.5", "sampling.temperature=0.5"]

[[alarm]]
name = "silent"
when = "{components.noise} > 0 for 12 steps"
"#;

/// Lets the arm take steps until it has ended, and resumes it whenever it pauses; with `moments` it is killed after so
/// many. Returns whether it has ended.
async fn life(world: &World, resumed: bool, moments: Option<u64>) -> Result<bool, Fault> {
    let run = world.open("run", resumed, None)?;
    let arm = run.arm(&world.id).unwrap();
    let (recorder, _owned) = Scripted::recorder(&run).await;
    let scripted = Scripted::start(&run, &arm.0, resumed).await.map_err(|error| error.to_string())?;
    let mut asked = 0;
    for moment in 0..5_000_000 {
        match arm.view().state {
            ArmState::Paused { .. } if moment >= asked => {
                let _ = arm.resume("test");
                asked = moment + 1000;
            }
            state if state.has_ended() => {
                scripted.kill().await;
                return match state {
                    ArmState::Done => Ok(true),
                    state => Err(Fault(format!("the arm ended as {state:?}"))),
                };
            }
            _ => {}
        }
        if moments == Some(moment) {
            recorder.kill();
            while recorder.get_status() != ractor::ActorStatus::Stopped {
                yield_now().await;
            }
            scripted.kill().await;
            return Ok(false);
        }
        yield_now().await;
    }
    Err(Fault("hung".into()))
}

/// What the journal has, without times: who, what, at which step, and by which evidence.
fn journal(world: &World) -> Vec<String> {
    let told = |entry: Value| {
        let of = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {} {}",
            of("by"),
            of("action"),
            entry["step"],
            entry["version"],
            entry["alarm"]["values"]
        )
    };
    let lines = world.lines(&world.run_dir("run").journal()).into_iter().map(told);
    lines.filter(|line| !line.starts_with("test ")).collect()
}

fn rows(world: &World) -> Vec<Value> {
    let dir = world.run_dir("run").arm(&world.id);
    let mut rows = world.lines(&dir.metrics());
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.retain(|name, _| !records::is_timing(name));
    }
    rows.extend(world.lines(&dir.rollouts()));
    rows
}

#[test]
fn alarms_are_journaled_with_their_evidence_and_act_at_the_next_step() {
    let world = World::with("alarms", 0, 3, ALARMS);
    assert!(in_runtime(life(&world, false, None)).unwrap());
    assert_eq!(
        journal(&world),
        [
            r#"alarm triple alarm 4 0 {"step":4.0}"#,
            // A change names the first step under it.
            r#"alarm triple change 5 1 {"step":4.0}"#,
            // (5 + 6 + 7) / 3
            r#"alarm hold alarm 7 1 {"mean(step, 3)":6.0}"#,
            r#"alarm hold checkpoint 7 1 {"mean(step, 3)":6.0}"#,
            r#"alarm hold pause 7 1 {"mean(step, 3)":6.0}"#,
            r#"alarm both alarm 9 1 {"step":9.0,"{weights.noise}":3.0}"#,
            r#"alarm both change 10 2 {"step":9.0,"{weights.noise}":3.0}"#,
            r#"alarm silent alarm 12 2 {"{components.noise}":NOISE}"#,
        ]
        .map(|line| line.replace("NOISE", &rows(&world)[11]["components"]["noise"].to_string()))
    );
    let weights: Vec<Option<f64>> =
        rows(&world)[..12].iter().map(|row| row["weights"]["noise"].as_f64()).collect();
    let expected = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 0.5, 0.5, 0.5].map(Some);
    assert_eq!(weights, expected);
    in_runtime(replay(&world)).unwrap();
    let again = world.lines(&world.run_dir("again").journal());
    let alarms: Vec<&Value> = again.iter().filter(|entry| entry["action"] == "alarm").collect();
    assert_eq!(alarms.len(), 4, "a replay journals the alarms of the run that it repeats");
    assert!(again.iter().all(|entry| entry["by"] == "replay"), "and evaluates none: {again:?}");
}

/// ALARM-4, ALARM-5: wherever the arm is killed, the resumed one raises the same alarms, each once, and its records are
/// those of an arm that was never killed.
#[test]
fn a_killed_and_resumed_arm_raises_the_same_alarms_at_the_same_steps() {
    let reference = World::with("alarms-whole", 0, 3, ALARMS);
    assert!(in_runtime(life(&reference, false, None)).unwrap());
    let (expected, expected_rows) = (journal(&reference), rows(&reference));
    let mut killed = 0;
    for kill in 0..60 {
        let world = World::with("alarms-killed", 0, [0, 2, 3, 5][kill as usize % 4], ALARMS);
        let (mut resumed, mut ended) = (false, false);
        // Moments of the scheduler, spread over the life of the arm, which has fewer of them on a quiet machine; a second
        // kill follows soon.
        let first = 40 + kill * [13, 37][kill as usize % 2];
        for moments in [first, 25 + kill * 11] {
            ended = in_runtime(life(&world, resumed, Some(moments))).unwrap();
            if ended {
                break;
            }
            (resumed, killed) = (true, killed + 1);
        }
        assert!(ended || in_runtime(life(&world, true, None)).unwrap());
        let mut found = journal(&world);
        // A change and an alarm of the same step may be written in another order after a kill, but each once.
        found.sort();
        let mut wanted = expected.clone();
        wanted.sort();
        assert_eq!(found, wanted, "killed at moment {first}");
        assert_eq!(rows(&world), expected_rows, "killed at moment {first}");
    }
    assert!(killed > 20, "only {killed} kills came before the end");
}

/// ALARM-3.
#[test]
fn without_alarms_nothing_is_remembered_or_recorded() {
    let world = World::with("alarms-none", 0, 3, "");
    assert!(in_runtime(life(&world, false, None)).unwrap());
    let dir = world.run_dir("run").arm(&world.id);
    let newest = dir.newest_checkpoint().unwrap();
    let state = std::fs::read_to_string(newest.join("state.json")).unwrap();
    assert!(!state.contains("alarm"), "{state}");
    let with =
        World::with("alarms-some", 0, 3, "[[alarm]]\nname = \"never\"\nwhen = \"kl > 1 and loss > 9\"\n");
    assert!(in_runtime(life(&with, false, None)).unwrap());
    assert_eq!(rows(&with), rows(&world), "an alarm that does not go off changes no record");
}
