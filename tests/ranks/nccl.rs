//! Ranks that add up by NCCL, for which a library of the test stands in (`tests/nccl/stand_in.cc`): equal to gloo and to one
//! rank, and a clean end whatever fails (NCCL-1, NCCL-2).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::{Place, children, difference, end_of, ended, is_alive, said, signal, wait_until};

/// Builds the stand-in, which fails as `fails` says, into a folder of its own.
fn stand_in(place: &Place, fails: &str) -> PathBuf {
    let folder = place.0.path().join("stand-in");
    fs::create_dir_all(&folder).unwrap();
    let library = folder.join("libnccl.so.2");
    if !library.is_file() {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        let mut command = Command::new(compiler);
        command.args(["-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", "-o"]).arg(&library);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/nccl/stand_in.cc");
        assert!(command.arg(source).status().unwrap().success());
    }
    fs::write(folder.join("libnccl.so.2.fails"), fails).unwrap();
    library
}

/// A run on two ranks by the stand-in.
fn command(place: &Place, name: &str, fails: &str, more: &[&str]) -> Command {
    let library = stand_in(place, fails);
    let arguments =
        ["ranks.toml", "--out", name, "--ranks", "2", "--rank-timeout", "2", "--arm", "grpo-lora"];
    let mut command = place.sandbox(&[&arguments[..], more].concat());
    command.env("AUDIO_THINKER_NCCL_STAND_IN", library);
    command
}

fn log(place: &Place, name: &str) -> String {
    fs::read_to_string(place.found(name).0.join("run.log")).unwrap()
}

#[test]
fn ranks_that_add_up_by_nccl_equal_one_rank_and_gloo() {
    let place = Place::new();
    let library = stand_in(&place, "");
    let arms = ["--arm", "grpo-lora", "--arm", "sft"];
    let one = place.run("one", 1, &arms);
    let gloo = place.run("gloo", 2, &[&arms[..], &["--collectives", "gloo"]].concat());
    for (ranks, by) in [(2, "auto"), (4, "nccl")] {
        let name = format!("nccl-{ranks}");
        let count = ranks.to_string();
        let arguments = ["ranks.toml", "--out", &name, "--ranks", &count, "--collectives", by];
        let mut command = place.sandbox(&[&arguments[..], &arms].concat());
        let output = command.env("AUDIO_THINKER_NCCL_STAND_IN", &library).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(log(&place, &name).contains("gradients are added up by NCCL 2.28.9"), "{name}");
        let several = place.found(&name);
        for arm in ["grpo-lora", "sft"] {
            let off = difference(&one.weights(arm), &several.weights(arm));
            println!("{ranks} ranks by NCCL, {arm}: largest difference of a weight to one rank {off:e}");
            assert!(off < 1e-5, "{ranks} ranks, {arm}: {off}");
            if ranks == 2 {
                // The sum of two numbers has no order.
                assert_eq!(difference(&gloo.weights(arm), &several.weights(arm)), 0.0, "{arm}");
            }
        }
    }
}

/// The run ended with this reason, and no process stays behind.
fn ended_with(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{reason}: {}", said(output));
    assert!(said(output).contains(reason), "{reason}: {}", said(output));
}

#[test]
fn ranks_that_can_not_use_nccl_warn_and_go_on_or_end_as_they_were_told() {
    let place = Place::new();
    let found = [
        ("version 1 22703", "rank 1 has NCCL 2.27.3 and rank 0 has 2.28.9"),
        ("same-gpu 0 0\nsame-gpu 1 0", "ranks 0 and 1 have the same GPU, which NCCL does not allow"),
        ("init-hangs 1 0", "can't join by NCCL: not done within 8 s"),
    ];
    for (number, (fails, reason)) in found.into_iter().enumerate() {
        let name = format!("must-{number}");
        let output = command(&place, &name, fails, &["--collectives", "nccl"]).output().unwrap();
        ended_with(&output, "--collectives nccl: ");
        ended_with(&output, reason);
        assert_eq!(place.found(&name).rows("grpo-lora").len(), 0, "{reason}");
        let name = format!("may-{number}");
        let output = command(&place, &name, fails, &["--set", "run.steps=2"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{reason}: {}", said(&output));
        let warning = "gradients are added up by gloo, through the CPU: ";
        assert!(
            said(&output).contains(reason) && said(&output).matches(warning).count() == 1,
            "{}",
            said(&output)
        );
        assert_eq!(place.found(&name).rows("grpo-lora").len(), 2, "{reason}");
    }
}

/// RANKS-4 by NCCL: what fails in the middle of a run costs its step, after which there is a checkpoint.
#[test]
fn a_sum_by_nccl_that_fails_ends_the_run_after_a_checkpoint() {
    let place = Place::new();
    let found = [
        ("refuses 1 100", "NCCL: ncclAllReduce: invalid argument"),
        ("breaks 0 100", "NCCL: remote process exited or there was a network error"),
        ("never-ends 1 100", "NCCL: not done within 8 s"),
        ("never-ends 1 100\nabort-hangs 0 0\nabort-hangs 1 0", "NCCL: not done within 8 s"),
    ];
    for (number, (fails, reason)) in found.into_iter().enumerate() {
        let name = format!("fails-{number}");
        let output = command(&place, &name, fails, &["--set", "run.steps=2000"]).output().unwrap();
        ended_with(&output, reason);
        assert!(said(&output).contains("; checkpoint "), "{reason}: {}", said(&output));
    }
}

/// A rank that is killed while NCCL sums is noticed although NCCL itself would wait for ever.
#[test]
fn a_rank_that_is_killed_while_nccl_sums_ends_the_run() {
    let place = Place::new();
    let mut command = command(&place, "killed", "", &["--set", "run.steps=2000"]);
    let mut leader = command.spawn().unwrap();
    let begun = || fs::read_dir(place.0.path().join("killed")).is_ok_and(|mut runs| runs.next().is_some());
    wait_until(Duration::from_secs(60), begun);
    let run = place.found("killed");
    wait_until(Duration::from_secs(60), || run.rows("grpo-lora").len() >= 2);
    let follower = children(leader.id())[0];
    signal(follower, "KILL");
    assert_eq!(end_of(&mut leader), Some(1));
    let output = ended(leader);
    // By the end of its process, or by the connection that brought it its part.
    let told = said(&output);
    let reasons = ["rank 1 ended (signal: 9 (SIGKILL))", "the ranks lost each other"];
    assert!(output.status.code() == Some(1) && reasons.iter().any(|reason| told.contains(reason)), "{told}");
    assert!(said(&output).contains("; checkpoint "), "{}", said(&output));
    assert!(!is_alive(follower));
}
