//! Rewards outside this process: the options of the kinds `process`, `python` and `http`.
//! `docs/plugins.md` describes the protocol.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rewards::options::bad_option;
use rewards::{Reward, RewardError, RewardRegistry, did_you_mean, read_options};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::RewardSpec;
use crate::error::ScenarioError;

/// The `kind` of a child process that exchanges JSON lines.
pub const PROCESS: &str = "process";
/// The `kind` of a Python function, which the embedded module runs.
pub const PYTHON: &str = "python";
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

/// The options of a reward with `kind = "process"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessPlugin {
    /// The program and its arguments; must be set. A program with a slash in its name is a path relative to `cwd`; any
    /// other is searched on `PATH`.
    pub command: Vec<String>,
    /// The working directory. Default: the scenario's folder.
    pub cwd: PathBuf,
    /// Environment variables, in addition to those of the sandbox.
    pub env: BTreeMap<String, String>,
    /// Options for the program itself, passed on unchanged.
    pub options: Table,
    /// Whether the judge has to be asked before this reward scores.
    pub needs_verdict: bool,
    /// Longest wait for the scores of a batch, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
    /// Longest wait until the program is ready, in seconds; above 0, at most 86,400.
    pub startup_timeout_seconds: f64,
}

impl Default for ProcessPlugin {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            cwd: PathBuf::new(),
            env: BTreeMap::new(),
            options: Table::new(),
            needs_verdict: false,
            timeout_seconds: 60.0,
            startup_timeout_seconds: 60.0,
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
        let own = self.env.get("PATH").map(Into::into);
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

/// The options of a reward with `kind = "python"`. Those that are not described here are those of [`ProcessPlugin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PythonPlugin {
    /// The Python file, relative to `cwd`; must be set.
    file: PathBuf,
    /// The function in the file.
    function: String,
    /// The Python interpreter, a path or a program on `PATH`.
    python: String,
    /// Whether completions and prompts are passed as lists of messages.
    conversational: bool,
    cwd: PathBuf,
    env: BTreeMap<String, String>,
    options: Table,
    needs_verdict: bool,
    timeout_seconds: f64,
    startup_timeout_seconds: f64,
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
            conversational: false,
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
    fn process(self) -> Result<ProcessPlugin, RewardError> {
        let file = Value::String(self.file.display().to_string());
        if self.file.as_os_str().is_empty() {
            return Err(bad_option(
                PYTHON,
                "file",
                &file,
                "write the path of a Python file, such as \"brevity.py\"",
            ));
        }
        let mut command: Vec<String> = vec![self.python, "-m".into(), "audio_thinker_reward".into()];
        if self.conversational {
            command.push("--conversational".into());
        }
        command.push(format!("{}:{}", self.file.display(), self.function));
        Ok(ProcessPlugin {
            command,
            cwd: self.cwd,
            env: self.env,
            options: self.options,
            needs_verdict: self.needs_verdict,
            timeout_seconds: self.timeout_seconds,
            startup_timeout_seconds: self.startup_timeout_seconds,
        })
    }
}

/// The options of a reward with `kind = "http"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpPlugin {
    /// Address that each batch is posted to, with `http://` or `https://`; must be set.
    pub url: String,
    /// Headers of the request. `${NAME}` is replaced by an environment variable, so that secrets need not
    /// be in the scenario.
    pub headers: BTreeMap<String, String>,
    /// Options for the server itself, passed on unchanged.
    pub options: Table,
    /// Whether the judge has to be asked before this reward scores.
    pub needs_verdict: bool,
    /// Longest wait for the scores of a batch, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
}

impl Default for HttpPlugin {
    fn default() -> Self {
        Self {
            url: String::new(),
            headers: BTreeMap::new(),
            options: Table::new(),
            needs_verdict: false,
            timeout_seconds: 60.0,
        }
    }
}

impl HttpPlugin {
    /// The headers with environment variables filled in.
    ///
    /// Errors: A variable is not set, or a brace is not closed.
    pub fn filled_headers(&self) -> Result<BTreeMap<String, String>, ScenarioError> {
        let filled = self.headers.iter().map(|(name, value)| Ok((name.clone(), filled(value)?)));
        filled.collect()
    }
}

fn filled(text: &str) -> Result<String, ScenarioError> {
    let Some((before, rest)) = text.split_once("${") else { return Ok(text.to_owned()) };
    let Some((name, after)) = rest.split_once('}') else {
        let problem = format!("`{text}` opens a brace and does not close it");
        return Err(ScenarioError::value(problem, "write ${NAME} for an environment variable"));
    };
    let value = std::env::var(name).map_err(|_| {
        let problem = format!("the environment variable `{name}` is not set");
        ScenarioError::value(problem, "export it, or write the value")
    })?;
    Ok(format!("{before}{value}{}", filled(after)?))
}

impl RewardSpec {
    /// Builds the reward, or the options of a reward outside this process. `kind` is a name in `registry`
    /// or one of [`PLUGIN_KINDS`].
    ///
    /// Errors: The kind is unknown, or an option does not fit.
    pub fn read(&self, registry: &RewardRegistry) -> Result<RewardForm, RewardError> {
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

    fn process(&self) -> Result<ProcessPlugin, RewardError> {
        let plugin: ProcessPlugin = read_options(PROCESS, &self.options)?;
        self.positive("timeout_seconds", plugin.timeout_seconds)?;
        self.positive("startup_timeout_seconds", plugin.startup_timeout_seconds)?;
        if plugin.command.is_empty() {
            let instead = "there is no program; write command = [\"python3\", \"brevity.py\"]";
            return Err(bad_option(PROCESS, "command", &Value::Array(Vec::new()), instead));
        }
        Ok(plugin)
    }

    fn python(&self) -> Result<ProcessPlugin, RewardError> {
        let plugin: PythonPlugin = read_options(PYTHON, &self.options)?;
        self.positive("timeout_seconds", plugin.timeout_seconds)?;
        self.positive("startup_timeout_seconds", plugin.startup_timeout_seconds)?;
        plugin.process()
    }

    fn http(&self) -> Result<HttpPlugin, RewardError> {
        let plugin: HttpPlugin = read_options(HTTP, &self.options)?;
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
        // A value may be a secret, so the message does not repeat it.
        let hidden = Value::String("…".into());
        plugin.filled_headers().map_err(|error| bad_option(HTTP, "headers", &hidden, &error.to_string()))?;
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
            "no reward kind is called `proces`; did you mean `process`? (known: accuracy, adaptive-think, consistency, \
             format, http, process, python, think)"
        );
    }

    #[test]
    fn headers_take_values_from_the_environment() {
        let plugin = HttpPlugin {
            headers: [("a".to_owned(), "x ${PATH} y".to_owned())].into(),
            ..HttpPlugin::default()
        };
        let path = std::env::var("PATH").unwrap();
        assert_eq!(plugin.filled_headers().unwrap()["a"], format!("x {path} y"));
        assert!(filled("${a").unwrap_err().to_string().contains("does not close it"));
    }
}
