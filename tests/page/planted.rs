//! Markup and scripts in every text that the live page and the report show: in names, file names, questions, completions,
//! reasons and messages. All of it must be shown, and none of it may become an element or run.
//!
//! - `PAGE-1` text from data, the policy, plug-ins and clients is never markup, and the policy of the page would stop a
//!   script if it were.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::browser::Browser;
use super::{Run, assert_no_complaints, open};

/// Markup that would call `planted` in several ways, and that names the field it is planted in.
fn markup(field: &str) -> String {
    let call = format!("planted('{field}')");
    format!(
        "{field}: \"' <img src=x onerror=\"{call}\"><script>{call}</script><svg onload={call}></textarea></pre>\
         {{{{ 7 * 7 }}}}"
    )
}

/// The same in a file's name, and in a reward's, which can't contain all of it.
fn name(field: &str) -> String {
    format!("{field} <img src=x onerror=planted('{field}')>")
}

/// Asserts that nothing planted has run or become an element.
fn assert_inert(page: &mut Browser, scripts: u64) {
    // A reference to an error handler that is blocked would be logged, and an image would be requested.
    let seen = page.eval(
        "[typeof window.planted, document.scripts.length, document.querySelectorAll('img, iframe, object, embed, base, \
         form[action], [onload], [onerror], [onfocus], [autofocus]:not(button), a[href^=javascript]').length, \
         getComputedStyle(document.body).display !== 'none']",
    );
    assert_eq!(seen, json!(["undefined", scripts, 0, true]));
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    let requested: Vec<&String> = page.requested.iter().filter(|address| address.ends_with("/x")).collect();
    assert!(requested.is_empty(), "{requested:?}");
}

/// Asserts that the browser would refuse markup and scripts even if the page made them. Leaves complaints.
fn assert_guarded(page: &mut Browser) {
    for sink in [
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.body.innerHTML = '<b>x</b>'",
        "document.createElement('iframe').srcdoc = '<b>x</b>'",
        "document.createElement('script').text = '1'",
    ] {
        let refused = page.eval(&format!(
            "(() => {{ try {{ {sink}; return ''; }} catch (error) {{ return error.name; }} }})()"
        ));
        assert_eq!(refused, "TypeError", "{sink}");
    }
    page.eval(
        "(() => { window.ran = []; const node = document.createElement('button'); \
         node.setAttribute('style', 'color: rgb(1, 2, 3)'); \
         try { node.setAttribute('onclick', 'ran.push(1)'); } catch {} \
         document.body.append(node); node.click(); ran.push(getComputedStyle(node).color); node.remove(); })()",
    );
    assert_ne!(page.eval("ran"), json!(["rgb(1, 2, 3)"]), "a style attribute has an effect");
    assert_eq!(page.eval("ran.includes(1)"), false, "a handler in an attribute runs");
}

fn write_scenario(folder: &Path) -> PathBuf {
    let tone = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/audio/tone_0p5s.wav");
    fs::copy(tone, folder.join(name("clip") + ".wav")).unwrap();
    let choices = [markup("choice"), "cat".to_owned()];
    let row = |n: usize| {
        let id = format!("{n} {}", markup("id"));
        let row = json!({
            "id": id, "question": markup("question"), "choices": choices, "answer": choices[0],
            "audio_path": name("clip") + ".wav", "modality": markup("kind"), "category": markup("category"),
        });
        row.to_string() + "\n"
    };
    let data = name("data") + ".jsonl";
    fs::write(folder.join(&data), (0..4).map(row).collect::<String>()).unwrap();
    // The first batches are scored, so that the run starts; then every batch fails.
    let failure = format!("raise ValueError({})", json!(markup("failure")));
    let code = format!(
        "calls = 0\ndef reward(completions, **columns):\n    global calls\n    calls += 1\n    if calls > 2:\n        \
         {failure}\n    return [0.5] * len(completions)\n"
    );
    let file = name("file") + ".py";
    fs::write(folder.join(&file), code).unwrap();
    let quoted = |text: &str| json!(text).to_string();
    let (reward, weight) = (name("reward"), name("weight"));
    let scenario = format!(
        "[run]\nname = \"planted\"\nseeds = [7]\nsteps = 100000\ndevice = \"cpu\"\nthreads = 1\n\
         [policy]\nfrom_scratch = true\n\
         [data]\ntrain = {{ format = \"mmar\", path = {data} }}\n\
         [eval]\nevery = 2\nlimit = 2\nsuites = [{{ format = \"mmar\", path = {data} }}]\n\
         [sampling]\ngroup_size = 2\nprompts_per_step = 1\nmax_new_tokens = 4\n\
         [rewards]\naccuracy = {{ kind = \"accuracy\" }}\n{reward_key} = {{ kind = \"python\", file = {file} }}\n\
         [shaping]\nformula = {formula}\nweights = {{ {weight_key} = 0.5 }}\n\
         [[arm]]\nname = \"a\"\n",
        data = quoted(&data),
        file = quoted(&file),
        reward_key = quoted(&reward),
        weight_key = quoted(&weight),
        formula = quoted(&format!("accuracy + {{w_{weight}}}")),
    );
    let path = folder.join("planted.toml");
    fs::write(&path, scenario).unwrap();
    path
}

