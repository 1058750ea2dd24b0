//! `sandbox judge` and the secrets of a judge, with the built `sandbox`. A test of the package `sandbox` (see
//! bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

#[expect(dead_code, reason = "the other tests of judges use the rest")]
mod scripted_server;
use scripted_server::{Act, ScriptedServer};

const VERDICT: &str = r#"{"consistent": 1, "quality": 0.7}"#;
const KEY: &str = "sk-planted-0123456789";

/// Runs `sandbox judge` on one small set, with the settings of a judge behind a server and a key in its environment.
async fn judge(dir: &Path, settings: &[&str], options: &[&str], proxy: &str) -> Output {
    let scenario =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scenarios/judge-attacks.toml");
    let common = [
        "judge.kind=openai",
        "judge.model=scripted",
        "judge.calibration=[\"builtin:general\"]",
        "judge.api_key_env=JUDGE_KEY",
        "judge.retries=0",
    ];
    let sets = common.iter().chain(settings).flat_map(|set| ["--set", set]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("judge").arg(scenario).args(sets).args(options).current_dir(dir).env_remove("RUST_LOG");
    for name in ["NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command.env("JUDGE_KEY", KEY).env("HTTP_PROXY", proxy).env("http_proxy", proxy).output().await.unwrap()
}

/// What a command printed, on both streams; a planted key is not in it.
fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!text.contains(KEY), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_with_the_causes_if_too_many_verdicts_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = r#"{"error": {"message": "'temperature' does not support 0 with this model", "param": "temperature"}}"#;
    let server = ScriptedServer::start(move |number, _| match number % 4 {
        0 => Act::Status(400, "", refusal.to_owned()),
        _ => Act::Say(VERDICT.to_owned()),
    })
    .await;
    let url = format!("judge.base_url={}", server.url);
    let output = judge(dir.path(), &[&url], &[], "").await;
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no verdict          http_4xx ") && said.contains("; set judge.temperature to"),
        "{said}"
    );
    let problem = said.lines().last().unwrap();
    assert!(problem.starts_with("error: openai scripted at "), "{said}");
    assert!(problem.ends_with("more than judge.calibration_max_failed_fraction = 0.1 allows"), "{said}");

    let output = judge(dir.path(), &[&url], &["--json"], "").await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let set = &report[0]["sets"][0];
    assert!(set["failures"]["http_4xx"].as_u64().unwrap() > 0, "{set}");
    assert!(set["first_failures"]["http_4xx"].as_str().unwrap().contains("judge.temperature"), "{set}");

    let output = judge(dir.path(), &[&url, "judge.calibration_max_failed_fraction=0.3"], &[], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

/// The verdict of a judge that calls everything consistent and gives one grade, and that of one that was never asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_and_a_check_warn_of_a_judge_that_is_unfit_or_was_never_calibrated() {
    let dir = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, _| Act::Say(VERDICT.to_owned())).await;
    let text = format!(
        r#"
        [run]
        name = "judged"
        seeds = [7]
        steps = 1
        [data.soundscapes]
        train_clips = 12
        heldout_clips = 6
        [sampling]
        group_size = 2
        prompts_per_step = 1
        max_new_tokens = 48
        [eval]
        every = 0
        at_start = false
        [judge]
        kind = "openai"
        base_url = "{}"
        model = "scripted"
        calibration = ["builtin:general"]
        [[arm]]
        name = "judged"
        prompt.style = "think"
        "#,
        server.url
    );
    std::fs::write(dir.path().join("mine.toml"), text).unwrap();
    let sandbox = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.current_dir(dir.path()).env("AUDIO_THINKER_CACHE", dir.path().join("cache"));
        let output = command.args(arguments).env_remove("RUST_LOG").output().await.unwrap();
        let printed = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {printed}");
        printed
    };
    let unknown = "the judge was never calibrated with these settings; run sandbox judge mine.toml";
    let checked = sandbox(&["check", "--no-files", "mine.toml"]).await;
    assert!(checked.contains(&format!("mine.toml: warning: {unknown}")), "{checked}");
    let ran = sandbox(&["mine.toml", "--no-control"]).await;
    assert_eq!(ran.matches(unknown).count(), 1, "{ran}");

    let judged = sandbox(&["judge", "mine.toml"]).await;
    let finding = "unfit: consistency agreement above chance 0.00 (95 % interval -0.";
    assert!(judged.contains(finding) && judged.contains("; quality rank correlation 0.00 ("), "{judged}");
    let checked = sandbox(&["check", "--no-files", "mine.toml"]).await;
    assert!(checked.contains("warning: the judge is unfit: ") && !checked.contains(unknown), "{checked}");
    assert!(checked.contains("; choose another, and test it by sandbox judge mine.toml"), "{checked}");

    let simulated = sandbox(&["judge", "mine.toml", "--simulate", "--json"]).await;
    let report: Value = serde_json::from_str(&simulated).unwrap();
    let report = &report[0];
    assert_eq!(report["fitness"]["finding"], "unfit");
    assert_eq!(report["simulation"][0]["consistency"]["effect_factor"], 0.0);
    assert_eq!(report["simulation"][0]["consistency"]["times_as_many"], Value::Null);
    let asked = server.asked();
    let by_hand =
        ["judge", "mine.toml", "--simulate", "--agreement", "0.8", "--correlation", "0.4", "--json"];
    let simulated = sandbox(&by_hand).await;
    let report: Value = serde_json::from_str(&simulated).unwrap();
    // 2 · 0.8 − 1
    let factor = report[0]["simulation"][0]["consistency"]["effect_factor"].as_f64().unwrap();
    assert!((factor - 0.6).abs() < 1e-12 && report[0].get("fitness").is_none(), "{report}");
    assert_eq!(
        (simulated, server.asked()),
        (sandbox(&by_hand).await, asked),
        "the same seed, and nobody is asked"
    );
}

