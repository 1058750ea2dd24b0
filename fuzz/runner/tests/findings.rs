//! The runner finds what it claims to find: each kind of failure, in a target that fails on purpose.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::process::{Command, Output};

/// Cargo names the binary in a variable with a hyphen, which `.cargo/rustc`, a shell script, does not pass on. Test
/// binaries are in a folder beside it.
fn run(arguments: &[&str]) -> Output {
    let this = std::env::current_exe().unwrap();
    let runner = this.parent().and_then(|deps| deps.parent()).unwrap().join("fuzz-runner");
    Command::new(runner).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_kind_of_failure_is_found_and_the_inputs_after_it_are_fed() {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().display().to_string();
    // The seeds are the first inputs, one per kind of failure, and six more follow them.
    let output =
        run(&["--target", "self-test", "--inputs", "13", "--limit-ms", "500", "--findings", &findings]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}{}", text(&output.stderr));
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".in"))
        .collect();
    names.sort();
    for (kind, input) in [
        ("panic", "panic"),
        ("memory", "memory"),
        ("slow", "slow"),
        ("hung", "hang"),
        ("died", "exit"),
        ("died", "stack"),
    ] {
        let is_it = |name: &&String| {
            name.starts_with(&format!("self-test-{kind}-"))
                && std::fs::read_to_string(folder.path().join(name)).unwrap() == input
        };
        assert!(
            names.iter().any(|name| is_it(&name)),
            "no finding `{kind}` of `{input}` in {names:?}\n{printed}"
        );
    }
    assert!(printed.contains("13 inputs"), "{printed}");
}

#[test]
fn healthy_targets_have_no_findings() {
    let output = run(&["--target", "formula", "--target", "completion", "--inputs", "200"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("400 inputs with seed 7"), "{}", text(&output.stdout));
}

#[test]
fn an_unknown_target_is_refused() {
    let output = run(&["--target", "formul"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no target `formul`"));
}
