//! The command line around runs: patterns of arms, ranges of seeds, `init`, `ls`, `completions`, `man`, `--quiet`, `--json`
//! and models by name. A test of the package `sandbox` (see bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The root folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn scenario(name: &str) -> String {
    root().join("scenarios").join(name).display().to_string()
}

fn sandbox(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.current_dir(dir).env_remove("RUST_LOG").env("HF_HUB_CACHE", dir.join("hub"));
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    sandbox(dir).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command that succeeds prints on standard output.
fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command with unusable input prints on standard error.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_world_is_exported_as_a_data_set() {
    let dir = tempfile::tempdir().unwrap();
    fn export<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["data", "export"][..], arguments].concat()
    }
    let few = ["--set", "data.soundscapes.train_clips=3", "--set", "data.soundscapes.heldout_clips=2"];
    let said = printed(dir.path(), &export(&[&["builtin:soundscapes", "--out", "mine"][..], &few].concat()));
    assert!(
        said.contains("builtin:soundscapes: 18 training rows and 6 held-out rows about 5 clips"),
        "{said}"
    );
    let rows = fs::read_to_string(dir.path().join("mine/train.jsonl")).unwrap();
    for row in rows.lines().map(json) {
        assert!(dir.path().join("mine").join(row["audio_path"].as_str().unwrap()).is_file(), "{row}");
    }
    let clips = fs::read_dir(dir.path().join("mine/audio")).unwrap();
    assert_eq!(clips.count(), 5);
    let smoke = scenario("smoke.toml");
    assert!(printed(dir.path(), &export(&[&smoke, "--out", "smoke"])).contains("builtin:soundscapes: "));

    for (arguments, expected) in [
        (
            &["builtin:soundscapes", "--out", "mine"][..],
            "mine: exists already and is not empty; choose another folder",
        ),
        (&["builtin:spokn", "--out", "x"], "no such world; did you mean `builtin:spoken`?"),
        (&["builtin:recorded", "--out", "x"], "`sounds` in [data.recorded] is missing"),
        (
            &["builtin:recorded", "--out", "x", "--set", "data.recorded.sounds=none"],
            "none: no such folder; set sounds",
        ),
    ] {
        let said = refused(dir.path(), &export(arguments));
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
        assert!(!dir.path().join("x").exists());
    }
}

#[test]
fn arms_are_selected_by_patterns_and_seeds_by_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let ablation = scenario("ablation.toml");
    let arms = ["--arm", "grpo*", "--arm", "!*cot", "--seeds", "7,1..3"];
    let resolved = printed(dir.path(), &[&[ablation.as_str(), "--dry-run"][..], &arms].concat());
    let resolved: toml::Table = resolved.parse().unwrap();
    let names: Vec<&str> =
        resolved["arm"].as_array().unwrap().iter().map(|arm| arm["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["grpo", "grpo+atar", "grpo+atar+cr", "grpo+atar+cr+tr"]);
    let seeds: Vec<i64> =
        resolved["run"]["seeds"].as_array().unwrap().iter().map(|seed| seed.as_integer().unwrap()).collect();
    assert_eq!(seeds, [7, 1, 2, 3]);

    for command in [&[ablation.as_str()][..], &["judge", &ablation]] {
        let said = refused(dir.path(), &[command, &["--arm", "gpro*"]].concat());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("--arm gpro*: no arm matches `gpro*`; did you mean `grpo`? The arms are base, sft")
        );
    }
    for (seeds, reason) in [
        ("1..x", "`1..x` is no seed"),
        ("5..1", "ends before it begins"),
        ("1..2000", "more than 1000 seeds"),
        ("-1", "`-1` is no seed"),
    ] {
        let said = refused(dir.path(), &[&ablation, "--seeds", seeds]);
        assert!(said.contains(reason), "{said}");
    }
    let said = refused(dir.path(), &[&ablation, "--seeds", "1..3,2"]);
    assert!(said.contains("`seeds` in [run] has 2 twice"), "{said}");
}

