//! Measures the live page with 20 arms of 10,000 steps: how long it takes until the curves are drawn, and how much of the main
//! thread an update takes. `SCREENSHOTS=FOLDER` keeps pictures of it. Enter results in docs/log.md.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Run;
use super::browser::Browser;

const ARMS: usize = 20;
const STEPS: u64 = 10_000;
const UPDATES: usize = 30;

fn write_scenario(folder: &Path) -> PathBuf {
    let mut text = String::from(
        "[run]\nname = \"twenty\"\nseeds = [7]\nsteps = 20000\ndevice = \"cpu\"\nthreads = 1\nparallel_arms = 20\n\
         [policy]\nfrom_scratch = true\n[data.soundscapes]\ntrain_clips = 6\nheldout_clips = 3\n\
         [sampling]\ngroup_size = 4\nprompts_per_step = 2\nmax_new_tokens = 8\n[eval]\nevery = 0\n[limits]\naction = \"ignore\"\n\
         [rewards]\naccuracy = { kind = \"accuracy\" }\nformat = { kind = \"format\" }\nthink = { kind = \"think\" }\n\
         consistency = { kind = \"consistency\" }\n\
         [shaping]\nformula = \"accuracy + w_format * format + w_think * think + w_consistency * consistency\"\n\
         weights = { format = 0.5, think = 0.25, consistency = 0.25 }\n",
    );
    for arm in 1..=ARMS {
        text +=
            &format!("[[arm]]\nname = \"weight-{arm:02}\"\nshaping.weights.think = {}\n", arm as f64 / 20.0);
    }
    let path = folder.join("twenty.toml");
    fs::write(&path, text).unwrap();
    path
}

