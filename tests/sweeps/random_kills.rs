//! A sweep of sixteen tasks by the shell array, of which five are killed at random (make sweep).

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use super::*;

const TASKS: usize = 16;
const KILLS: usize = 5;

/// Numbers that look random, from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// The process that trains a task, and the bytes of metrics that it has written; `None` if there is none.
fn process_of(study: &Study, task: usize) -> Option<(u32, u64)> {
    let folders = fs::read_dir(study.path("s/tasks")).ok()?.flatten();
    let prefix = format!("{task:03}-");
    let folder = folders
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))?;
    let lock: Value = serde_json::from_slice(&fs::read(folder.join("lock")).ok()?).ok()?;
    let process = lock["process_id"].as_u64()? as u32;
    // After a process has ended, its number may be another's.
    let command = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let sweeps = command.windows(b"--sweep".len()).any(|part| part == b"--sweep");
    if !sweeps {
        return None;
    }
    let arm = fs::read_dir(&folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir() && path.join(format!("seed-{}", 1 + (task - 1) / 2)).is_dir())?;
    let metrics = arm.join(format!("seed-{}", 1 + (task - 1) / 2)).join("metrics.jsonl");
    Some((process, fs::metadata(metrics).map_or(0, |file| file.len())))
}

/// Runs the array and kills the processes of some tasks, each after a random number of steps.
fn array_with_kills(study: &Study, numbers: &mut Numbers) -> usize {
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    while chosen.len() < KILLS {
        chosen.insert(1 + numbers.below(TASKS));
    }
    // A row of metrics has about 2,000 bytes; 0 kills a task as soon as it has a run directory.
    let mut waits: Vec<(usize, u64)> =
        chosen.into_iter().map(|task| (task, numbers.below(12_000) as u64)).collect();
    println!("tasks to kill, and after how many bytes of metrics: {waits:?}");
    let mut array = study.array("3");
    let mut array = array.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut killed, begun) = (0, Instant::now());
    while array.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(300), "the array hangs");
        waits.retain(|&(task, bytes)| match process_of(study, task) {
            Some((process, written)) if written >= bytes => {
                let kill = Command::new("kill").args(["-9", &process.to_string()]).output().unwrap();
                killed += usize::from(kill.status.success());
                false
            }
            _ => true,
        });
        std::thread::sleep(Duration::from_millis(2));
    }
    killed
}

#[test]
#[ignore = "takes a minute; `make sweep` runs it"]
fn sixteen_tasks_of_which_five_are_killed_end_in_the_report_of_an_unbroken_run() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
    println!("SEED={seed}");
    let study = Study::of(&SCENARIO.replace("seeds = [3, 4]", "seeds = [1, 2, 3, 4, 5, 6, 7, 8]"));
    study.printed(&["study.toml", "--no-control", "-q"]);
    let whole = only_folder(&study.path("runs"));
    study.write_array();
    let killed = array_with_kills(&study, &mut Numbers(seed));
    println!("{killed} processes were killed");
    assert_eq!(killed, KILLS);
    let unfinished = study.refused(&["merge-runs", "s"]);
    assert!(unfinished.contains(&format!("{KILLS} of {TASKS} tasks are not done")), "{unfinished}");
    // The same command goes on with them.
    let again = study.array("3").output().unwrap();
    assert!(again.status.success(), "{}", text(&again.stderr));
    println!("{}", study.printed(&["merge-runs", "s"]));
    let seeds: Vec<String> = (1..=8).map(|seed| format!("seed-{seed}")).collect();
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    study.assert_merged_is(&whole, &["a", "b"], &seeds);
}
