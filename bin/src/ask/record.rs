//! Recording from the microphone with a program of this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Longest time that a program may take beyond the recording.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Records so many seconds at 16 kHz into a WAV file, with `arecord` or else with `ffmpeg`.
pub fn record(seconds: f64, file: &Path) -> Result<(), Failure> {
    let output = file.as_os_str().to_owned();
    let text = |arguments: &[&str]| -> Vec<OsString> { arguments.iter().map(OsString::from).collect() };
    let (program, mut arguments) = if let Some(program) = on_path("arecord") {
        // It takes whole seconds.
        let whole = format!("{}", seconds.ceil());
        (program, text(&["-q", "-f", "S16_LE", "-r", "16000", "-c", "1", "-d", &whole]))
    } else if let Some(program) = on_path("ffmpeg") {
        let length = seconds.to_string();
        let quiet = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"];
        let input = ["-f", "alsa", "-i", "default", "-t", &length, "-ac", "1", "-ar", "16000"];
        (program, text(&[&quiet[..], &input].concat()))
    } else {
        return Err(Failure::Input(
            "/record: neither arecord nor ffmpeg is on the PATH; install alsa-utils or ffmpeg, or name a file by /clip"
                .to_owned(),
        ));
    };
    arguments.push(output);
    run(&program, &arguments, Duration::from_secs_f64(seconds.ceil()) + PATIENCE)
}

/// Runs a program to its end, which is not waited for longer than `limit`.
fn run(program: &Path, arguments: &[OsString], limit: Duration) -> Result<(), Failure> {
    let name = program.display();
    let failed =
        |problem: String| Failure::Input(format!("/record: {name}: {problem}; name a file by /clip instead"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let began = Instant::now();
    while child.try_wait().map_err(|error| failed(error.to_string()))?.is_none() {
        if began.elapsed() > limit {
            // It may have ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("it has not ended after {} s", limit.as_secs())));
        }
        std::thread::sleep(PAUSE);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).map(str::trim);
    Err(failed(last.map_or_else(|| output.status.to_string(), str::to_owned)))
}

/// The program of this name in the folders of `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.is_file())
}
