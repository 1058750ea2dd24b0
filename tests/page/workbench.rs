//! Comparing arms on the live page: curves by arm and by tokens, what two arms said to a question, bookmarks, what-if, the
//! keyboard, and a link that restores all of it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::browser::Browser;
use super::{ARM, Run, assert_no_complaints, open};

/// The key of the completion that has the focus; empty without one.
const FOCUSED_ROW: &str = "document.activeElement?.closest('#rollouts-body tr')?.dataset.key ?? ''";

fn start(folder: &Path) -> Run {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scenarios/smoke.toml");
    let arms = ["--arm", "grpo+atar", "--arm", ARM, "--seeds", "7,8", "--set", "run.parallel_arms=4"];
    let long = ["--set", "run.steps=100000", "--set", "eval.every=40"];
    Run::of(folder, &scenario, &[&arms[..], &long].concat())
}

/// Waits until all arms have taken some steps, then pauses them, so that what is read stays as it is.
fn settle(run: &Run) {
    let all = |wanted: &dyn Fn(&Value) -> bool| {
        run.get("/api/state")["arms"].as_array().unwrap().iter().all(wanted)
    };
    let began = std::time::Instant::now();
    while !all(&|arm| arm["step"].as_u64().unwrap() >= 4) {
        assert!(began.elapsed().as_secs() < 120, "{}", run.get("/api/state"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    run.post("/api/pause", &json!({}));
    while !all(&|arm| arm["status"] == "paused") {
        assert!(began.elapsed().as_secs() < 120, "{}", run.get("/api/state"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

pub fn arms_are_compared_and_a_link_restores_what_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path());
    settle(&run);
    let mut page = open(folder.path(), &run);
    compare_curves(&mut page);
    filter(&mut page, &run);
    go_by_keys(&mut page);
    compare_completions(&mut page, &run);
    bookmark_and_note(&mut page, &run, folder.path());
    what_if(&mut page, &run);
    fork_from_there(&mut page);
    restore(&mut page, &run);
    assert_no_complaints(&page, &run);
}

/// A plot for each arm with a band over its seeds, aligned by steps, tokens and time; or a line for each seed.
fn compare_curves(page: &mut Browser) {
    page.click("#layouts [data-value=arm]");
    page.until("document.querySelectorAll('#plots figure').length === 2");
    let title = page.text_with("#plots figure", "2 seeds");
    assert!(title.contains("Reward"), "{title}");
    let line = "import('/lines.js').then(({ curves }) => [...curves.lines.values()][0])";
    page.until(&format!("{line}.then((line) => line.values.get('reward')?.low !== undefined)"));
    let inside = format!(
        "{line}.then(({{ values }}) => {{ const {{ mean, low, high }} = values.get('reward'); \
         return mean.every((value, at) => low[at] <= value && value <= high[at]); }})"
    );
    assert_eq!(page.eval(&inside), true, "the mean of the seeds is between them");
    page.until("document.querySelector('#range').textContent.startsWith('steps 0–')");
    page.press("x");
    page.until("document.querySelector('#range').textContent.startsWith('tokens 0–')");
    page.until(&format!("{line}.then((line) => line.seeds[0].steps.length === line.xs.length)"));
    page.press("x");
    page.until("document.querySelector('#range').textContent.startsWith('time 0 s–')");
    page.click("#axes [data-value=tokens]");
    page.click("#seeds [data-value=apart]");
    page.until("document.querySelectorAll('#plots figure').length === 4");
    let label = page.eval("document.querySelector('#plots .over').getAttribute('aria-label')");
    assert!(label.as_str().unwrap().contains("seed 7"), "{label}");
    // With an arm to compare with behind each plot.
    page.eval("(() => { const list = document.querySelector('#against'); list.selectedIndex = 1; list.dispatchEvent(new Event('change')); })()");
    page.until("[...document.querySelectorAll('#plots figcaption')].some((node) => node.textContent.includes('beside'))");
}

/// What the server finds is what the page shows.
fn filter(page: &mut Browser, run: &Run) {
    for name in ["thinks-needlessly", "wrong-and-confident"] {
        page.eval(&format!(
            "(() => {{ const list = document.querySelector('#rollouts-filter'); list.value = '{name}'; \
             list.dispatchEvent(new Event('change')); }})()"
        ));
        let arm = page.eval("document.querySelector('#rollouts-arm').value");
        let path = format!("/api/arms/{}/rollouts?filter={name}", arm.as_str().unwrap().replace('+', "%2B"));
        let total = run.get(&path)["total"].as_u64().unwrap();
        let shown = if total == 0 { "No completion".to_owned() } else { format!("of {total} completion") };
        page.text_with("#rollouts-count", &shown);
    }
    page.eval("(() => { const list = document.querySelector('#rollouts-filter'); list.value = ''; list.dispatchEvent(new Event('change')); })()");
    page.fill("#rollouts-step", "2");
    page.until("document.querySelectorAll('#rollouts-body tr:not(.detail)').length === 16");
}

/// Completions, arms and steps are reached without a mouse; the help lists every key that has an effect.
fn go_by_keys(page: &mut Browser) {
    page.eval("document.activeElement.blur()");
    page.press("5");
    page.press("j");
    let first = page.until(FOCUSED_ROW);
    page.press("j");
    let second = page.until(&format!("({FOCUSED_ROW}) !== {first} && ({FOCUSED_ROW})"));
    assert_ne!(first, second);
    page.press("k");
    page.until(&format!("({FOCUSED_ROW}) === {first}"));
    let arm = page.eval("document.querySelector('#rollouts-arm').value");
    page.press("]");
    page.until(&format!("document.querySelector('#rollouts-arm').value !== {arm}"));
    page.press("[");
    page.until(&format!("document.querySelector('#rollouts-arm').value === {arm}"));
    page.press(".");
    page.until("document.querySelector('#rollouts-step').value === '3'");
    page.press(",");
    page.until("document.querySelector('#rollouts-step').value === '2'");
    page.until("document.querySelectorAll('#rollouts-body tr:not(.detail)').length === 16");
    page.press("?");
    page.until("document.querySelector('#help').open");
    let listed: BTreeSet<String> = serde_json::from_value(
        page.eval("[...document.querySelectorAll('#help kbd')].map((node) => node.textContent)"),
    )
    .unwrap();
    for key in ["j", "k", "[", "]", ",", ".", "d", "b", "n", "c", "l", "x", "/", "0", "t", "p", "w", "f"] {
        assert!(listed.contains(key), "the help does not list {key}");
    }
    page.press("Escape");
    page.until("!document.querySelector('#help').open");
}

/// What two arms said to the question of a completion, word by word.
fn compare_completions(page: &mut Browser, run: &Run) {
    page.press("j");
    page.until(FOCUSED_ROW);
    page.press("Enter");
    page.until("document.querySelector('#rollouts-body .detail:not([hidden]) .actions') !== null");
    page.press("d");
    page.until("document.querySelector('#compare-dialog').open");
    page.until("document.querySelectorAll('#compare-two .side pre').length === 2");
    assert_eq!(page.eval("document.querySelectorAll('#compare-arms tr').length"), 4);
    // The address follows a moment later.
    let id = page.until("new URLSearchParams(location.hash.slice(1)).get('question')");
    let answers = run.get(&format!("/api/answers?phase=train&id={}", id.as_str().unwrap()));
    let shown =
        page.eval("[...document.querySelectorAll('#compare-two pre')].map((node) => node.textContent)");
    for text in shown.as_array().unwrap() {
        let said =
            answers["arms"].as_array().unwrap().iter().flat_map(|arm| arm["completions"].as_array().unwrap());
        assert!(said.clone().any(|line| line["completion"] == *text), "{text} was said by an arm");
    }
    // What is not marked is the same on both sides.
    let same = "(() => { const [left, right] = [...document.querySelectorAll('#compare-two pre')].map((node) => \
                [...node.childNodes].filter((part) => part.nodeName === '#text').map((part) => part.data).join('')); \
                return left === right; })()";
    assert_eq!(page.eval(same), true);
    let right = "document.querySelector('[name=compare-1]:checked')?.getAttribute('aria-label')";
    let before = page.eval(right);
    page.press("]");
    page.until(&format!("{right} !== {before}"));
    let differs = page.eval(
        "import('/diff.js').then(({ diff }) => { const { left, right, same } = diff('I hear a dog.', 'I hear one cat.'); \
         return [left.map(({ text, same }) => (same ? text : `-${text}`)).join('|'), right.length, same]; })",
    );
    // Two of four words are the same.
    assert_eq!(differs, json!(["I hear |-a| |-dog|.", 5, 0.5]));
    page.press("Escape");
    page.until("!document.querySelector('#compare-dialog').open");
}

/// A bookmark by a key, a note in the dialog; both are in the run, on the curves and in a shell.
fn bookmark_and_note(page: &mut Browser, run: &Run, folder: &Path) {
    page.press("b");
    page.text_with("#bookmark-list", "no note");
    page.press("n");
    page.until("document.querySelector('#note-dialog').open");
    page.fill("#note-text", "it <b>guesses</b> here");
    page.click("#note-save");
    page.text_with("#bookmark-list", "it <b>guesses</b> here");
    let rows = run.lines("bookmarks.jsonl");
    assert_eq!(rows.len(), 2);
    assert_eq!(
        [&rows[0]["step"], &rows[1]["step"]],
        [2, 2],
        "the place is the completion that has the focus"
    );
    assert_eq!((&rows[1]["completion"]["phase"], &rows[1]["by"]), (&json!("train"), &json!("page")));
    let marked = "import('/marks.js').then(({ marksOf }) => import('/store.js').then(({ store }) => \
                  marksOf(new Set(store.arms.keys())).filter(({ bookmark }) => bookmark).map(({ text }) => text)))";
    let marks = page.eval(marked);
    assert!(
        marks.as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("guesses")),
        "{marks}"
    );
    let listed = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["ctl", "bookmarks"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("guesses"));
    page.click("[data-number='1'] .row button:last-child");
    page.until("document.querySelectorAll('#bookmark-list li').length === 1");
}

/// The figures of other weights are the server's, and nothing changes.
fn what_if(page: &mut Browser, run: &Run) {
    page.eval("(() => { const list = document.querySelector('#scope'); list.selectedIndex = 1; list.dispatchEvent(new Event('change')); })()");
    let arm = page.eval("document.querySelector('#scope').value");
    let path = format!("/api/arms/{}", arm.as_str().unwrap().replace('+', "%2B"));
    let conditions = run.get(&path)["conditions"].clone();
    let formula = conditions["formula"].as_str().unwrap();
    let weights = conditions["weights"].as_object().unwrap();
    let name = weights.keys().find(|name| formula.contains(&format!("w_{name} "))).unwrap().clone();
    page.click("#what-if summary");
    page.fill("#if-step", "2");
    let field = format!("#if-weights [data-name='{name}']");
    page.fill(&field, "25");
    let found = run.post(&format!("{path}/reshape"), &json!({"step": 2, "weights": {name.as_str(): 25}}));
    let share = 100.0 * found["changed_signs"].as_f64().unwrap();
    page.text_with("#if-note", &format!("{share:.1} %"));
    page.text_with("#if-figures", "rank correlation");
    assert_eq!(run.get(&path)["conditions"]["version"], 0, "nothing was changed");
    page.click("#if-fork");
    page.until("document.querySelector('#fork-dialog').open");
    let settings = page.eval("document.querySelector('#fork-settings').value");
    assert!(settings.as_str().unwrap().contains(&format!("shaping.weights.{name} = 25")), "{settings}");
    page.press("Escape");
}

/// The dialog begins with the arm and the step of the completion that has the focus.
fn fork_from_there(page: &mut Browser) {
    page.eval("document.querySelector('#rollouts-body .fold').focus()");
    let arm = page.eval("document.querySelector('#rollouts-arm').value.split('/')[0]");
    page.press("c");
    page.until("document.querySelector('#fork-dialog').open");
    assert_eq!(page.eval("document.querySelector('#fork-arm').value"), arm);
    assert_eq!(page.eval("document.querySelector('#fork-step').value"), "2");
    page.press("Escape");
}

/// The copied link has no token; with one, it shows the same again.
fn restore(page: &mut Browser, run: &Run) {
    page.eval("document.querySelector('#rollouts-body .fold').focus()");
    page.press("d");
    page.until("document.querySelectorAll('#compare-two .side pre').length === 2");
    let link = page.eval("import('/link.js').then(({ address }) => address())").as_str().unwrap().to_owned();
    assert!(!link.contains(&run.token), "{link}");
    assert!(link.contains("x=tokens") && link.contains("layout=arm") && link.contains("question="), "{link}");
    page.until(&format!("location.hash.startsWith('#{}&')", run.token));
    page.open("about:blank");
    let view = link.split_once('#').unwrap().1;
    page.open(&format!("{}/#{}&{view}", run.address, run.token));
    page.until("document.querySelector('#compare-dialog')?.open");
    page.until("document.querySelectorAll('#compare-two .side pre').length === 2");
    page.press("Escape");
    page.until("document.querySelectorAll('#plots figure').length === 4");
    let chosen =
        "[...document.querySelectorAll('.tools [aria-pressed=true]')].map((node) => node.dataset.value)";
    let pressed: Vec<Value> = serde_json::from_value(page.eval(chosen)).unwrap();
    for value in ["arm", "tokens", "apart"] {
        assert!(pressed.contains(&json!(value)), "{pressed:?}");
    }
    page.until("document.querySelector('#rollouts-step').value === '2'");
    page.until("document.querySelector('#rollouts-body .detail:not([hidden])') !== null");
    // A bookmark's view is such a link: it shows what was shown when it was made.
    page.click("#axes [data-value=step]");
    page.click("#bookmark-list .link");
    page.until("document.querySelector('#axes [data-value=tokens]').getAttribute('aria-pressed') === 'true'");
    page.until("location.hash.includes('bookmark=2')");
    let recorded = fs::read_to_string(run.dir.join("bookmarks.jsonl")).unwrap();
    assert!(!recorded.contains(&run.token), "no token is written into the run");
}
