//! The command that starts a server again (`sampler.restart`).

use std::io::{Read, Seek, SeekFrom};
use std::process::Stdio;
use std::time::Duration;

use plugins::INHERITED;
use tokio::process::Command;

use crate::problem::Problem;

/// Longest time that the command may take. It starts a server, which then needs longer.
const LIMIT: Duration = Duration::from_secs(300);

/// Most of its output that is read.
const MOST_OUTPUT: u64 = 1 << 20;

/// Runs the command for the server at `url`. Returns the address that it printed last, if it printed one.
///
/// Errors: One line: it could not be run, failed, or took too long.
pub(crate) async fn restart(command: &str, url: &str) -> Result<Option<String>, Problem> {
    let failed = |error: &dyn std::fmt::Display| format!("sampler.restart could not be run: {error}");
    // A file, not a pipe, because the server that it starts may keep the output open.
    let mut output = tempfile::tempfile().map_err(|error| failed(&error))?;
    let written = output.try_clone().map_err(|error| failed(&error))?;
    let inherited = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_"))
    });
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .envs(inherited)
        .env("SANDBOX_SERVER_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::from(written))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let status = tokio::time::timeout(LIMIT, child.wait()).await;
    let status = status.map_err(|_| format!("sampler.restart took longer than {} s", LIMIT.as_secs()))?;
    let status = status.map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(format!("sampler.restart failed ({status})").into());
    }
    let mut text = Vec::new();
    output.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
    output.take(MOST_OUTPUT).read_to_end(&mut text).map_err(|error| failed(&error))?;
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let is_address = last.starts_with("http://") || last.starts_with("https://");
    Ok(is_address.then(|| last.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_line_may_name_another_address() {
        let of = |command: &'static str| restart(command, "http://a:1");
        assert_eq!(of("echo starting; echo http://b:2/").await, Ok(Some("http://b:2".to_owned())));
        assert_eq!(of("echo \"$SANDBOX_SERVER_URL\"").await, Ok(Some("http://a:1".to_owned())));
        assert_eq!(of("echo started").await, Ok(None));
        let failed = of("exit 3").await.unwrap_err().to_string();
        assert!(failed.starts_with("sampler.restart failed (exit status: 3"), "{failed}");
    }

    #[tokio::test]
    async fn a_server_that_keeps_the_output_open_is_not_waited_for() {
        let address = restart("sleep 3 & echo http://c:3", "http://a:1").await;
        assert_eq!(address, Ok(Some("http://c:3".to_owned())));
    }
}
