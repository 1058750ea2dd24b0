//! Scenario files, datasets, the soundscape world, official scorers. Pure: no tensors, no async runtime.

pub mod builtin;
mod cache;
pub mod dataset;
mod error;
mod formats;
pub mod scenario;
pub mod scorers;
pub mod soundscape;

pub use builtin::builtin_tiny_policy;
pub use cache::cache_dir;
pub use dataset::{
    DataError, DataFormat, DataSource, FileSource, RowFilter, Split, open_dataset, open_dataset_filtered,
};
pub use error::{Place, ScenarioError};
pub use scenario::{
    ArmConfig, CheckpointConfig, ControlConfig, DType, DataConfig, Device, Downmix, EvalConfig, Experiment,
    GrpoConfig, JudgeConfig, JudgeKind, LoaderConfig, LoraConfig, LossKind, Method, OptimizerConfig,
    PolicyConfig, PolicyPath, PromptConfig, PromptStyle, RewardSpec, RunConfig, SamplingConfig, ScaleRewards,
    Schedule, SftConfig, ShapingConfig, SupervisionConfig, TargetModules, TrainMode, check, json_schema,
    load,
};
pub use soundscape::{TargetKind, WorldConfig, sft_target};
