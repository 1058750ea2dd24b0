//! The data of a scenario: a survey of it with what the arms' models hear and take, and the short form of a run.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use model::config::ModelConfig;
use model::{ModelError, Processor};
use records::visible;
use rewards::Question;
use scenarios::{ArmConfig, AudioWindow, Experiment, PolicyPath, ScenarioError};
use survey::{Decode, Model, Options, Role, Source, Survey};

/// Number of clips of each source that are decoded without `--all`.
const SAMPLE: usize = 50;

/// Longest time that a run looks at a source before it begins.
const GLANCE: Duration = Duration::from_millis(500);

/// Why a policy's tokenizer could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The built-in policy could not be unpacked.
    #[error(transparent)]
    Builtin(#[from] ScenarioError),
    /// A file of the policy cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Looks at the data of all arms; decodes all clips or a sample. Shows a bar in a terminal if `progress` says so.
///
/// Errors: the tokenizer or the configuration of a policy can't be read.
pub fn look(experiment: &Experiment, all: bool, progress: bool) -> Result<Survey, PolicyError> {
    let sources = sources(experiment)?;
    let shown = progress && std::io::stderr().is_terminal();
    let bar = if shown { ProgressBar::new(0) } else { ProgressBar::hidden() };
    // The template is a constant, so parsing it cannot fail.
    let style = ProgressStyle::with_template("{bar:24.cyan/black.bright} {pos:>7}/{len:<7} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    let progress = |what: &str, done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_message(visible(what).into_owned());
        bar.set_position(done as u64);
    };
    let decode = if all { Decode::All } else { Decode::Some(SAMPLE) };
    let survey = survey::survey(&sources, &Options { decode, progress: &progress });
    bar.finish_and_clear();
    Ok(survey)
}

/// One line for each source of a run.
pub fn glance(experiment: &Experiment) -> Vec<String> {
    survey::glance(&survey::sources(experiment), GLANCE)
}

/// The sources of an experiment, each with what is known of the models that hear it.
fn sources(experiment: &Experiment) -> Result<Vec<Source>, PolicyError> {
    let mut sources = survey::sources(experiment);
    let mut opened: Vec<(&PolicyPath, Opened)> = Vec::new();
    for arm in &experiment.arms {
        if !opened.iter().any(|(path, _)| **path == arm.policy.path) {
            opened.push((&arm.policy.path, open(&arm.policy.path)?));
        }
    }
    for source in &mut sources {
        let mut askings: Vec<Asking> = Vec::new();
        let arms = experiment.arms.iter().filter(|arm| source.arms.contains(&arm.name));
        for arm in arms {
            let Some((_, model)) = opened.iter().find(|(path, _)| **path == arm.policy.path) else {
                continue;
            };
            if !askings.iter().any(|known| asks_alike(&known.arm, arm)) {
                askings.push(Asking { model: model.clone(), role: source.role, arm: arm.clone() });
            }
        }
        source.model = together(askings);
    }
    Ok(sources)
}

/// What is known of a policy without its weights.
#[derive(Clone)]
struct Opened {
    processor: Processor,
    /// Number of tokens that it takes, prompt and completion together.
    context: usize,
}

fn open(path: &PolicyPath) -> Result<Opened, PolicyError> {
    let folder = path.folder()?;
    let config = ModelConfig::open(&folder)?;
    let context = config.text.max_position_embeddings as usize;
    Ok(Opened { processor: Processor::open(&folder)?, context })
}

/// How an arm asks the questions of a source.
struct Asking {
    model: Opened,
    role: Role,
    arm: ArmConfig,
}

impl Asking {
    fn completion(&self) -> usize {
        match self.role {
            Role::Train => self.arm.training_completion(),
            Role::Heldout => self.arm.sampling.max_new_tokens,
        }
    }

    /// Number of tokens of a question's longest prompt with a clip of so many seconds.
    fn tokens(&self, question: &Question, seconds: f64) -> Option<usize> {
        let texts = match self.role {
            Role::Train => self.arm.training_texts(question),
            Role::Heldout => vec![self.arm.prompt.render(question)],
        };
        let processor = &self.model.processor;
        let longest = texts.iter().filter_map(|text| processor.text_tokens(text, 1).ok()).max()?;
        let (most, window) = (windows(&self.arm), processor.window_seconds().unwrap_or(1));
        let count = ((seconds / window as f64).ceil() as usize).clamp(1, most);
        // What the template writes around each window.
        let around = |windows| processor.text_tokens("", windows).unwrap_or_default();
        let around = if count > 1 { around(count).saturating_sub(around(1)) } else { 0 };
        Some(longest + around + processor.window_tokens(seconds, most))
    }
}

/// Most windows of a clip that an arm hears.
fn windows(arm: &ArmConfig) -> usize {
    if arm.loader.window == AudioWindow::All { audio::MOST_WINDOWS } else { 1 }
}

/// Whether the prompts of two arms are the same.
fn asks_alike(one: &ArmConfig, other: &ArmConfig) -> bool {
    one.policy.path == other.policy.path
        && one.prompt == other.prompt
        && windows(one) == windows(other)
        && one.method == other.method
        && one.sft.styles == other.sft.styles
        && one.sampling.max_new_tokens == other.sampling.max_new_tokens
}

/// What every arm of a source hears and takes: the smallest window and context, the longest prompt.
fn together(askings: Vec<Asking>) -> Model {
    let prompts: Vec<_> = askings.iter().map(|asking| asking.arm.prompt.clone()).collect();
    Model {
        hides_choices: Some(Arc::new(move |question| {
            prompts.iter().any(|prompt| prompt.hides_choices(question))
        })),
        window_seconds: askings
            .iter()
            .filter_map(|asking| Some(windows(&asking.arm) * asking.model.processor.window_seconds()?))
            .min()
            .map(|seconds| seconds as f64),
        context: askings.iter().map(|asking| asking.model.context).min(),
        completion: askings.iter().map(Asking::completion).max().unwrap_or_default(),
        prompt_tokens: Some(Arc::new(move |question, seconds| {
            askings.iter().filter_map(|asking| asking.tokens(question, seconds)).max()
        })),
    }
}
