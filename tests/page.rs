//! The live page of a running run, in Chromium: what a researcher does on it, and the effect on the run. A test of the
//! package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Trial};
use rewards::{Formula, Weights};
use serde_json::{Value, json};

#[path = "page/browser.rs"]
mod browser;
#[path = "page/fluid.rs"]
mod fluid;
#[path = "page/planted.rs"]
mod planted;
#[path = "page/workbench.rs"]
mod workbench;
use browser::Browser;

const ARM: &str = "grpo+atar+cr+tr";

/// A harness of its own, because only at run time is it clear whether there is a browser. Without one the tests
/// count as ignored, unless `REQUIRE_BROWSER` is set: then they fail. `#[test]` has no effect in this file:
/// list new tests here.
fn main() -> ExitCode {
    let tests: [(&str, fn()); 4] = [
        ("a_researcher_steers_a_run_from_the_page", a_researcher_steers_a_run_from_the_page),
        (
            "without_its_token_the_page_asks_for_it_until_it_is_right",
            without_its_token_the_page_asks_for_it_until_it_is_right,
        ),
        (
            "markup_in_any_field_is_shown_as_text_and_never_runs",
            planted::markup_in_any_field_is_shown_as_text_and_never_runs,
        ),
        (
            "arms_are_compared_and_a_link_restores_what_was_chosen",
            workbench::arms_are_compared_and_a_link_restores_what_was_chosen,
        ),
    ];
    // Measurements are run by their names with --ignored.
    let measured: [(&str, fn()); 1] =
        [("twenty_arms_of_ten_thousand_steps", fluid::twenty_arms_of_ten_thousand_steps)];
    let skipped = browser::program().is_none() && std::env::var_os("REQUIRE_BROWSER").is_none();
    let arguments = Arguments::from_args();
    if skipped && !arguments.list {
        eprintln!("skipped: {} page tests ({})", tests.len(), browser::MISSING);
    }
    let trial = |(name, test): (&str, fn()), ignored: bool| {
        let run = move || {
            browser::program().ok_or(browser::MISSING)?;
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let trials = tests.map(|test| trial(test, skipped)).into_iter();
    libtest_mimic::run(&arguments, trials.chain(measured.map(|test| trial(test, true))).collect()).exit_code()
}

/// A run of one arm that would take hours.
struct Run {
    child: Child,
    dir: PathBuf,
    address: String,
    token: String,
}

impl Run {
    fn start(folder: &Path) -> Run {
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scenarios/smoke.toml");
        Run::of(folder, &scenario, &["--arm", ARM, "--set", "run.steps=100000", "--set", "eval.every=40"])
    }

    fn of(folder: &Path, scenario: &Path, arguments: &[&str]) -> Run {
        let child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .arg(scenario)
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("sandbox.log")).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let control = loop {
            let dirs = fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
            let found = dirs.map(|dir| dir.path().join("control.json")).find_map(|file| {
                Some((
                    file.parent()?.to_owned(),
                    serde_json::from_slice::<Value>(&fs::read(&file).ok()?).ok()?,
                ))
            });
            if let Some(found) = found {
                break found;
            }
            let log = || fs::read_to_string(folder.join("sandbox.log")).unwrap();
            assert!(began.elapsed() < Duration::from_secs(60), "no control.json: {}", log());
            thread::sleep(Duration::from_millis(50));
        };
        let text = |name: &str| control.1[name].as_str().unwrap().to_owned();
        Run { child, address: text("address"), token: text("token"), dir: control.0 }
    }

    /// An answer of the API, requested without the page.
    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let host = self.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let (token, length) = (&self.token, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    fn arm_path(&self, rest: &str) -> String {
        format!("/api/arms/{}/7{rest}", ARM.replace('+', "%2B"))
    }

    fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        // The last line may be incomplete.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The completions of a training step, once they are written.
    fn rollouts_of(&self, step: u64) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let all = self.lines(&format!("{ARM}/seed-7/rollouts.jsonl"));
            let train = |line: &&Value| line["phase"] == "train" && line["step"] == step;
            let found: Vec<Value> = all.iter().filter(train).cloned().collect();
            if found.len() == 16 {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "step {step} is not written");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `in force from step 17, version 2` → 17.
fn step_in(note: &str) -> u64 {
    let rest = note.split("from step ").nth(1).unwrap_or_else(|| panic!("{note}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Asserts that every reward of a step is the value of the formula under these weights.
fn assert_made_by(rollouts: &[Value], formula: &str, weights: &BTreeMap<String, f64>, version: u64) {
    let weights = Weights { version, values: weights.clone() };
    for line in rollouts {
        let scores: BTreeMap<String, Option<f64>> =
            serde_json::from_value(line["components"].clone()).unwrap();
        let columns = scores.into_iter().map(|(name, score)| (name, vec![score])).collect::<BTreeMap<_, _>>();
        let formula = Formula::parse(formula, columns.keys(), weights.values.keys()).unwrap();
        let expected = rewards::shape(&formula, &columns, &weights)[0].unwrap();
        let found = line["reward"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}: {line}");
        assert_eq!(line["weights_version"], version);
    }
}

fn open(folder: &Path, run: &Run) -> Browser {
    let mut page = Browser::start(folder);
    page.open(&format!("{}/#{}", run.address, run.token));
    page.until("document.body?.dataset.connection === 'live'");
    page.until("document.querySelector('#plots canvas') !== null");
    page
}

fn assert_no_complaints(page: &Browser, run: &Run) {
    assert_eq!(page.complaints, [""; 0], "the page complains");
    // Chromium loads the icons of its audio player from `data:`.
    let own = [run.address.clone(), format!("blob:{}", run.address), "data:".to_owned()];
    let outside = |address: &&String| !own.iter().any(|own| address.starts_with(own));
    let outside: Vec<&String> = page.requested.iter().filter(outside).collect();
    assert!(outside.is_empty(), "requests to elsewhere: {outside:?}");
}

fn a_researcher_steers_a_run_from_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(folder.path());
    let mut page = open(folder.path(), &run);
    turn_a_weight(&mut page, &run);
    play_a_clip(&mut page);
    swap_think_for_python(&mut page, &run, folder.path());
    mistake_in_the_formula(&mut page, &run);
    add_a_reward(&mut page, &run);
    remove_a_reward(&mut page, &run);
    told_of_a_change_made_meanwhile(&mut page, folder.path());
    set_the_learning_rate(&mut page, &run);
    fork_the_arm(&mut page, &run);
    looks(&mut page);
    // After the run has ended nothing answers, which Chromium reports as an error.
    assert_no_complaints(&page, &run);
    stop(&mut page);
}

/// The slider's new value shows in the API, in the journal, and in the rewards from the step that the page names.
fn turn_a_weight(page: &mut Browser, run: &Run) {
    let before: BTreeMap<String, f64> = serde_json::from_value(run.get(&run.arm_path("/weights"))).unwrap();
    page.click_at("#weight-think", 0.9);
    let note = page.text_with("#weight-think-note", "in force");
    let step = step_in(&note);
    let shown = page.eval("document.querySelector('#weight-think').valueAsNumber").as_f64().unwrap();
    assert!(shown > before["think"], "{shown}");

    let view = run.get(&run.arm_path(""));
    let conditions = &view["conditions"];
    assert_eq!(conditions["weights"]["think"], shown);
    assert_eq!(conditions["version"], 1);
    let entry = run.lines("control.jsonl").pop().unwrap();
    let told =
        ["by", "arm", "seed", "action", "change", "from", "version", "step"].map(|name| entry[name].clone());
    let (from, to) = (json!({"weights": {"think": before["think"]}}), json!({"weights": {"think": shown}}));
    assert_eq!(told[..4], [json!("page"), json!(ARM), json!(7), json!("change")]);
    assert_eq!(told[4]["weights"], to["weights"]);
    assert_eq!(told[5]["weights"], from["weights"]);
    assert_eq!(told[6..], [json!(1), json!(step)]);
    page.text_with("#journal-list", "weight think");

    let formula = conditions["formula"].as_str().unwrap();
    let mut after = before.clone();
    after.insert("think".into(), shown);
    assert_made_by(&run.rollouts_of(step - 1), formula, &before, 0);
    assert_made_by(&run.rollouts_of(step), formula, &after, 1);

    // The page breaks the reward of a completion down into the terms of that version.
    page.fill("#rollouts-step", &step.to_string());
    page.until("document.querySelectorAll('#rollouts-body tr:not(.detail)').length === 16");
    page.click("#rollouts-body .fold");
    let shown_version = page.text_with(".completion .why", "weights version");
    assert!(shown_version.contains("weights version 1"), "{shown_version}");
    assert!(
        shown_version.contains("w_think * think") && shown_version.contains("= reward"),
        "{shown_version}"
    );
}

/// The clip of the completion that is open: its spectrogram, what the model hears, and the file itself.
fn play_a_clip(page: &mut Browser) {
    let canvas = "document.querySelector('.clip .mel:not([hidden])')";
    page.until(&format!("{canvas}?.checkVisibility()"));
    // 128 bands of 2 pixels; 2 pixels for each frame of 10 ms, of some seconds of sound.
    assert_eq!(page.eval(&format!("{canvas}.height")), 256);
    let width = page.eval(&format!("{canvas}.width")).as_f64().unwrap();
    let colours = page.eval(&format!(
        "new Set(new Uint32Array({canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, 256).data.buffer)).size"
    ));
    assert!(colours.as_u64().unwrap() > 50, "a picture of {colours} colours");

    page.click(".clip button");
    page.until("document.querySelector('audio')?.currentTime > 0.05");
    let lasts = page.eval("document.querySelector('audio').duration").as_f64().unwrap();
    assert!(lasts > 1.0, "a soundscape lasts a few seconds, not {lasts}");
    assert!((width - 200.0 * lasts).abs() <= 2.0, "{width} pixels of {lasts} s");
    let fetched = |page: &Browser, part: &str| page.requested.iter().filter(|url| url.contains(part)).count();
    assert_eq!((fetched(page, "/heard.wav"), fetched(page, "/api/audio/")), (1, 0));

    let heard = page.eval("document.querySelector('audio').src");
    page.click(".clip input");
    page.until(&format!("document.querySelector('audio').src !== {heard}"));
    page.until("document.querySelector('audio')?.currentTime > 0.05");
    let file_lasts = page.eval("document.querySelector('audio').duration").as_f64().unwrap();
    assert!(
        (file_lasts - lasts).abs() < 0.01,
        "the clip is shorter than the window: {lasts} s, {file_lasts} s"
    );
    assert_eq!((fetched(page, "/heard.wav"), fetched(page, "/api/audio/")), (1, 1));
    assert_eq!(page.eval("document.querySelectorAll('audio').length"), 1);
}

/// From the step that the page names, a Python function scores `think`: a hundredth per character.
fn swap_think_for_python(page: &mut Browser, run: &Run, folder: &Path) {
    let file = folder.join("length.py");
    fs::write(
        &file,
        "def reward(completions, **columns):\n    return [len(text) / 100 for text in completions]\n",
    )
    .unwrap();
    page.click("[data-reward=think] footer button");
    page.click("#swap-kinds button");
    assert_eq!(
        page.eval("document.querySelector('#swap-toml').value"),
        "kind = \"python\"\nfile = \"my_reward.py\""
    );
    // A mistake is named and selected, and nothing changes.
    page.fill("#swap-toml", "kind = \"python\"\nfile = length.py");
    page.click("#swap-go");
    let said = page.text_with("#swap-note", "line 2, column 8");
    assert!(said.contains("file = \"brevity.py\""), "it says what to write instead: {said}");
    assert_eq!(page.eval("getSelection().toString()"), "file = length.py");
    // Chromium writes the refusal to the console.
    page.complaints.retain(|complaint| !complaint.contains("400"));
    page.fill("#swap-toml", &format!("kind = \"python\"\nfile = {:?}", file.display().to_string()));
    page.click("#swap-go");
    let step = step_in(&page.text_with("#rewards-note", "in force"));
    page.text_with("[data-reward=think]", "Python");
    for line in run.rollouts_of(step) {
        let length = line["completion"].as_str().unwrap().chars().count() as f64;
        assert_eq!(line["components"]["think"], length / 100.0, "{line}");
        assert_eq!(line["weights_version"], 2);
    }
    let before = run.rollouts_of(step - 1);
    assert!(before.iter().all(|line| line["weights_version"] == 1));
    page.text_with("#journal-list", "reward think swapped: think → python");
}

/// A misspelt weight is marked and can't be applied; a valid formula is shown with its values and applied.
fn mistake_in_the_formula(page: &mut Browser, run: &Run) {
    page.fill("#formula", "adaptive_think + w_fromat * format");
    let said = page.text_with("#formula-note", "unknown");
    assert!(said.contains("w_format"), "it says what to write instead: {said}");
    page.until("document.querySelector('#formula-marks mark')?.textContent === 'w_fromat'");
    assert_eq!(page.eval("document.querySelector('#formula-apply').disabled"), true);
    assert_eq!(run.get(&run.arm_path(""))["conditions"]["version"], 2);
    page.fill("#formula", "adaptive_think + w_format * format");
    page.text_with("#formula-note", "valid");
    let values = page.text_with("#formula-values", "mean reward");
    assert!(values.contains("w_format * format"), "{values}");
    page.click("#formula-apply");
    let step = step_in(&page.text_with("#formula-note", "in force"));
    let weights = serde_json::from_value(run.get(&run.arm_path("/weights"))).unwrap();
    assert_made_by(&run.rollouts_of(step), "adaptive_think + w_format * format", &weights, 3);
}

/// The server adds the term; the page shows the formula before the change is made.
fn add_a_reward(page: &mut Browser, run: &Run) {
    page.click("#add-reward");
    page.fill("#swap-toml", "kind = \"format\"");
    page.fill("#swap-name", "my-format");
    page.fill("#swap-weight", "0.25");
    let formula = "adaptive_think + w_format * format + {w_my-format} * {my-format}";
    page.until(&format!("document.querySelector('#swap-formula').value === {}", json!(formula)));
    // The scores it would get are not known yet.
    page.text_with("#swap-values", "has not scored yet");
    page.click("#swap-go");
    let step = step_in(&page.text_with("#rewards-note", "my-format: in force"));
    page.text_with("[data-reward=my-format]", "in the formula");
    let weights = serde_json::from_value(run.get(&run.arm_path("/weights"))).unwrap();
    assert_made_by(&run.rollouts_of(step), formula, &weights, 4);
}

/// The server removes the terms.
fn remove_a_reward(page: &mut Browser, run: &Run) {
    page.click("[data-reward=my-format] footer button.quiet");
    let formula = "adaptive_think + w_format * format";
    page.until(&format!("document.querySelector('#swap-formula').value === {}", json!(formula)));
    page.text_with("#swap-values", "mean reward");
    page.click("#swap-go");
    let step = step_in(&page.text_with("#rewards-note", "version 5"));
    page.until("document.querySelector('[data-reward=my-format]') === null");
    let weights = serde_json::from_value(run.get(&run.arm_path("/weights"))).unwrap();
    assert_made_by(&run.rollouts_of(step), formula, &weights, 5);
}

/// STALE-1: somebody else changes a weight while the formula is edited. The page says so, and makes the change on top
/// when told to.
fn told_of_a_change_made_meanwhile(page: &mut Browser, folder: &Path) {
    page.fill("#formula", "adaptive_think + 2 * w_format * format");
    page.text_with("#formula-note", "valid");
    let other = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["ctl", "weights", "format=0.375"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .status();
    assert!(other.unwrap().success());
    page.click("#formula-apply");
    let said = page.text_with("#formula-note", "Changed meanwhile");
    assert!(said.contains("weights.format: ") && said.contains(" → 0.375"), "{said}");
    assert!(said.contains("ctl") && said.contains("version 6"), "{said}");
    page.complaints.retain(|complaint| !complaint.contains("409"));
    page.click("#formula-note button");
    page.text_with("#formula-note", "version 7");
    page.text_with("#journal-list", "formula adaptive_think + 2 * w_format * format");
}

/// A setting is changed as a weight is; what can't be used is refused in one line.
fn set_the_learning_rate(page: &mut Browser, run: &Run) {
    page.until("document.querySelector('#setting').value === 'grpo.lr'");
    page.fill("#setting-value", "fast");
    page.click("#setting-set");
    page.text_with("#settings-note", "\"fast\"");
    page.complaints.retain(|complaint| !complaint.contains("400"));
    page.fill("#setting-value", "3e-5");
    page.click("#setting-set");
    page.text_with("#settings-note", "version 8");
    assert_eq!(run.get(&run.arm_path(""))["conditions"]["settings"]["grpo.lr"], 3e-5);
    page.text_with("#journal-list", "grpo.lr 0.0001 → 0.00003");
}

/// The arm is copied under another weight, and the copy goes on beside it.
fn fork_the_arm(page: &mut Browser, run: &Run) {
    page.click("#fork");
    page.fill("#fork-name", ARM);
    page.click("#fork-go");
    page.text_with("#fork-note", "there is an arm");
    page.complaints.retain(|complaint| !complaint.contains("400"));
    page.fill("#fork-name", "dry");
    let settings = page.eval("document.querySelector('#fork-settings').value");
    assert!(settings.as_str().unwrap().contains("shaping.weights.format = 0.375"), "{settings}");
    page.fill("#fork-settings", "shaping.weights.format = 0");
    page.click("#fork-go");
    let said = page.text_with("#run-note", "dry is copied from");
    assert!(said.contains("under seed 7"), "{said}");
    page.text_with("#arms-body", "dry");
    let dry = run.get("/api/arms/dry/7");
    assert_eq!(dry["conditions"]["weights"]["format"], 0.0);
    assert_eq!(dry["conditions"]["settings"]["grpo.lr"], 3e-5);
    page.text_with("#journal-list", "forked: copied from");
    let begins = dry["step"].as_u64().unwrap();
    page.until(&format!(
        "[...document.querySelectorAll('#arms-body tr')].some((row) => row.textContent.includes('dry') && \
         Number(row.querySelector('progress').value) * 100000 > {begins})"
    ));
}

/// Dark and light colours differ, and on a phone the page is not wider than the screen.
fn looks(page: &mut Browser) {
    let back = |page: &mut Browser, scheme: &str| {
        page.prefer(scheme);
        page.eval("getComputedStyle(document.body).backgroundColor")
    };
    assert_ne!(back(page, "dark"), back(page, "light"));
    page.resize(390, 844);
    let over = page.eval("document.documentElement.scrollWidth - innerWidth").as_f64().unwrap();
    assert!(over <= 0.0, "{over} pixels too wide");
    page.resize(1440, 1000);
}

/// Stopping needs a confirmation; then the page says that the run has ended, and keeps its curves.
fn stop(page: &mut Browser) {
    page.click("#stop");
    page.click("#stop-dialog button.danger");
    page.text_with("#banner-text", "has ended");
    assert_eq!(page.eval("document.body.dataset.connection"), "ended");
    assert!(page.eval("document.querySelectorAll('#plots canvas').length").as_u64().unwrap() > 4);
}

/// A wrong or missing token is answered in one line; the printed address opens the page, and so does reloading it.
fn without_its_token_the_page_asks_for_it_until_it_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::start(folder.path());
    let mut page = Browser::start(folder.path());
    let open = |page: &mut Browser, text: &str| {
        page.fill("#door-token", text);
        page.click("#door button");
    };
    page.open(&run.address);
    page.text_with("#door", "control.json");
    assert_eq!(page.text("#page"), "");
    open(&mut page, "8f0c…");
    assert_eq!(page.text_with("#door-problem", "token").lines().count(), 1);
    open(&mut page, &format!("{}/#{}", run.address, "0".repeat(64)));
    assert_eq!(page.text_with("#door-problem", "not the token of this run").lines().count(), 1);
    open(&mut page, &format!("{}/#{}", run.address, run.token));
    page.until("document.body.dataset.connection === 'live'");
    assert_eq!(page.text("#door"), "");
    page.call("Page.reload", json!({}));
    page.text_with("#run-state", "running");
    // Chromium writes the refusals to the console; nothing else is there.
    page.complaints.retain(|complaint| !complaint.contains("401"));
    assert_no_complaints(&page, &run);
}
