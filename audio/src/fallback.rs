//! Formats that this crate does not decode, by a program that takes ffmpeg's arguments.
//!
//! The program is started with an argument list, without a shell, and without access to the network. It writes WAV to a
//! pipe; what it may write and how long it may take are limited, so that no file can hang or fill a loader thread.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::Problem;
use super::input::Input;

/// Most time for a clip.
const TIME: Duration = Duration::from_secs(60);

/// Most bytes of decoded sound: 30 minutes of stereo at 48 kHz, as f32.
const MOST_BYTES: u64 = 30 * 60 * 48_000 * 8;

/// Decodes the first sound track of a file to WAV in memory, from `start` seconds on and `seconds` long at most.
pub(crate) fn decode(
    program: &Path,
    file: &Path,
    start: f64,
    seconds: Option<f64>,
) -> Result<Input, Problem> {
    decode_within(TIME, program, file, start, seconds)
}

fn decode_within(
    time: Duration,
    program: &Path,
    file: &Path,
    start: f64,
    seconds: Option<f64>,
) -> Result<Input, Problem> {
    let failed = |what: String| Problem::corrupt(format!("`{}` {what}", program.display()));
    let mut command = Command::new(program);
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe"]);
    if start > 0.0 {
        command.arg("-ss").arg(format!("{start:.6}"));
    }
    // `file:` keeps a name such as `concat:a|b` or `-x` from being anything but a name.
    let mut named = std::ffi::OsString::from("file:");
    named.push(file);
    command.arg("-i").arg(named).args(["-map", "0:a:0"]);
    if let Some(seconds) = seconds {
        command.arg("-t").arg(format!("{seconds:.6}"));
    }
    command.args(["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("cannot be started ({error})")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("has no output".into()));
    };
    let complaints = read_in_background(stderr, 4096);
    let sound = read_in_background(stdout, MOST_BYTES + 1);
    let wav = sound.recv_timeout(time).unwrap_or_default();
    // Ends it if it is still writing, or waiting; it has ended otherwise.
    let in_time = !wav.is_empty();
    stop(&mut child);
    let complaint = complaints.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let complaint = complaint.lines().next_back().unwrap_or("it says nothing").trim();
    if !in_time {
        return Err(failed(format!("gave no sound within {} s: {complaint}", time.as_secs())));
    }
    if wav.len() as u64 > MOST_BYTES {
        return Err(failed("gave more than 30 minutes of sound; cut the clip".into()));
    }
    Ok(Input::of_bytes(wav))
}

/// Reads a pipe to its end, at most `most` bytes, and sends them when it ends.
fn read_in_background(pipe: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(most).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("hangs");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let started = Instant::now();
        let error =
            decode_within(Duration::from_millis(300), &program, "a".as_ref(), 0.0, None).err().unwrap();
        assert!(error.to_string().contains("gave no sound within 0 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