#[test]
fn what_init_writes_passes_its_check_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    for (from, file) in [
        ("ablation", "ablation.toml"),
        ("own-data", "own-data.toml"),
        ("7b", "audio-thinker-qwen2-audio.toml"),
    ] {
        let said = printed(dir.path(), &["init", "study", "--from", from]);
        assert!(said.starts_with(&format!("wrote study/{file}\nnext:\n")), "{said}");
        assert!(said.contains(&format!("  sandbox check study/{file} ")), "{said}");
        let file = format!("study/{file}");
        printed(dir.path(), &["check", "--no-files", &file]);
        let refused = refused(dir.path(), &["init", "study", "--from", from]);
        assert!(refused.contains(&format!("{file}: exists already")), "{refused}");
    }
    assert!(dir.path().join("study/scenario.schema.json").is_file());
    // Without options it is a scenario that runs at once, in the current folder.
    assert!(printed(dir.path(), &["init"]).starts_with("wrote ablation.toml\n"));
    printed(dir.path(), &["ablation.toml", "--dry-run"]);
    // What is missing is named with what to do about it.
    let said = refused(dir.path(), &["check", "study/own-data.toml"]);
    assert!(
        said.contains("own-data.toml:") && said.contains("`hf download Qwen/Qwen2-Audio-7B-Instruct`"),
        "{said}"
    );
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(dir.path(), &["completions", shell]);
        for word in ["completions", "own-data", "no-control", "rollouts"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
        let file = dir.path().join(shell);
        fs::write(&file, script).unwrap();
        let Ok(output) = Command::new(shell).arg("-n").arg(&file).output() else { continue };
        assert!(output.status.success(), "{shell}: {}", text(&output.stderr));
    }
    // Where no word fits, as for the path of a scenario, bash completes files.
    let known = "source ./bash; complete -p sandbox; COMP_WORDS=(sandbox comp); COMP_CWORD=1; _sandbox sandbox comp sandbox; \
                 echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", known]).current_dir(dir.path()).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("-o default") && said.trim_end().ends_with("completions"), "{said}");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let page = printed(dir.path(), &["man"]);
    printed(dir.path(), &["man", "man1"]);
    let pages = dir.path().join("man1");
    assert_eq!(page, fs::read_to_string(pages.join("sandbox.1")).unwrap());
    assert!(page.contains(".TH sandbox 1"), "{page}");
    let commands = [
        "init",
        "check",
        "ls",
        "report",
        "verify",
        "replay",
        "ask",
        "listen",
        "merge",
        "ctl",
        "judge",
        "completions",
        "man",
    ];
    for command in commands {
        let name = format!("sandbox-{command}");
        assert!(page.contains(&name.replace('-', "\\-")), "sandbox.1 lacks {name}");
        let text = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(text.contains(".TH ") && text.contains("Example"), "{name}: {text}");
    }
    assert!(pages.join("sandbox-ctl-weights.1").is_file());
    // Renders the page, where there is a program for it.
    let rendered =
        Command::new("man").arg("-l").arg(pages.join("sandbox-check.1")).env("MANPAGER", "cat").output();
    if let Ok(output) = rendered.as_ref().map(|output| text(&output.stdout)).as_ref()
        && !output.trim().is_empty()
    {
        assert!(output.contains("SYNOPSIS") || output.contains("minimized"), "{output}");
    }
}

