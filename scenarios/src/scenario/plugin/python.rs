//! The options of a reward with `kind = "python"`: a file whose code runs in child processes, under this project's convention
//! or that of another trainer.

use std::path::PathBuf;

use rewards::RewardError;
use rewards::options::bad_option;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::process::ProcessPlugin;
use super::variables::ChildEnv;

/// The `kind` of a Python function, which the embedded module runs.
pub const PYTHON: &str = "python";

/// Most child processes of one reward.
const MOST_PROCESSES: usize = 64;

/// The convention by which the code of a Python reward is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Convention {
    /// Decided by what the file defines.
    #[default]
    Auto,
    /// This project's own: columns as lists, texts as they are.
    Native,
    /// Reward functions of TRL's `GRPOTrainer`.
    Trl,
    /// verl's `compute_score`.
    Verl,
    /// Classes of ms-swift derived from `ORM`.
    Swift,
    /// Functions and rubrics of verifiers.
    Verifiers,
    /// `compute(predictions, references)`, as of Hugging Face's evaluate.
    Evaluate,
}

impl Convention {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Trl => "trl",
            Self::Verl => "verl",
            Self::Swift => "swift",
            Self::Verifiers => "verifiers",
            Self::Evaluate => "evaluate",
        }
    }
}

/// The options of a reward with `kind = "python"`. Those that are not described here are those of [`ProcessPlugin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PythonPlugin {
    /// The Python file, relative to `cwd`; must be set.
    file: PathBuf,
    /// The function in the file.
    function: String,
    /// The Python interpreter, a path or a program on `PATH`.
    python: String,
    /// How the function is called.
    convention: Convention,
    /// Whether completions and prompts are passed as lists of messages. If the key is absent, the convention decides.
    conversational: bool,
    /// The entry of what `compute` returns that is the score; empty for its only one.
    entry: String,
    /// Number of child processes among which the groups of a batch are divided.
    processes: usize,
    cwd: PathBuf,
    env: ChildEnv,
    options: Table,
    needs_verdict: bool,
    pub(super) timeout_seconds: f64,
    pub(super) startup_timeout_seconds: f64,
}

impl Default for PythonPlugin {
    fn default() -> Self {
        let ProcessPlugin {
            cwd, env, options, needs_verdict, timeout_seconds, startup_timeout_seconds, ..
        } = ProcessPlugin::default();
        Self {
            file: PathBuf::new(),
            function: "reward".into(),
            python: "python3".into(),
            convention: Convention::Auto,
            conversational: false,
            entry: String::new(),
            processes: 1,
            cwd,
            env,
            options,
            needs_verdict,
            timeout_seconds,
            startup_timeout_seconds,
        }
    }
}

impl PythonPlugin {
    pub(super) fn env(&self) -> &ChildEnv {
        &self.env
    }

    /// The child process that runs the file. `written` are the options as they are in the scenario.
    pub(super) fn process(self, written: &Table) -> Result<ProcessPlugin, RewardError> {
        if self.file.as_os_str().is_empty() {
            let problem = "write the path of a Python file, such as \"brevity.py\"";
            return Err(bad_option(PYTHON, "file", &Value::String(String::new()), problem));
        }
        if !(1..=MOST_PROCESSES).contains(&self.processes) {
            let value = written.get("processes").cloned().unwrap_or(Value::Integer(0));
            let problem = format!("write a number of processes from 1 to {MOST_PROCESSES}");
            return Err(bad_option(PYTHON, "processes", &value, &problem));
        }
        let mut command: Vec<String> = vec![self.python, "-m".into(), "audio_thinker_reward".into()];
        if self.convention != Convention::Auto {
            command.push(format!("--convention={}", self.convention.name()));
        }
        if written.contains_key("conversational") {
            command.push(if self.conversational { "--conversational" } else { "--plain" }.into());
        }
        if !self.entry.is_empty() {
            command.push(format!("--entry={}", self.entry));
        }
        command.push(format!("{}:{}", self.file.display(), self.function));
        Ok(ProcessPlugin {
            command,
            cwd: self.cwd,
            // Else a file beside the reward that is named like a module of Python's, such as `random.py`, is imported in
            // its place while Python starts.
            env: self.env.or("PYTHONSAFEPATH", "1"),
            options: self.options,
            needs_verdict: self.needs_verdict,
            timeout_seconds: self.timeout_seconds,
            startup_timeout_seconds: self.startup_timeout_seconds,
            processes: self.processes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::RewardSpec;
    use crate::scenario::plugin::RewardForm;
    use rewards::RewardRegistry;

    fn read(options: &str) -> Result<RewardForm, RewardError> {
        let spec: RewardSpec = toml::from_str(&format!("kind = 'python'\n{options}")).unwrap();
        spec.read(&RewardRegistry::new())
    }

    fn command(options: &str) -> String {
        let Ok(RewardForm::Process(plugin)) = read(options) else { panic!("a process") };
        plugin.command[3..].join(" ")
    }

    fn refusal(options: &str) -> String {
        read(options).err().unwrap().to_string()
    }

    #[test]
    fn settings_become_arguments_of_the_module_and_those_that_are_not_written_do_not() {
        for (options, arguments) in [
            ("file = 'a.py'", "a.py:reward"),
            ("file = 'a.py'\nconvention = 'auto'\nprocesses = 3", "a.py:reward"),
            ("file = 'a.py'\nconvention = 'trl'", "--convention=trl a.py:reward"),
            ("file = 'a.py'\nconversational = true", "--conversational a.py:reward"),
            ("file = 'a.py'\nconversational = false", "--plain a.py:reward"),
            (
                "file = 'a.py'\nconvention = 'evaluate'\nentry = 'f1'\nfunction = 'compute'",
                "--convention=evaluate --entry=f1 a.py:compute",
            ),
        ] {
            assert_eq!(command(options), arguments, "{options}");
        }
        let Ok(RewardForm::Process(plugin)) = read("file = 'a.py'\nprocesses = 3") else {
            panic!("a process")
        };
        assert_eq!(plugin.processes, 3);
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_with_what_to_write() {
        let said = refusal("file = 'a.py'\nconvention = 'tlr'");
        assert!(said.contains("`convention = \"tlr\"`") && said.contains("`trl`, `verl`, `swift`"), "{said}");
        for value in ["0", "65"] {
            let said = refusal(&format!("file = 'a.py'\nprocesses = {value}"));
            assert!(
                said.contains(&format!("`processes = {value}`")) && said.contains("from 1 to 64"),
                "{said}"
            );
        }
        assert!(refusal("file = 'a.py'\nprocesses = -1").contains("`processes = -1`"));
        assert!(refusal("file = 'a.py'\nconvntion = 'trl'").contains("did you mean `convention`?"));
        let process: RewardSpec =
            toml::from_str("kind = 'process'\ncommand = ['sh']\nprocesses = 2").unwrap();
        let said = process.read(&RewardRegistry::new()).err().unwrap().to_string();
        assert!(said.contains("has no option `processes`"), "{said}");
    }
}
