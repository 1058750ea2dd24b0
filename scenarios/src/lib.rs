//! Scenario files, datasets and the built-in worlds. The crate is pure: it uses neither tensors nor an async runtime.
//!
//! A *scenario* is a TOML file with the settings that all *arms* share, followed by the arms that are compared.
//! [`load`] reads it into an [`Experiment`], in which every [`ArmConfig`] has a value for each setting. [`check`]
//! then checks the rewards, formulas and files that it refers to. A *dataset* ([`DataSource`]) is a list of questions
//! about audio clips, which [`open_dataset`] reads; a [`World`] is a built-in dataset.
//!
//! ```
//! use std::path::Path;
//! use rewards::RewardRegistry;
//!
//! let text = r#"
//!     [rewards]
//!     accuracy = { kind = "accuracy" }
//!     format = { kind = "format" }
//!     [shaping]
//!     formula = "accuracy + w_format * format"
//!     weights = { format = 0.5 }
//!     [[arm]]
//!     name = "slow"
//!     [[arm]]
//!     name = "fast"
//!     grpo.lr = 3e-4
//! "#;
//! let experiment = scenarios::scenario::parse(text, Path::new("mine.toml"), &[], &[], None)?;
//! scenarios::check(&experiment, &RewardRegistry::standard())?;
//! assert_eq!(experiment.arms[1].grpo.lr, 3e-4);
//!
//! let overrides = ["grpo.clpi=0.3".to_owned()];
//! let error = scenarios::scenario::parse(text, Path::new("mine.toml"), &overrides, &[], None).unwrap_err();
//! assert_eq!(error.to_string(), "--set grpo.clpi=0.3: unknown key `clpi` in [grpo]; did you mean `clip`?");
//! # Ok::<(), scenarios::ScenarioError>(())
//! ```

pub mod benchmarks;
pub mod builtin;
mod cache;
pub mod dataset;
mod error;
mod file_keys;
mod formats;
mod holdout;
mod judge_sets;
mod questions;
pub mod recorded;
mod rows;
pub mod scenario;
pub mod soundscape;
mod source;
pub mod spoken;
mod templates;
pub mod world;

pub use builtin::{builtin_tiny_policy, python_module};
pub use cache::cache_dir;
pub use dataset::{DataSource, open_dataset, open_dataset_filtered};
pub use error::{Place, ScenarioError};
pub use formats::RowFilter;
pub use judge_sets::{JudgedExample, open_judge_set};
pub use questions::Questions;
pub use rows::{Dataset, RowCause, RowProblem, causes_in_words};
pub use scenario::{
    AdvantageKind, Aggregate, AlarmAction, AlarmCondition, AlarmConfig, AlarmEdit, AlignConfig, ArmConfig,
    AtNewVersion, AudioConfig, AudioWindow, CheckpointConfig, ChildEnv, Claim, Control, ControlConfig,
    CovarianceControl, CurriculumConfig, DType, DataConfig, DataFilter, Design, DesignFactor, DesignKind,
    Device, Downmix, EvalConfig, Experiment, ForkConfig, Fraction, GRPO_NUMBERS, GradientCheckpointing,
    GrpoConfig, Guided, HttpPlugin, Hypothesis, ImportanceCorrection, Interpolate, JudgeBudget,
    JudgeCacheConfig, JudgeConfig, JudgeKind, JudgeSet, KlEstimator, LIVE_SETTINGS, LetterStyle, LimitAction,
    LimitsConfig, LoaderConfig, LocalJudgeConfig, LoraConfig, LossKind, MemberKind, MemoryConfig, Method,
    Metric, MlflowConfig, NewFork, OnJudgeFailure, OneOrMore, OpenaiJudgeConfig, OptimizerConfig,
    PLUGIN_KINDS, PanelJudgeConfig, PanelMember, PolicyConfig, PolicyPath, ProcessPlugin, PromptConfig,
    PromptStyle, Prompting, Relation, ReplayConfig, RewardForm, RewardSpec, RunConfig, SFT_NUMBERS,
    SamplingConfig, ScaleRewards, Schedule, Scoring, SelectionConfig, Series, ServerConfig, SftConfig,
    ShapingConfig, StorageConfig, SupervisionConfig, TargetModules, TracesConfig, TrackingConfig, TrainPart,
    TrainParts, Truth, VETTED, VettedAlarm, WandbConfig, WeightConfig, WeightSchedule, WhenSpent, Window,
    check, check_names, choose_arms, hypotheses_hash, json_schema, judge_servers, load, scenario_reference,
    storable_arguments, task_servers,
};
pub use source::{AnswerIs, AnswerType, ChoiceColumns, Columns, DataFormat, FileSource, Part, SplitBy};
pub use templates::{SCHEMA, SCHEMA_NAME, Template};
pub use world::{Split, TargetKind, World, Worlds, sft_target};