/// A run of two arms without training; returns its directory.
fn small_run(dir: &Path, more: &[&str]) -> PathBuf {
    let smoke = scenario("smoke.toml");
    let small =
        ["--arm", "base", "--arm", "grpo", "--set", "run.steps=2", "--set", "policy.from_scratch=true"];
    let arguments = [&[smoke.as_str(), "--no-control"], &small[..], more].concat();
    printed(dir, &arguments);
    let runs = fs::read_dir(dir.join("runs")).unwrap().map(|entry| entry.unwrap().path());
    runs.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn ls_lists_runs_newest_first_and_says_why_it_skips_others() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = small_run(dir.path(), &["--quiet"]);
    let name = run_dir.file_name().unwrap().to_str().unwrap().to_owned();
    let archive = dir.path().join("archive");
    copy(&run_dir, &archive.join(&name));
    // The log of an older run, whose process was killed: its lock is left, and an arm was still running.
    let killed = archive.join("older");
    copy(&run_dir, &killed);
    fs::write(killed.join("run.log"), "2020-01-31T12:00:00.5Z  INFO run: begun\n").unwrap();
    fs::write(killed.join("lock"), r#"{"host":"gone","process_id":1,"since":"","process_began":null}"#)
        .unwrap();
    let status = killed.join("grpo/seed-7/status.json");
    let text_of = fs::read_to_string(&status).unwrap();
    fs::write(&status, text_of.replace("\"done\"", "\"running\"")).unwrap();
    // A run that is damaged, and a folder that is none.
    copy(&run_dir, &archive.join("torn"));
    fs::write(archive.join("torn/base/seed-7/status.json"), "{").unwrap();
    fs::create_dir(archive.join("notes")).unwrap();

    let output = run(dir.path(), &["ls", "archive"]);
    let (table, skipped) = (text(&output.stdout), text(&output.stderr));
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[0].starts_with("run ") && rows[0].ends_with("size"), "{table}");
    assert!(rows[1].contains(&name) && rows[1].contains("  done ") && rows[1].contains("  2/2 "), "{table}");
    assert!(
        rows[2].starts_with("older ") && rows[2].contains("  killed ") && rows[2].contains("2020-01-31"),
        "{table}"
    );
    assert_eq!(
        skipped,
        "skipped: archive/notes: not a run directory (no scenario.toml with arms, no ARM/seed-N/ folders); name one such as \
         runs/ablation-20250131-120000\n\
         skipped: archive/torn/base/seed-7/status.json: damaged: not the status of an arm\n"
    );

    let listed = json(&printed(dir.path(), &["ls", "archive", "--json"]));
    assert_eq!(listed["skipped"].as_array().unwrap().len(), 2);
    let newest = &listed["runs"][0];
    assert_eq!(
        (&newest["state"], &newest["arms"], &newest["steps_total"]),
        (&"done".into(), &2.into(), &2.into())
    );
    assert_eq!(newest["best"]["suite"], "builtin:soundscapes");
    assert!(newest["bytes"].as_u64().unwrap() > 10_000);
    assert_eq!(listed["runs"][1]["started"], "2020-01-31T12:00:01Z");
    // A run directory itself is a list of one, and `runs` is the default.
    assert_eq!(json(&printed(dir.path(), &["ls", "archive/older", "--json"]))["runs"][0]["state"], "killed");
    assert_eq!(json(&printed(dir.path(), &["ls", "--json"]))["runs"][0]["name"], name);
    assert!(refused(dir.path(), &["ls", "gone"]).contains("gone: cannot be read"));

    // In a terminal of 50 columns no line is wider.
    for command in ["ls archive".to_owned(), format!("report runs/{name}")] {
        let line = format!("stty rows 24 cols 50; {} {command} 2>/dev/null", env!("CARGO_BIN_EXE_sandbox"));
        let in_terminal =
            Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(dir.path()).output();
        let Ok(output) = in_terminal else { continue };
        let shown = text(&output.stdout);
        let table: Vec<&str> = shown
            .lines()
            .filter(|line| !line.starts_with("report: ") && !line.starts_with("note: "))
            .collect();
        assert!(table.iter().any(|line| line.contains("base") || line.contains("older")), "{shown}");
        assert!(table.iter().all(|line| line.trim_end().chars().count() <= 50), "{shown}");
    }
}

#[test]
fn a_quiet_run_prints_its_result_and_a_verbose_one_what_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = scenario("smoke.toml");
    let base = ["--arm", "base", "--no-control", "--set", "policy.from_scratch=true"];
    let output = run(dir.path(), &[&["-q", &smoke, "--json"], &base[..]].concat());
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let summary = json(&text(&output.stdout));
    assert_eq!((&summary["complete"], &summary["arms"][0]["name"]), (&true.into(), &"base".into()));
    let name = summary["run"].as_str().unwrap();
    let again = printed(dir.path(), &["report", "--json", &format!("runs/{name}")]);
    assert_eq!(json(&again), summary);

    let output = run(dir.path(), &[&[smoke.as_str(), "-vv"], &base[..]].concat());
    let said = text(&output.stderr);
    assert!(said.lines().any(|line| line.starts_with("info: ") || line.starts_with("debug: ")), "{said}");
    // In front of a command they mean the same as behind it.
    let checked = printed(dir.path(), &["-q", "check", "--no-files", &smoke]);
    assert!(checked.contains("valid; arms: "), "{checked}");
    assert_eq!(checked, printed(dir.path(), &["check", "--no-files", &smoke, "-v"]));
}

