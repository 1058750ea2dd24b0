use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{fabricate, *};

/// Asserts that every coordinate in the page's SVGs is a finite number.
fn assert_finite_coordinates(page: &str) {
    for broken in ["NaN", "inf,", "Infinity", "undefined"] {
        let svgs = page.split("<svg").skip(1).filter_map(|rest| rest.split("</svg>").next());
        assert!(svgs.into_iter().all(|svg| !svg.contains(broken)), "an SVG contains {broken}");
    }
}

#[test]
fn a_run_of_all_arms_gets_its_three_files() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("REPORT_FIXTURE").map(PathBuf::from);
    let dir = kept.unwrap_or_else(|| temporary.path().join("ablation-20250131-120000"));
    fs::create_dir_all(&dir).unwrap();
    fabricate::run(&dir, &[1, 2, 3], 300);
    let summary = write_report(&RunDir::new(&dir)).unwrap();
    assert_eq!(summary.arms.len(), 8);
    assert_eq!(summary.arms[0].name, "base");
    // Three seeds of 3 × 128 questions.
    assert_eq!(summary.arms[3].evals["builtin:soundscapes"].overall.counts.n, 3 * 384);
    assert!(!summary.complete, "the last seed of the last arm was killed");
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert_finite_coordinates(&page);
    assert!(page.contains("Qwen2-Audio-7B") && page.contains("67.7"));
    let markdown = fs::read_to_string(dir.join("summary.md")).unwrap();
    assert!(markdown.contains("63.8 / 50.2 / 64.5"), "{markdown}");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("summary.json")).unwrap()).unwrap();
    assert_eq!(json["arms"][5]["adaptive"], true);
}

// REPORT-2
#[test]
fn completions_are_escaped_and_the_page_loads_nothing_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1], 6);
    write_report(&RunDir::new(dir.path())).unwrap();
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert("), "the hostile completion is shown");
    assert!(!page.contains("<script>") && !page.contains("<img"));
    // One style sheet, one script, no style in an element, and nothing that points outside.
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
    assert!(!page.contains("unsafe-inline") && !page.contains(" style="));
    for outside in ["http://", "https://", "src=\"", "url(", "@import"] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "the page points outside with {outside}");
    }
}

// REPORT-1
#[test]
fn a_killed_run_is_reported_up_to_its_last_recorded_step() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1, 2], 30);
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    let killed = summary.arms.last().unwrap();
    assert_eq!(killed.seeds[1].status, "running");
    assert_eq!(killed.seeds[1].step, 20);
    // The first seed's counts are from status.json, 30 × 8; the killed seed's are summed over its steps, 20 × 8.
    assert_eq!(killed.groups.as_ref().unwrap().dispatched, 240 + 160);
    assert!(
        summary
            .notes
            .iter()
            .any(|note| note.contains("seed 2) was still running, or killed, at step 20 of 30"))
    );
    assert!(
        !summary.notes.iter().any(|note| note.contains("could not be read")),
        "an incomplete last line is expected and needs no note"
    );
    // Both seeds lack scores at step 7: 2 × (60 null + 4 timed out).
    let missing = format!("{}: 128 scores of `think` are missing (120 null, 8 timed_out).", killed.name);
    assert!(summary.notes.contains(&missing), "{:?}", summary.notes);
}

#[test]
fn bookmarks_are_listed_without_those_that_were_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1], 5);
    let bookmark = |number: u64, note: &str, removed: bool| {
        let row = json!({"format_version": 1, "number": number, "time": "2026-01-31T12:00:00.000Z", "by": "page", "arm": "grpo",
            "seed": 1, "step": 4, "note": note, "removed": removed,
            "completion": {"phase": "train", "group": 0, "index": 1, "question": "clip-3"}});
        format!("{row}\n")
    };
    let rows =
        [bookmark(1, "it <b>guesses</b>", false), bookmark(2, "a mistake", false), bookmark(2, "", true)];
    fs::write(dir.path().join("bookmarks.jsonl"), rows.concat()).unwrap();
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    assert_eq!(summary.bookmarks, ["grpo (seed 1), step 4, on clip-3: it <b>guesses</b>"]);
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("it &lt;b&gt;guesses&lt;&#x2f;b&gt;"), "a note is text");
    assert!(fs::read_to_string(dir.path().join("summary.md")).unwrap().contains("## Bookmarks"));
}

// REPORT-1
#[test]
fn a_run_without_any_metrics_can_be_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("scenario.toml"), "[[arm]]\nname = \"a\"\n[[arm]]\nname = \"b\"\n").unwrap();
    fs::create_dir_all(dir.path().join("a/seed-7")).unwrap();
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    assert_eq!(summary.suites.len(), 0);
    assert_eq!(summary.notes.iter().filter(|note| note.contains("b has not started")).count(), 1);
    assert!(
        fs::read_to_string(dir.path().join("summary.md")).unwrap().contains("Nothing has been evaluated yet")
    );
}