fn paused(run: &Run) {
    let is = |arm: &Value, status: &str| arm["status"] == status;
    let all =
        |status: &str| run.get("/api/state")["arms"].as_array().unwrap().iter().all(|arm| is(arm, status));
    let taken = || {
        run.get("/api/state")["arms"].as_array().unwrap().iter().all(|arm| arm["step"].as_u64() >= Some(1))
    };
    while !taken() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    run.post("/api/pause", &json!({}));
    while !all("paused") {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// A later row of an arm, with figures that move as in a training.
fn row(like: &Value, arm: usize, step: u64) -> String {
    let mut row = like.clone();
    let (at, of) = (step as f64 / STEPS as f64, arm as f64 / ARMS as f64);
    let noise = |salt: u64| {
        let mixed = (step * 2_654_435_761 + salt * 97 + arm as u64 * 7_919) % 1_000;
        mixed as f64 / 1_000.0 - 0.5
    };
    let curve = |salt: u64| (0.3 + 0.5 * at.powf(0.4 + of) + 0.12 * noise(salt)).clamp(0.0, 1.0);
    row["step"] = json!(step);
    for (salt, name) in
        ["reward", "accuracy", "think_rate", "format_rate", "kl", "loss", "grad_norm"].iter().enumerate()
    {
        row[name] = json!(curve(salt as u64));
    }
    for group in ["components", "think_rate_by_difficulty"] {
        for (salt, value) in
            row[group].as_object_mut().into_iter().flat_map(|group| group.values_mut()).enumerate()
        {
            *value = json!(curve(20 + salt as u64));
        }
    }
    row["tokens_per_second"] = json!(900.0 + 200.0 * noise(50));
    row["step_seconds"] = json!(1.0 + 0.2 * noise(51));
    row.to_string() + "\n"
}

fn file(run: &Run, arm: usize) -> PathBuf {
    run.dir.join(format!("weight-{:02}/seed-7/metrics.jsonl", arm + 1))
}

/// Fills the metrics of all arms, which are paused, up to 10,000 steps; returns the last row of each.
fn fill(run: &Run) -> Vec<Value> {
    let mut last = Vec::new();
    for arm in 0..ARMS {
        let path = file(run, arm);
        let text = fs::read_to_string(&path).unwrap();
        let like: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let first = like["step"].as_u64().unwrap() + 1;
        let rows: String = (first..=STEPS).map(|step| row(&like, arm, step)).collect();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(rows.as_bytes()).unwrap();
        last.push(like);
    }
    last
}

fn milliseconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The time from opening the page until its first paint, and until the curves are drawn.
fn first_paint(page: &mut Browser, run: &Run) -> (f64, f64) {
    page.open("about:blank");
    page.open(&format!("{}/#{}", run.address, run.token));
    page.until("document.body?.dataset.connection === 'live'");
    page.until("performance.getEntriesByName('curves').length > 0 && document.querySelectorAll('#plots canvas').length > 8");
    let drawn = "(() => { const [curves] = performance.getEntriesByName('curves'); return curves.startTime + curves.duration; })()";
    let painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
    let found = (milliseconds(&page.eval(painted)), milliseconds(&page.eval(drawn)));
    // The rest of long records comes with later answers.
    page.until(&format!(
        "import('/lines.js').then(({{ curves }}) => curves.pending === 0 && curves.lines.size === {ARMS})"
    ));
    let last = "performance.now()";
    println!("all {ARMS} arms after at most {:.0} ms", milliseconds(&page.eval(last)));
    found
}

/// Seconds that the main thread of the page has been busy: its own time, whatever else the machine does.
fn busy(page: &mut Browser) -> f64 {
    let metrics = page.call("Performance.getMetrics", json!({}));
    let task = |metric: &&Value| metric["name"] == "TaskDuration";
    metrics["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(task)
        .and_then(|metric| metric["value"].as_f64())
        .unwrap()
}

/// Adds a step to every arm and lets the page take it in, again and again; returns the mean and the longest task in ms.
fn updates(page: &mut Browser, run: &Run, last: &[Value], from: u64) -> (f64, f64) {
    page.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
    page.eval(
        "(() => { window.longest = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries()) \
         longest = Math.max(longest, entry.duration); }).observe({ type: 'longtask' }); })()",
    );
    let mut total = 0.0;
    for update in 0..UPDATES {
        let step = from + update as u64;
        for (arm, like) in last.iter().enumerate() {
            let mut metrics = fs::OpenOptions::new().append(true).open(file(run, arm)).unwrap();
            metrics.write_all(row(like, arm, step).as_bytes()).unwrap();
        }
        let before = busy(page);
        // What the event of a step of every arm does. The page itself waits for the curves: asking it again and again would
        // count as its own time.
        page.eval(&format!(
            "Promise.all([import('/sync.js'), import('/store.js')]).then(([{{ takeEvent }}, {{ store }}]) => new Promise((done) => {{ \
             new PerformanceObserver((list, self) => {{ if (list.getEntriesByName('curves').length) {{ self.disconnect(); done(); }} }}) \
             .observe({{ entryTypes: ['measure'] }}); \
             for (const {{ arm, seed }} of store.arms.values()) takeEvent('step', {{ arm, seed, metrics: {{ step: {step}, \
             total_steps: 20000, reward: 0.5, accuracy: 0.5, think_rate: 0.5, tokens_per_second: 900 }} }}); }}))"
        ));
        page.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
        total += busy(page) - before;
    }
    (1e3 * total / UPDATES as f64, milliseconds(&page.eval("longest")))
}

fn picture(page: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
    page.screenshot(&Path::new(&folder).join(name));
}

pub fn twenty_arms_of_ten_thousand_steps() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::of(folder.path(), &write_scenario(folder.path()), &[]);
    paused(&run);
    let last = fill(&run);
    let bytes: u64 = (0..ARMS).map(|arm| fs::metadata(file(&run, arm)).unwrap().len()).sum();
    println!("{ARMS} arms × {STEPS} steps, {} MiB of metrics", bytes >> 20);
    let mut page = Browser::start(folder.path());
    for which in ["the server has read nothing yet", "again"] {
        let (painted, drawn) = first_paint(&mut page, &run);
        println!("first paint {painted:.0} ms, curves drawn {drawn:.0} ms ({which})");
    }
    picture(&mut page, "live-page-20-arms.png");
    let (mean, longest) = updates(&mut page, &run, &last, STEPS + 1);
    println!(
        "an update, a plot per metric: {mean:.1} ms of the main thread, longest task {longest:.0} ms (0: below 50)"
    );
    page.click("#layouts [data-value=arm]");
    page.until("document.querySelectorAll('#plots figure').length === 20");
    picture(&mut page, "live-page-20-arms-by-arm.png");
    let (mean, longest) = updates(&mut page, &run, &last, STEPS + 1 + UPDATES as u64);
    println!(
        "an update, a plot per arm: {mean:.1} ms of the main thread, longest task {longest:.0} ms (0: below 50)"
    );
}