/// Puts a model of the fixtures into the cache in `dir`, as the Hub's tools do; returns its snapshot.
fn cached(dir: &Path, name: &str, fixture: &str) -> PathBuf {
    let model = dir.join("hub").join(format!("models--{}", name.replace('/', "--")));
    let snapshot = model.join("snapshots/0123abc");
    for folder in ["blobs", "refs", "snapshots/0123abc"] {
        fs::create_dir_all(model.join(folder)).unwrap();
    }
    fs::write(model.join("refs/main"), "0123abc").unwrap();
    for entry in fs::read_dir(root().join("tests/fixtures").join(fixture).join("model")).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        fs::copy(entry.path(), model.join("blobs").join(&file)).unwrap();
        symlink(Path::new("../../blobs").join(&file), snapshot.join(&file)).unwrap();
    }
    snapshot
}

#[test]
fn a_model_is_found_in_the_cache_by_its_name_on_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let smoke = scenario("smoke.toml");
    let set = ["--set", "policy.path=Qwen/Tiny-Audio"];
    let arguments = [&[smoke.as_str(), "--dry-run"], &set[..]].concat();

    let said = refused(dir, &arguments);
    let hub = dir.join("hub").display().to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in [
        "--set policy.path=",
        &format!("there is no folder {}", dir.join("Qwen/Tiny-Audio").display()),
        &format!("the Hugging Face cache {hub} has no models--Qwen--Tiny-Audio"),
        "fetch it with `hf download Qwen/Tiny-Audio`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let snapshot = cached(dir, "Qwen/Tiny-Audio", "qwen2_audio");
    let resolved: toml::Table = printed(dir, &arguments).parse().unwrap();
    assert_eq!(resolved["policy"]["path"].as_str(), snapshot.to_str(), "the run records the snapshot");
    let clip = root().join("tests/fixtures/audio/tone_0p5s.wav").display().to_string();
    let by_name =
        ["ask", "--policy", "Qwen/Tiny-Audio", "--audio", &clip, "--max-new-tokens", "2", "--json", "what?"];
    let answer = json(&printed(dir, &by_name));
    assert!(!answer["completion_ids"].as_array().unwrap().is_empty());
    printed(dir, &["listen", "--policy", "Qwen/Tiny-Audio@main", &clip]);

    // A blob that was not fetched is named before the run begins.
    fs::remove_file(dir.join("hub/models--Qwen--Tiny-Audio/blobs/model.safetensors")).unwrap();
    let said = refused(dir, &arguments);
    assert!(
        said.contains("is incomplete: model.safetensors is a link to ../../blobs/model.safetensors"),
        "{said}"
    );
    // A folder of that name comes before the cache.
    copy(&root().join("tests/fixtures/qwen2_audio/model"), &dir.join("Qwen/Tiny-Audio"));
    let resolved: toml::Table = printed(dir, &arguments).parse().unwrap();
    assert_eq!(resolved["policy"]["path"].as_str(), dir.join("Qwen/Tiny-Audio").to_str());

    let judge = ["--set", "judge.kind=local", "--set", "judge.path=Qwen/Tiny-Judge@main"];
    let arguments = [&[smoke.as_str(), "--dry-run"], &judge[..]].concat();
    let said = refused(dir, &arguments);
    assert!(
        said.contains("[judge]") && said.contains("`hf download Qwen/Tiny-Judge --revision main`"),
        "{said}"
    );
    let snapshot = cached(dir, "Qwen/Tiny-Judge", "qwen3_untied");
    let resolved: toml::Table = printed(dir, &arguments).parse().unwrap();
    assert_eq!(resolved["judge"]["path"].as_str(), snapshot.to_str());
    fs::remove_file(snapshot.join("model-00002-of-00004.safetensors")).unwrap();
    let said = refused(dir, &arguments);
    assert!(said.contains("the shard model-00002-of-00004.safetensors is missing"), "{said}");
}

