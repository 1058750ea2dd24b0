//! `sandbox ls`: lists runs by what their directories say.

use std::fs;
use std::path::{Path, PathBuf};

use ::report::fit::GiveUp;
use ::report::{RunOverview, overview};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use records::RunDir;
use serde_json::json;

use crate::cli::LsOptions;
use crate::failure::Failure;
use crate::streams::{columns, errln, outln};
use crate::table::Table;

/// Prints the runs in a folder, newest first, and why others are skipped.
pub fn ls(options: &LsOptions) -> Result<(), Failure> {
    let dirs = run_dirs(&options.dir)?;
    let (mut runs, mut skipped) = (Vec::new(), Vec::new());
    for dir in dirs {
        match overview(&RunDir::new(&dir)) {
            Ok(run) => runs.push(run),
            Err(error) => skipped.push((dir, error.to_string())),
        }
    }
    // The texts are RFC 3339 in UTC, so they sort as the times do.
    runs.sort_by(|one, other| other.started.cmp(&one.started).then_with(|| one.name.cmp(&other.name)));
    if options.json {
        let skipped: Vec<_> =
            skipped.iter().map(|(path, reason)| json!({ "path": path, "reason": reason })).collect();
        outln!("{:#}", json!({ "runs": runs, "skipped": skipped }));
        return Ok(());
    }
    if runs.is_empty() {
        errln!("{}: no runs", options.dir.display());
    } else {
        outln!("{}", table(&runs).text(columns()).trim_end());
    }
    for (_, reason) in skipped {
        errln!("skipped: {reason}");
    }
    Ok(())
}

/// The directories to look at: the folder itself if it is a run, else the folders in it.
fn run_dirs(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    if RunDir::new(dir).scenario().is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = fs::read_dir(dir).map_err(|error| {
        Failure::Input(format!("{}: cannot be read: {error}; name a folder of runs", dir.display()))
    })?;
    let mut dirs: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    Ok(dirs)
}

/// In a narrow terminal these are given up in this order: size, suite, steps, the time of the start, the ends of the arm's
/// and the run's name.
fn table(runs: &[RunOverview]) -> Table {
    let heads = ["run", "started", "state", "arms", "steps", "best", "arm", "suite", "size"];
    let mut table = Table::new(&heads).giving_up(&[
        GiveUp::Column(8),
        GiveUp::Column(7),
        GiveUp::Column(4),
        GiveUp::Column(1),
        GiveUp::Text { column: 6, least: 8 },
        GiveUp::Text { column: 0, least: 12 },
        GiveUp::Column(6),
        GiveUp::Column(3),
    ]);
    for run in runs {
        let dash = || "–".to_owned();
        let best = run.best.as_ref();
        table.row(vec![
            run.name.clone(),
            run.started.as_deref().and_then(local).unwrap_or_else(dash),
            run.state.name().to_owned(),
            format!("{}/{}", run.arms_done, run.arms),
            format!("{}/{}", run.steps_done, run.steps_total),
            best.map_or_else(dash, |best| format!("{:.1} %", 100.0 * best.accuracy)),
            best.map_or_else(dash, |best| best.arm.clone()),
            best.map_or_else(dash, |best| best.suite.clone()),
            size(run.bytes),
        ]);
    }
    table
}

/// A time as the clock on the wall shows it.
fn local(started: &str) -> Option<String> {
    let time: Timestamp = started.parse().ok()?;
    Some(time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string())
}

/// A number of bytes with three digits, in units of 1,000.
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if size < 999.5 {
            break;
        }
        (size, unit) = (size / 1000.0, larger);
    }
    let digits = usize::from(unit != "B" && size < 9.95);
    format!("{size:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use ::report::{Best, RunState};

    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        let sizes = [0, 999, 1_000, 9_940, 9_960, 999_400, 999_600, 16_240_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "16 GB"]);
    }

    #[test]
    fn a_narrow_table_keeps_name_and_state_to_the_last() {
        let run = RunOverview {
            name: "ablation-20260131-120000".into(),
            path: "runs/ablation-20260131-120000".into(),
            started: Some("2026-01-31T12:00:00Z".into()),
            state: RunState::Killed,
            arms_done: 3,
            arms: 8,
            steps_done: 900,
            steps_total: 2400,
            best: Some(Best {
                accuracy: 0.815,
                arm: "grpo+atar+cr+tr".into(),
                suite: "builtin:soundscapes".into(),
            }),
            bytes: 16_240_000,
        };
        let table = table(&[run]);
        let wide = table.text(usize::MAX);
        assert!(wide.contains("3/8") && wide.contains("81.5 %") && wide.contains("16 MB"), "{wide}");
        for width in 1..120 {
            let text = table.text(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}: {text}");
        }
        let text = table.text(40);
        assert!(text.contains("killed") && text.contains("81.5 %") && !text.contains("16 MB"), "{text}");
    }
}