/// SECRET-J1
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_the_key_only_if_the_scenario_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, _| Act::Say(VERDICT.to_owned())).await;
    let proxy = ScriptedServer::start(|_, asked| {
        assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
        Act::Say(VERDICT.to_owned())
    })
    .await;
    let proxy_address = proxy.url.trim_end_matches("/v1");
    let here = format!("judge.base_url={}", server.url);
    let output = judge(dir.path(), &[&here], &[], proxy_address).await;
    assert_eq!((output.status.code(), proxy.asked()), (Some(0), 0), "{}", printed(&output));
    assert!(server.asked() > 0 && !printed(&output).contains("without encryption"));

    // No name server knows this host, so only a proxy can answer for it.
    let elsewhere = "judge.base_url=http://judge.invalid/v1";
    let output = judge(dir.path(), &[elsewhere], &[], proxy_address).await;
    let said = printed(&output);
    assert_eq!((output.status.code(), proxy.asked()), (Some(2), 0), "{said}");
    assert!(said.contains("no server answers at http://judge.invalid/v1"), "{said}");
    assert!(said.contains("is not used unless judge.proxy = \"environment\""), "{said}");

    let named = format!("judge.proxy={proxy_address}");
    for (setting, environment) in [(named.as_str(), ""), ("judge.proxy=environment", proxy_address)] {
        let before = proxy.asked();
        let output = judge(dir.path(), &[elsewhere, setting], &[], environment).await;
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(0), "{setting}: {said}");
        assert!(proxy.asked() > before, "{setting}");
        let warning = "the judge's key is sent to http://judge.invalid/v1 without encryption";
        assert_eq!(said.matches(warning).count(), 1, "{said}");
    }
    // A server on this machine is not asked through the proxy.
    let (before, local) = (proxy.asked(), server.asked());
    let output = judge(dir.path(), &[&here, &named], &[], "").await;
    assert_eq!((output.status.code(), proxy.asked()), (Some(0), before), "{}", printed(&output));
    assert!(server.asked() > local);
}

/// SECRET-J1
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_repeats_is_printed_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, asked| {
        Act::Status(401, "", format!("{{\"error\": \"no such key: {}\"}}", asked.headers["authorization"]))
    })
    .await;
    let output = judge(dir.path(), &[&format!("judge.base_url={}", server.url)], &[], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("no such key: Bearer [the judge's key]"), "{}", printed(&output));
}