// COMPARE-1
#[test]
fn runs_are_compared_question_by_question_and_refused_if_they_were_asked_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let evaluate = |out: &str, more: &[&str]| {
        let common = ["eval", "--policy", "builtin:tiny", "--suite", "builtin:soundscapes", "--limit", "24"];
        let arguments = [&common[..], &["--max-new-tokens", "32", "--out", out, "-q"], more].concat();
        printed(dir.path(), &arguments);
        let run = fs::read_dir(dir.path().join(out)).unwrap().next().unwrap().unwrap().path();
        run.display().to_string()
    };
    let first = evaluate("first", &["--set", "run.threads=1"]);
    let second = evaluate("second", &["--set", "run.threads=1"]);
    let other = evaluate("other", &["--set", "run.threads=1", "--set", "prompt.style=\"think\""]);
    let table = printed(dir.path(), &["compare", &first, &second]);
    assert!(table.contains("accuracy") && table.contains(" points"), "{table}");
    let compared = json(&printed(dir.path(), &["compare", &first, &second, "--json"]));
    // The same policy gives the same answers.
    let differences = &compared["comparisons"][0]["differences"];
    assert_eq!(
        (&differences[0]["figure"], &differences[0]["estimate"]["value"]),
        (&"accuracy".into(), &0.0.into())
    );
    assert_eq!(
        (&differences[5]["figure"], &differences[5]["finding"]),
        (&"length".into(), &"equivalent".into())
    );
    let said = refused(dir.path(), &["compare", &first, &other]);
    assert!(said.contains("prompt.style = \"think\""), "{said}");
}

#[test]
fn a_run_has_event_files_and_its_records_are_exported_as_tables() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "[run]\nname = \"r\"\nsteps = 4\nthreads = 1\n[control]\nlisten = \"off\"\n[policy]\nfrom_scratch = true\n\
        [checkpoint]\nevery = 2\n[sampling]\nprompts_per_step = 1\ngroup_size = 2\nmax_new_tokens = 8\n[eval]\nlimit = 4\n\
        [rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"grpo\"\n";
    fs::write(dir.path().join("r.toml"), scenario).unwrap();
    printed(dir.path(), &["r.toml", "--out", "runs", "-q", "--set", "tracking.wandb.project=audio"]);
    let run = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let events = || -> Vec<PathBuf> {
        let found = fs::read_dir(run.join("tensorboard/grpo/seed-7")).unwrap();
        found.map(|file| file.unwrap().path()).collect()
    };
    let written = fs::read(&events()[0]).unwrap();
    let count = |bytes: &[u8], tag: &[u8]| bytes.windows(tag.len()).filter(|found| *found == tag).count();
    assert_eq!((events().len(), count(&written, b"train/step_seconds")), (1, 4));
    // Written anew from the records, it has the same points.
    printed(dir.path(), &["export", run.to_str().unwrap(), "--to", "tensorboard"]);
    let again = fs::read(&events()[0]).unwrap();
    assert_eq!((events().len(), again.len()), (1, written.len()));

    // So does the run of Weights & Biases, in the same folder.
    let wandb = || -> Vec<(PathBuf, usize)> {
        let folders = fs::read_dir(run.join("wandb")).unwrap().map(|folder| folder.unwrap().path());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
        files.map(|file| (file.clone(), count(&fs::read(file).unwrap(), b"train/step_seconds"))).collect()
    };
    let found = wandb();
    // In a row and in a summary for each step.
    assert_eq!((found.len(), found[0].1), (1, 2 * 4));
    printed(dir.path(), &["export", run.to_str().unwrap(), "--to", "wandb"]);
    assert_eq!(wandb(), found);
    let said = refused(dir.path(), &["export", run.to_str().unwrap(), "--to", "mlflow"]);
    assert!(said.contains("add --set tracking.mlflow.url=http://127.0.0.1:5000"), "{said}");

    let out = dir.path().join("tables");
    for (format, extension) in [("csv", "csv"), ("json", "jsonl"), ("parquet", "parquet")] {
        let arguments = ["export", run.to_str().unwrap(), "--to", format, "--out", out.to_str().unwrap()];
        let paths = printed(dir.path(), &arguments);
        assert_eq!(paths.lines().count(), 3, "{paths}");
        assert!(out.join(format!("rollouts.{extension}")).metadata().unwrap().len() > 100);
    }
    assert_eq!(fs::read_to_string(out.join("steps.csv")).unwrap().lines().count(), 1 + 4);
    let said = refused(dir.path(), &["export", "nowhere"]);
    assert!(said.contains("nowhere: not a run directory"), "{said}");
    // What can't be written is a failure, not a mistake in the input.
    fs::write(dir.path().join("file"), "").unwrap();
    let full = self::run(dir.path(), &["export", run.to_str().unwrap(), "--out", "file/tables"]);
    assert_eq!(full.status.code(), Some(1), "{}", text(&full.stderr));
}

