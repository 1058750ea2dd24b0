//! The sources of an experiment: its training sets and suites, each once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rewards::Question;
use scenarios::{
    ArmConfig, DataSource, Dataset, Experiment, Method, RowFilter, ScenarioError, Split, Worlds,
};
use serde::Serialize;

/// What a source is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is trained on.
    Train,
    /// It is a suite of `[eval]`, held out from training.
    Heldout,
}

/// Counts the tokens of a question's prompt with a clip of so many seconds; `None` if it has no prompt.
pub type TokenCount = Arc<dyn Fn(&Question, f64) -> Option<usize> + Send + Sync>;

/// Whether something holds for a question.
pub type QuestionTest = Arc<dyn Fn(&Question) -> bool + Send + Sync>;

/// What is known of the model without its weights. The default knows nothing.
#[derive(Clone, Default)]
pub struct Model {
    /// Longest part of a clip that the model hears, in seconds.
    pub window_seconds: Option<f64>,
    /// Number of tokens that the model takes, prompt and completion together.
    pub context: Option<usize>,
    /// Number of those that a completion needs.
    pub completion: usize,
    /// How long prompts are.
    pub prompt_tokens: Option<TokenCount>,
    /// Whether a question's prompt does not show where one choice ends and the next begins.
    pub hides_choices: Option<QuestionTest>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("window_seconds", &self.window_seconds)
            .field("context", &self.context)
            .field("completion", &self.completion)
            .finish_non_exhaustive()
    }
}

/// A training set or a suite, as some arms of an experiment use it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What to call it: `train`, or `eval` and the name of the suite.
    pub name: String,
    /// What it is used for.
    pub role: Role,
    /// Names of the arms that use it, in the order of the scenario.
    pub arms: Vec<String>,
    /// Where its rows are.
    pub data: DataSource,
    /// The settings of the built-in worlds, for a source that is a part of one.
    pub worlds: Worlds,
    /// Which of its rows are used.
    pub filter: RowFilter,
    /// How several channels of its clips become one.
    pub downmix: audio::Downmix,
    /// A program that decodes formats that the sandbox does not.
    pub fallback: Option<PathBuf>,
    /// Largest share of its rows that may be unusable, 0 to 1.
    pub max_unusable_fraction: f64,
    /// The model that hears it.
    pub model: Model,
}

impl Source {
    /// The source of `data` in one arm.
    pub fn new(name: String, role: Role, data: DataSource, arm: &ArmConfig) -> Self {
        let (filter, most) = match role {
            Role::Train => (arm.data.row_filter(), arm.data.max_unusable_fraction),
            // A suite is refused only if none of its rows can be used.
            Role::Heldout => (arm.suite_filter(), 1.0),
        };
        Self {
            name,
            role,
            arms: vec![arm.name.clone()],
            data,
            worlds: arm.data.worlds(),
            filter,
            downmix: match arm.loader.downmix {
                scenarios::Downmix::First => audio::Downmix::First,
                scenarios::Downmix::Right => audio::Downmix::Right,
                scenarios::Downmix::Mean => audio::Downmix::Mean,
                scenarios::Downmix::Itu => audio::Downmix::Itu,
            },
            fallback: arm.audio.fallback.clone(),
            max_unusable_fraction: most,
            model: Model::default(),
        }
    }

    /// Whether both have the same rows and clips, heard alike.
    fn is_same(&self, other: &Self) -> bool {
        self.role == other.role
            && self.data == other.data
            && self.filter == other.filter
            && self.downmix == other.downmix
            && self.fallback == other.fallback
            && (!matches!(self.data, DataSource::World(_)) || self.worlds == other.worlds)
    }

    /// Reads the rows.
    ///
    /// Errors: the folder of the clips is missing, or what [`scenarios::open_dataset_filtered`] refuses.
    pub(crate) fn open(&self) -> Result<Dataset, ScenarioError> {
        if let DataSource::File(file) = &self.data
            && let Some(root) = &file.audio_root
            && !root.is_dir()
        {
            let instead = format!(
                "set audio_root to the folder that the paths in {} are relative to",
                file.path.display()
            );
            return Err(ScenarioError::File {
                path: root.clone(),
                problem: "no such folder".into(),
                instead,
            });
        }
        let split = match self.role {
            Role::Train => Split::Train,
            Role::Heldout => Split::Heldout,
        };
        scenarios::open_dataset_filtered(&self.data, &self.worlds, split, &self.filter)
    }
}

/// The training sets and suites of an experiment. One that several arms use is listed once. [`Source::model`] is left for
/// the caller to fill in.
pub fn sources(experiment: &Experiment) -> Vec<Source> {
    let mut found: Vec<Source> = Vec::new();
    for arm in &experiment.arms {
        let train = (arm.method != Method::None)
            .then(|| Source::new("train".into(), Role::Train, arm.data.train.clone(), arm));
        let suites = arm.eval.suites.iter();
        let suites = suites
            .map(|suite| Source::new(format!("eval {}", suite.name()), Role::Heldout, suite.clone(), arm));
        for source in train.into_iter().chain(suites) {
            match found.iter_mut().find(|known| known.is_same(&source)) {
                Some(known) => {
                    known.arms.push(arm.name.clone());
                    known.max_unusable_fraction =
                        known.max_unusable_fraction.min(source.max_unusable_fraction);
                }
                None => found.push(source),
            }
        }
    }
    let names: Vec<String> = found.iter().map(|source| source.name.clone()).collect();
    for source in &mut found {
        if names.iter().filter(|name| **name == source.name).count() > 1 {
            source.name = format!("{} ({})", source.name, source.arms.join(", "));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn named(text: &str) -> Vec<(String, Vec<String>)> {
        let rewards = "[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n";
        let text = format!("{rewards}{text}");
        let experiment = scenarios::scenario::parse(&text, Path::new("a.toml"), &[], &[], None).unwrap();
        sources(&experiment).into_iter().map(|source| (source.name, source.arms)).collect()
    }

    #[test]
    fn what_arms_share_is_one_source_and_what_differs_is_named_by_its_arms() {
        let two = "[[arm]]\nname = \"a\"\n[[arm]]\nname = \"b\"\n";
        let both = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            named(two),
            [("train".to_owned(), both.clone()), ("eval builtin:soundscapes".to_owned(), both.clone())]
        );
        let limited = format!("{two}data.limit = 10\n");
        assert_eq!(
            named(&limited),
            [
                ("train (a)".to_owned(), vec!["a".to_owned()]),
                ("eval builtin:soundscapes".to_owned(), both),
                ("train (b)".to_owned(), vec!["b".to_owned()]),
            ]
        );
    }

    #[test]
    fn an_arm_that_is_not_trained_has_no_training_set() {
        let names = named("[[arm]]\nname = \"a\"\nmethod = \"none\"\n");
        assert_eq!(names, [("eval builtin:soundscapes".to_owned(), vec!["a".to_owned()])]);
    }
}
