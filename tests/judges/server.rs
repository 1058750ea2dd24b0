//! A real judge's server: llama.cpp with a tiny random Qwen3, started by `judge_server/serve.py`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The server; it ends when dropped, and with the process that started it.
pub struct JudgeServer {
    /// Its address up to `/v1`.
    pub url: String,
    child: Child,
    _model: tempfile::TempDir,
}

impl JudgeServer {
    /// Serves the Qwen3 in a Hugging Face directory, under the name `judge`.
    pub fn start(model: &Path) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/judge_server");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        let mut child = python()
            .arg(scripts.join("serve.py"))
            .args([model, &folder.path().join("judge.gguf")])
            // Open as long as this process lives; the server ends when it closes.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.find_map(|line| Some(line.unwrap().strip_prefix("ready ")?.to_owned()));
        let url = ready.unwrap_or_else(|| panic!("{}", std::fs::read_to_string(&log).unwrap()));
        Self { url, child, _model: folder }
    }
}

impl Drop for JudgeServer {
    fn drop(&mut self) {
        // It has ended by itself if it cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has the packages of `judge_server/requirements.txt`.
fn python() -> Command {
    if let Some(python) = std::env::var_os("JUDGE_SERVER_PYTHON") {
        return Command::new(python);
    }
    let packages: PathBuf = scenarios::cache_dir().join("judge-server");
    assert!(
        packages.join("requirements.txt").exists(),
        "this test needs llama.cpp's server: `tests/judge_server/install` fetches it, or name a Python that has the \
         packages of tests/judge_server/requirements.txt in JUDGE_SERVER_PYTHON"
    );
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages);
    python
}