#[test]
fn a_run_that_cannot_begin_leaves_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "[run]\nname = \"r\"\n[control]\nlisten = \"off\"\n[tracking.mlflow]\nurl = \"http://127.0.0.1:9\"\n\
        token_env = \"NO_SUCH_TOKEN\"\n";
    fs::write(dir.path().join("r.toml"), scenario).unwrap();
    let said = refused(dir.path(), &["r.toml", "--out", "runs", "-q"]);
    assert!(said.contains("the environment variable NO_SUCH_TOKEN is not set"), "{said}");
    assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 0);
    let arguments =
        ["eval", "--policy", "builtin:tiny", "--suite", "builtin:soundscapes", "--set", "policy.train=lora"];
    let said = refused(dir.path(), &arguments);
    assert!(said.contains("--set policy.train has no effect beside --policy"), "{said}");
}

#[test]
fn bench_measures_generation_and_steps_of_what_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let few = ["bench", "--device", "cpu", "--prompts", "1", "--group", "2", "--tokens", "4", "--steps", "1"];
    let json =
        printed(dir.path(), &[&few[..], &["--batch", "1,8", "--train", "lora,full", "--json"]].concat());
    let measured: Value = serde_json::from_str(&json).unwrap();
    let batches: Vec<u64> =
        measured["decoding"].as_array().unwrap().iter().map(|row| row["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [1, 8]);
    for row in measured["training"].as_array().unwrap() {
        let phases: Vec<&str> =
            row["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
        assert_eq!(phases, ["generation", "policy", "reference", "backward", "optimizer"]);
        let completions = row["sample"]["completions"].as_array().unwrap();
        assert!(completions.iter().all(|ids| ids.as_array().unwrap().len() == 4), "{completions:?}");
    }
    let trained: Vec<&str> =
        measured["training"].as_array().unwrap().iter().map(|row| row["train"].as_str().unwrap()).collect();
    assert_eq!(trained, ["lora", "full"]);

    let table = printed(dir.path(), &[&few[..], &["--batch"]].concat());
    assert!(table.starts_with("builtin:tiny; cpu, 1 thread, f32\n"), "{table}");
    let refused = run(dir.path(), &["bench", "--batch", "12"]);
    assert!(text(&refused.stderr).contains("write a number up to 8, or a multiple of 8"), "{refused:?}");
}

#[test]
fn with_log_format_json_every_line_of_the_log_and_of_standard_error_is_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "[run]\nname = \"r\"\nsteps = 10\nthreads = 1\n[policy]\nfrom_scratch = true\n[limits]\naction = \"ignore\"\n\
        [sampling]\nprompts_per_step = 1\ngroup_size = 2\nmax_new_tokens = 2\n[eval]\nlimit = 2\n\
        [rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n[[arm]]\nname = \"grpo\"\n";
    fs::write(dir.path().join("r.toml"), scenario).unwrap();
    let output = run(dir.path(), &["r.toml", "--log-format", "json", "-v"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stderr);
    let lines: Vec<Value> = shown.lines().map(json).collect();
    for line in &lines {
        let time = line["time"].as_str().unwrap();
        assert!(time.len() >= 20 && time.ends_with('Z'), "{line}");
        assert!(["error", "warn", "info"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["message"].is_string() && line["target"].is_string(), "{line}");
    }
    let says = |part: &str| lines.iter().find(|line| line["message"].as_str().unwrap().contains(part));
    assert_eq!(says("live page: http://").unwrap()["target"], "sandbox");
    assert!(says("grpo (seed 7): step 10/10").or(says("grpo (seed 7): done")).is_some(), "{shown}");
    let runs = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let log = fs::read_to_string(runs.join("run.log")).unwrap();
    assert!(log.lines().count() > 0 && log.lines().map(json).all(|line| line["target"].is_string()), "{log}");
    // What the log has and the terminal shows is one form.
    let logged = log.lines().next().unwrap();
    assert!(json(logged)["time"].is_string());
    assert!(json(&printed(dir.path(), &["ls", "--json"]))["runs"][0]["started"].is_string());

    let error = refused(dir.path(), &["--log-format", "json", "check", "nowhere.toml"]);
    let last = json(error.lines().last().unwrap());
    assert_eq!(last["level"], "error");
    assert!(last["message"].as_str().unwrap().contains("nowhere.toml"), "{error}");
}