/// A line of `rollouts.jsonl` with markup in each of its texts. The name of its clip has some already.
fn planted_rollout(line: &Value, step: u64) -> Value {
    let mut line = line.clone();
    for field in ["id", "question", "answer_gold", "kind", "completion", "think", "answer"] {
        line[field] = json!(markup(field));
    }
    line["choices"] = json!([markup("choice"), markup("answer_gold")]);
    line["mode"] = json!("think");
    line["components"][markup("component")] = json!(0.5);
    line["step"] = json!(step);
    line
}

/// Text of the policy, of data, of a plug-in and of a client on the live page, then in the report of the same run.
pub fn markup_in_any_field_is_shown_as_text_and_never_runs() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = write_scenario(folder.path());
    let run = Run::of(folder.path(), &scenario, &[]);
    let mut page = open(folder.path(), &run);
    // The plug-in's message reaches the card of its reward.
    page.text_with("#rewards", &markup("failure"));
    run.post("/api/arms/a/7/pause", &json!({"reason": markup("reason")}));
    page.text_with("#journal-list", &markup("reason"));
    page.text_with("#arms-body", &markup("reason"));
    let file = run.dir.join("a/seed-7/rollouts.jsonl");
    let recorded = fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(recorded.lines().last().unwrap()).unwrap();
    fs::write(&file, format!("{recorded}{}\n", planted_rollout(&last, 1_000_000))).unwrap();
    page.click("#rollouts-reload");
    // The rows before have the question too; only the new one has an answer.
    page.text_with("#rollouts-body", &markup("answer"));
    page.click("#rollouts-body .fold");
    page.text_with(".completion", &markup("id"));
    for field in
        ["id", "question", "choice", "answer_gold", "kind", "completion", "think", "answer", "component"]
    {
        // Opened and read at once, because the page may draw a completion again in between, which closes what was open in it.
        page.until(&format!(
            "(document.querySelectorAll('.completion details').forEach((node) => {{ node.open = true; }}), \
             document.querySelector('.completion')?.innerText.includes({}))",
            json!(markup(field))
        ));
    }
    for (selector, field) in [
        ("#weights", "weight"),
        ("#reward-cards", "reward"),
        ("#reward-cards", "file"),
        (".completion", "clip"),
    ] {
        page.text_with(selector, &name(field));
    }
    page.until(&format!("document.querySelector('#formula').value.includes({})", json!(name("weight"))));
    run.post("/api/bookmarks", &json!({"arm": "a", "seed": 7, "note": markup("note")}));
    page.text_with("#bookmark-list", &markup("note"));
    page.click(".actions button");
    page.text_with("#compare-two", &markup("completion"));
    page.text_with("#compare-question", &markup("question"));
    page.press("Escape");
    // Dialogs show names too.
    page.click("#reward-cards footer button");
    page.until("document.querySelector('#swap-dialog').open");
    page.click("[data-close]");
    assert_inert(&mut page, 1);
    assert_no_complaints(&page, &run);
    assert_huge_axes_end(&mut page);
    assert_guarded(&mut page);
    drop(page);
    let dir = run.dir.clone();
    drop(run);
    in_the_report(folder.path(), &dir);
}

/// The marks of an axis between huge values that lie close together: adding 1 to a number of that size does not change it.
fn assert_huge_axes_end(page: &mut Browser) {
    let counted = page.eval(
        "import('/series.js').then(({ ticks }) => [[0, 1], [1e16, 1e16 + 4], [1e300, 1.0000000000000002e300], [-1e308, 1e308], \
         [5e-324, 1e-323]].map(([low, high]) => ticks(low, high, 4).length))",
    );
    let counts = counted.as_array().unwrap();
    assert_eq!(counts[0], 3, "0, 0.5, 1");
    assert!(counts.iter().all(|count| count.as_u64().unwrap() <= 10), "{counted}");
}

fn in_the_report(folder: &Path, dir: &Path) {
    let seed = dir.join("a/seed-7");
    let rollouts = fs::read_to_string(seed.join("rollouts.jsonl")).unwrap();
    let planted: String = rollouts
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| planted_rollout(&line, line["step"].as_u64().unwrap()).to_string() + "\n")
        .collect();
    fs::write(seed.join("rollouts.jsonl"), planted).unwrap();
    let mut status: Value = serde_json::from_slice(&fs::read(seed.join("status.json")).unwrap()).unwrap();
    (status["status"], status["reason"]) = (json!("failed"), json!(markup("reason")));
    fs::write(seed.join("status.json"), status.to_string()).unwrap();
    let report = Command::new(env!("CARGO_BIN_EXE_sandbox")).arg("report").arg(dir).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let mut page = Browser::start(folder);
    page.open(&format!("file://{}", dir.join("report.html").display()));
    page.until("document.querySelector('.completion') !== null");
    page.eval("document.querySelectorAll('details').forEach((node) => { node.open = true; })");
    for field in ["question", "choice", "kind", "think", "answer", "component"] {
        page.text_with("#completions", &markup(field));
    }
    for (selector, field) in [("#completions", "clip"), ("body", "data")] {
        page.text_with(selector, &name(field));
    }
    page.text_with("main", &markup("reason"));
    page.text_with("#bookmarks", &markup("note"));
    page.text_with("main", &name("weight"));
    assert_inert(&mut page, 1);
    assert_guarded(&mut page);
}
