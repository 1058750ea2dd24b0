//! The options of a reward with `kind = "process"`: a program that runs as a child process.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::variables::ChildEnv;
use crate::error::ScenarioError;

/// The options of a reward with `kind = "process"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessPlugin {
    /// The program and its arguments; must be set. A program with a slash in its name is a path relative to `cwd`; any
    /// other is searched on `PATH`.
    pub command: Vec<String>,
    /// The working directory. Default: the scenario's folder.
    pub cwd: PathBuf,
    /// Environment variables in addition to the few that every child inherits.
    pub env: ChildEnv,
    /// Options for the program itself, passed on unchanged.
    pub options: Table,
    /// Whether the judge has to be asked before this reward scores.
    pub needs_verdict: bool,
    /// Longest wait for the scores of a batch, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
    /// Longest wait until the program is ready, in seconds; above 0, at most 86,400.
    pub startup_timeout_seconds: f64,
    /// Number of child processes among which the groups of a batch are divided; only `kind = "python"` has this option.
    #[serde(skip)]
    pub processes: usize,
}

impl Default for ProcessPlugin {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            cwd: PathBuf::new(),
            env: ChildEnv::default(),
            options: Table::new(),
            needs_verdict: false,
            timeout_seconds: 60.0,
            startup_timeout_seconds: 60.0,
            processes: 1,
        }
    }
}

impl ProcessPlugin {
    /// The command line for messages.
    pub fn line(&self) -> String {
        self.command.join(" ")
    }

    /// The path of the program's file.
    ///
    /// Errors: There is no such program, or it is not executable.
    pub fn program(&self) -> Result<PathBuf, ScenarioError> {
        let Some(program) = self.command.first() else {
            return Err(ScenarioError::value("there is no program", "write one in `command`"));
        };
        let here = self.cwd.join(program);
        if program.contains('/') {
            return if is_program(&here) {
                Ok(std::path::absolute(&here).unwrap_or(here))
            } else if here.is_file() {
                let problem = format!("{} is not executable", here.display());
                Err(ScenarioError::value(problem, "chmod +x it, or name its interpreter"))
            } else {
                let problem = format!("there is no file {}", here.display());
                Err(ScenarioError::value(problem, "write a path from the scenario's folder"))
            };
        }
        let own = self.env.filled_value("PATH")?.map(|path| path.expose_secret().into());
        let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_program(file));
        found.ok_or_else(|| {
            let instead = if here.is_file() {
                format!("write \"./{program}\" for the one in {}", self.cwd.display())
            } else {
                "install it, or write its path".into()
            };
            ScenarioError::value(format!("there is no program `{program}` on PATH"), instead)
        })
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("mine.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let plugin = |program: &str| ProcessPlugin {
            command: vec![program.into()],
            cwd: folder.path().into(),
            ..ProcessPlugin::default()
        };
        assert!(plugin("sh").program().unwrap().is_absolute());
        let refusal = |program: &str| plugin(program).program().unwrap_err().to_string();
        assert!(refusal("./mine.sh").contains("is not executable; chmod +x"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        assert!(plugin("./mine.sh").program().unwrap().ends_with("mine.sh"));
        assert!(refusal("mine.sh").contains("write \"./mine.sh\" for the one in"));
        assert!(refusal("pyhton3").contains("there is no program `pyhton3` on PATH"));
        assert!(refusal("./gone").contains("there is no file"));
    }
}
