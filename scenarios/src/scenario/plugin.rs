//! Rewards outside this process: the options of the kinds `process`, `python` and `http`.
//! `docs/plugins.md` describes the protocol.

mod http;
mod process;
mod python;
mod variables;

use std::path::{Path, PathBuf};

use rewards::options::bad_option;
use rewards::{Reward, RewardError, RewardRegistry, did_you_mean, read_options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;

use super::tree::Node;
use super::{RewardSpec, secret};
use crate::error::{Place, ScenarioError};

pub use http::HttpPlugin;
pub use process::ProcessPlugin;
pub use python::PYTHON;
use python::PythonPlugin;
pub use variables::ChildEnv;

/// The `kind` of a child process that exchanges JSON lines.
pub const PROCESS: &str = "process";
/// The `kind` of a server that answers a POST request.
pub const HTTP: &str = "http";

/// The kinds of rewards outside this process, which are in no registry.
pub const PLUGIN_KINDS: [&str; 3] = [HTTP, PROCESS, PYTHON];

/// The reward that a `[rewards.NAME]` table describes.
pub enum RewardForm {
    /// A reward in Rust, ready to score.
    Rust(Box<dyn Reward>),
    /// A child process that is still to be started; a Python function too.
    Process(ProcessPlugin),
    /// A server that is still to be connected to.
    Http(HttpPlugin),
}

impl RewardForm {
    /// Whether the judge has to be asked before this reward scores.
    pub fn needs_verdict(&self) -> bool {
        match self {
            Self::Rust(reward) => reward.needs_verdict(),
            Self::Process(plugin) => plugin.needs_verdict,
            Self::Http(plugin) => plugin.needs_verdict,
        }
    }
}

impl RewardSpec {
    /// Builds the reward, or the options of a reward outside this process. `kind` is a name in `registry`
    /// or one of [`PLUGIN_KINDS`].
    ///
    /// Errors: The kind is unknown, an option does not fit, or one contains a secret (SECRET-1).
    pub fn read(&self, registry: &RewardRegistry) -> Result<RewardForm, RewardError> {
        self.refuse_secrets()?;
        match self.kind.as_str() {
            PROCESS => self.process().map(RewardForm::Process),
            PYTHON => self.python().map(RewardForm::Process),
            HTTP => self.http().map(RewardForm::Http),
            kind => registry.build(kind, &self.options).map(RewardForm::Rust).map_err(|error| match error {
                RewardError::UnknownKind { kind, .. } => {
                    let mut known: Vec<&str> = registry.names().chain(PLUGIN_KINDS).collect();
                    known.sort_unstable();
                    RewardError::UnknownKind { hint: did_you_mean(&kind, known), kind }
                }
                other => other,
            }),
        }
    }

    /// The same with `folder` joined to `cwd`, so that relative paths do not depend on the current folder.
    pub fn anchored(mut self, folder: &Path) -> Self {
        if matches!(self.kind.as_str(), PROCESS | PYTHON) {
            let cwd = match self.options.get("cwd") {
                Some(Value::String(cwd)) => folder.join(cwd),
                // A value that is not a text is refused when the options are read.
                Some(_) => return self,
                None => folder.to_owned(),
            };
            let cwd = if cwd.as_os_str().is_empty() { PathBuf::from(".") } else { cwd };
            let cwd = std::path::absolute(&cwd).unwrap_or(cwd);
            self.options.insert("cwd".into(), Value::String(cwd.display().to_string()));
        }
        self
    }

    /// Checks that the program, file and folder that it uses exist.
    ///
    /// Errors: as for [`RewardSpec::read`]; also if one of them does not exist.
    pub fn check_files(&self) -> Result<(), RewardError> {
        let (plugin, key, file) = match self.kind.as_str() {
            PROCESS => (self.process()?, "command", None),
            PYTHON => (self.python()?, "python", self.options.get("file")),
            _ => return Ok(()),
        };
        let missing = |key: &str, problem: &str| {
            let value = self.options.get(key).cloned().unwrap_or_else(|| Value::String("python3".into()));
            Err(bad_option(&self.kind, key, &value, problem))
        };
        if !plugin.cwd.as_os_str().is_empty() && !plugin.cwd.is_dir() {
            return missing("cwd", "there is no such folder; write one, or leave it out");
        }
        if let Some(file) = file.and_then(Value::as_str).map(|file| plugin.cwd.join(file))
            && !file.is_file()
        {
            let problem =
                format!("there is no file {}; write a path from the scenario's folder", file.display());
            return missing("file", &problem);
        }
        match plugin.program() {
            Ok(_) => Ok(()),
            Err(error) => missing(key, &error.to_string()),
        }
    }

    fn refuse_secrets(&self) -> Result<(), RewardError> {
        let place = Place::Default(PathBuf::new());
        let Some(literal) = secret::find(&Node::from_value(Value::Table(self.options.clone()), &place))
        else {
            return Ok(());
        };
        let path: Vec<&str> = literal.path.iter().map(String::as_str).collect();
        let problem =
            format!("it contains a secret, which would be stored with the run; {}", secret::instead(&path));
        Err(bad_option(&self.kind, path[0], &hidden(), &problem))
    }

    /// Reads the options of a plug-in. An error does not show a value that may be a secret.
    fn plugin_options<T>(&self) -> Result<T, RewardError>
    where
        T: Default + Serialize + DeserializeOwned,
    {
        read_options(&self.kind, &self.options).map_err(|error| match error {
            RewardError::BadOption { option, value, problem, .. }
                if secret::may_be_secret(&[&option], &value) =>
            {
                // serde's message repeats the value before it says what it expected.
                let expected =
                    problem.split_once(", expected ").map(|(_, expected)| format!("write {expected}"));
                bad_option(&self.kind, &option, &hidden(), &expected.unwrap_or(problem))
            }
            other => other,
        })
    }

    /// Checks that the environment variables of a child are set.
    fn check_env(&self, env: &ChildEnv) -> Result<(), RewardError> {
        let checked = env.filled().map(drop);
        checked.map_err(|error| bad_option(&self.kind, "env", &hidden(), &error.to_string()))
    }

    fn process(&self) -> Result<ProcessPlugin, RewardError> {
        let plugin: ProcessPlugin = self.plugin_options()?;
        self.check_env(&plugin.env)?;
        self.positive("timeout_seconds", plugin.timeout_seconds)?;
        self.positive("startup_timeout_seconds", plugin.startup_timeout_seconds)?;
        if plugin.command.is_empty() {
            let instead = "there is no program; write command = [\"python3\", \"brevity.py\"]";
            return Err(bad_option(PROCESS, "command", &Value::Array(Vec::new()), instead));
        }
        Ok(plugin)
    }

    fn python(&self) -> Result<ProcessPlugin, RewardError> {
        let plugin: PythonPlugin = self.plugin_options()?;
        self.check_env(plugin.env())?;
        self.positive("timeout_seconds", plugin.timeout_seconds)?;
        self.positive("startup_timeout_seconds", plugin.startup_timeout_seconds)?;
        plugin.process(&self.options)
    }

    fn http(&self) -> Result<HttpPlugin, RewardError> {
        let plugin: HttpPlugin = self.plugin_options()?;
        self.positive("timeout_seconds", plugin.timeout_seconds)?;
        if !["http://", "https://"].iter().any(|scheme| plugin.url.starts_with(scheme)) {
            let url = Value::String(plugin.url);
            return Err(bad_option(
                HTTP,
                "url",
                &url,
                "write an address such as \"http://127.0.0.1:8000/score\"",
            ));
        }
        let unusable =
            |option: &str, error: &ScenarioError| bad_option(HTTP, option, &hidden(), &error.to_string());
        plugin.filled_headers().map_err(|error| unusable("headers", &error))?;
        plugin.filled_proxy().map_err(|error| unusable("proxy", &error))?;
        Ok(plugin)
    }

    fn positive(&self, option: &str, value: f64) -> Result<(), RewardError> {
        // The limit of a day keeps the value within the range of a timer.
        if value > 0.0 && value <= 86_400.0 {
            return Ok(());
        }
        Err(bad_option(
            &self.kind,
            option,
            &Value::Float(value),
            "write a number of seconds above 0, at most 86400",
        ))
    }
}

/// Shown instead of a value that may be a secret.
fn hidden() -> Value {
    Value::String(secret::HIDDEN.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let spec: RewardSpec = toml::from_str(text).unwrap();
        spec.read(&RewardRegistry::standard()).err().unwrap().to_string()
    }

    fn missing(text: &str) -> String {
        toml::from_str::<RewardSpec>(text).unwrap().check_files().unwrap_err().to_string()
    }

    #[test]
    fn a_python_function_is_a_process() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("brevity.py"), "").unwrap();
        let spec: RewardSpec =
            toml::from_str("kind = 'python'\nfile = 'brevity.py'\npython = 'sh'\noptions = { a = 1 }")
                .unwrap();
        let spec = spec.anchored(folder.path());
        let Ok(RewardForm::Process(plugin)) = spec.read(&RewardRegistry::new()) else { panic!("a process") };
        assert_eq!(plugin.command, ["sh", "-m", "audio_thinker_reward", "brevity.py:reward"]);
        assert_eq!((plugin.cwd.as_path(), plugin.options["a"].as_integer()), (folder.path(), Some(1)));
    }

    #[test]
    fn mistakes_are_reported_with_the_option_and_what_to_write() {
        assert_eq!(
            refusal("kind = 'process'\ncomand = ['sh']"),
            "reward kind `process` has no option `comand`; did you mean `command`? (known: command, cwd, env, \
             needs_verdict, options, startup_timeout_seconds, timeout_seconds)"
        );
        assert!(
            refusal("kind = 'process'").contains("`command = []` cannot be used: there is no program; write")
        );
        assert!(refusal("kind = 'python'").contains("write the path of a Python file"));
        assert!(missing("kind = 'python'\nfile = 'gone.py'").contains("there is no file gone.py"));
        assert!(missing("kind = 'process'\ncommand = ['pyhton3']").contains("no program `pyhton3` on PATH"));
        assert!(
            missing("kind = 'process'\ncommand = ['sh']\ncwd = '/gone'").contains("there is no such folder")
        );
        assert!(refusal("kind = 'process'\ncommand = ['sh']\ntimeout_seconds = 0").contains("above 0"));
        assert!(refusal("kind = 'http'\nurl = '127.0.0.1:8000'").contains("write an address such as"));
        assert!(
            refusal("kind = 'http'\nurl = 'http://x'\nheaders = { A = 'Bearer ${AT_NOT_SET_ANYWHERE}' }")
                .contains("the environment variable `AT_NOT_SET_ANYWHERE` is not set")
        );
        assert_eq!(
            refusal("kind = 'proces'"),
            "no reward kind is called `proces`; did you mean `process`? (known: accuracy, ada-grpo, adapt-think, \
             adaptive-think, answer-from-caption, caption-grounding, consistency, cosine, format, http, listwise, overlong, \
             pairwise, process, python, repetition, rubric, think, think-budget, thinkless)"
        );
    }
}
