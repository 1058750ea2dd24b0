//! Scenario files: the model, the data, the rewards, and the arms that are compared.
//!
//! A file is parsed into a tree that keeps the place of every value. Each arm's settings are merged over the shared
//! ones, and those of `--set` over both (see `merge.rs`). Each merged tree is read into an [`ArmConfig`], in which
//! every setting has a value. [`check()`] then checks what the scenario refers to: rewards, formulas and files.
//!
//! - SCENARIO-1 every mistake is reported in one line, `path:line:column: what is wrong; what to write instead`.
//! - SCENARIO-2 [`Experiment::to_toml`] loads again to the same experiment, from any folder.
//! - SCENARIO-3 paths in a file are relative to the file's folder, paths on the command line to the current folder.

mod ablation;
mod alarm;
mod alarm_forks;
mod arm;
mod check;
mod choose;
mod data;
mod de;
mod design;
mod experiment;
mod feedback;
mod fork;
mod grpo;
mod hub;
mod hypothesis;
mod judge;
mod keys;
mod layers;
mod limits;
mod live_settings;
mod load;
mod merge;
mod new_fork;
mod overrides;
mod paths;
mod plugin;
mod policy;
mod prompt;
mod ranges;
mod recorded;
mod reference;
mod resolved;
mod run;
mod sampler;
mod schema;
mod secret;
mod selection;
mod server;
mod tagged;
mod task_servers;
#[cfg(test)]
mod tests;
mod train_parts;
mod training;
mod tree;
mod weights;
mod words;

pub use ablation::DesignKind;
pub use alarm::{
    AlarmAction, AlarmCondition, AlarmConfig, AlarmEdit, GRPO_NUMBERS, SFT_NUMBERS, Series, Truth, VETTED,
    VettedAlarm, Window,
};
pub use arm::{ArmConfig, Method};
pub use check::{check, check_names};
pub use choose::choose_arms;
pub use data::{
    AudioConfig, AudioWindow, Control, DataConfig, DataFilter, Downmix, EvalConfig, LoaderConfig,
};
pub use design::{Design, DesignFactor, Fraction};
pub use experiment::Experiment;
pub use feedback::{RewardSpec, ShapingConfig};
pub use fork::ForkConfig;
pub use grpo::{
    AdvantageKind, CovarianceControl, GrpoConfig, ImportanceCorrection, KlEstimator, LossKind, ScaleRewards,
};
pub use hypothesis::{Claim, Hypothesis, Metric, Relation, hypotheses_hash};
pub use judge::{
    Aggregate, Guided, JudgeBudget, JudgeCacheConfig, JudgeConfig, JudgeKind, JudgeSet, LocalJudgeConfig,
    MemberKind, OnJudgeFailure, OneOrMore, OpenaiJudgeConfig, PanelJudgeConfig, PanelMember, Prompting,
    Scoring, WhenSpent,
};
pub use limits::{LimitAction, LimitsConfig};
pub use live_settings::LIVE_SETTINGS;
pub use load::{load, parse};
pub use new_fork::NewFork;
pub use overrides::storable_arguments;
pub use plugin::{ChildEnv, HttpPlugin, PLUGIN_KINDS, ProcessPlugin, RewardForm};
pub use policy::{DType, GradientCheckpointing, LoraConfig, PolicyConfig, PolicyPath, TargetModules};
pub use prompt::{ChoiceStyle, LetterStyle, PromptConfig, PromptStyle};
pub use reference::scenario_reference;
pub use run::{
    CheckpointConfig, ControlConfig, Device, MemoryConfig, MlflowConfig, RunConfig, StorageConfig,
    SupervisionConfig, TracesConfig, TrackingConfig, WandbConfig,
};
pub use sampler::{AtNewVersion, SamplerBackend, SamplerConfig};
pub use schema::json_schema;
pub use selection::SelectionConfig;
pub use server::ServerConfig;
pub use task_servers::{judge_servers, task_servers};
pub use train_parts::{TrainPart, TrainParts};
pub use training::{
    AlignConfig, CurriculumConfig, OptimizerConfig, ReplayConfig, SamplingConfig, Schedule, SftConfig,
};
pub use weights::{Interpolate, WeightConfig, WeightSchedule};