#[test]
fn a_directory_that_is_not_a_run_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(write_report(&RunDir::new(dir.path())), Err(ReportError::NotARun { .. })));
    assert!(matches!(write_report(&RunDir::new(dir.path().join("gone"))), Err(ReportError::Read(_))));
}

#[test]
fn a_narrow_terminal_table_omits_the_papers_columns() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1], 6);
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    assert!(summary.terminal_table(200).contains("Qwen2-Audio"));
    let narrow = summary.terminal_table(100);
    assert!(!narrow.contains("Qwen2-Audio"));
    assert!(narrow.lines().all(|line| line.chars().count() <= 100), "{narrow}");
}

/// Changes a JSON file.
fn edit(path: &std::path::Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

// HEALTH-1
#[test]
fn an_arm_whose_policy_died_is_marked_in_every_table() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1, 2], 6);
    edit(&dir.path().join("grpo/seed-2/status.json"), |status| {
        status["health"] = serde_json::json!({"died": "the policy died: of boredom", "skipped_steps": 3});
    });
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    let markdown = fs::read_to_string(dir.path().join("summary.md")).unwrap();
    // In the conclusions, the results, by difficulty, and in the groups.
    assert_eq!(markdown.matches("grpo (policy died in 1 of 2 seeds)").count(), 4, "{markdown}");
    assert!(summary.terminal_table(300).contains("grpo (policy died in 1 of 2 seeds)"));
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("† policy died in 1 of 2 seeds"));
    let notes = summary.notes.join("\n");
    assert!(notes.contains("grpo (seed 2): the policy died: of boredom."), "{notes}");
    assert!(notes.contains("grpo (seed 2): 3 optimizer steps were skipped"), "{notes}");
}

// DATA-4
#[test]
fn an_evaluation_that_could_not_ask_all_questions_says_so_in_every_table() {
    let dir = tempfile::tempdir().unwrap();
    fabricate::run(dir.path(), &[1], 6);
    let path = dir.path().join("grpo/seed-1/eval.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    // 3 × 128 questions were asked.
    fs::write(
        &path,
        text.replace("{\"step\"", "{\"questions\":400,\"unusable\":{\"audio_silent\":16},\"step\""),
    )
    .unwrap();
    let summary = write_report(&RunDir::new(dir.path())).unwrap();
    assert!(summary.terminal_table(300).contains("(384 of 400 asked)"), "{}", summary.terminal_table(300));
    assert!(fs::read_to_string(dir.path().join("summary.md")).unwrap().contains("(384 of 400 asked)"));
    assert!(fs::read_to_string(dir.path().join("report.html")).unwrap().contains("384 of 400 asked"));
    let notes = summary.notes.join("\n");
    assert!(notes.contains("384 of 400 asked; the others are left out (16 audio_silent)"), "{notes}");
}

// COMPARE-1
#[test]
fn runs_are_compared_arm_by_arm_and_refused_with_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fabricate::run(&path, &[1, 2, 3], 6);
        RunDir::new(path)
    };
    let (first, second, third) = (run("first"), run("second"), run("third"));
    let compared = compare_runs(&[first.clone(), second.clone(), third.clone()]).unwrap();
    assert_eq!((compared.arms.len(), compared.comparisons.len()), (24, 16));
    assert_eq!(compared.comparisons[0].arm, "second:base");
    assert_eq!(compared.comparisons[0].over, "first:base");
    // The runs are the same.
    let found = |comparison: &Comparison| {
        comparison
            .differences
            .iter()
            .any(|difference| difference.estimate.is_some_and(|found| found.value != 0.0))
    };
    assert!(!compared.comparisons.iter().any(found));
    assert!(compared.terminal_table(200).contains("second:grpo+atar"));

    let refused = |runs: &[RunDir]| compare_runs(runs).map(drop).unwrap_err().to_string();
    let scenario = third.scenario();
    let text = fs::read_to_string(&scenario).unwrap();
    fs::write(&scenario, format!("[prompt]\nchoices = \"letters\"\n{text}")).unwrap();
    let message = refused(&[first.clone(), third.clone()]);
    assert!(message.contains("third:base has prompt.choices = \"letters\", and first:base"), "{message}");
    fs::write(&scenario, text).unwrap();
    let rollouts = third.path().join("sft/seed-2/rollouts.jsonl");
    let text = fs::read_to_string(&rollouts).unwrap();
    fs::write(&rollouts, text.replace("modulo five?", "modulo six?")).unwrap();
    let message = refused(&[first, third]);
    assert!(message.contains("of builtin:soundscapes is another one than in first"), "{message}");
}
