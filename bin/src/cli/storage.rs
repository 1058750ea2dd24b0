//! The options of `upload` and `fetch`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Where a store is. Credentials come from the environment only.
#[derive(Args, Clone, Debug)]
pub struct StoreOptions {
    /// The address of a store other than Amazon's [default: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The region of the bucket [default: AWS_REGION]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct UploadOptions {
    /// The run directory, such as runs/ablation-20260131-120000
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Where runs are stored, such as s3://bucket/audio [default: where it was uploaded before, or its storage.url]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub store: StoreOptions,
    /// Longest time that it is tried for, in seconds [default: the scenario's storage.wait_seconds]
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<f64>,
}

#[derive(Args, Clone, Debug)]
pub struct FetchOptions {
    /// The stored run, such as s3://bucket/audio/ablation-20260131-120000
    #[arg(value_name = "URL")]
    pub url: String,
    /// The run directory to make [default: the run's name in runs/]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreOptions,
}
