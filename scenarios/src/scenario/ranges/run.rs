//! Checks the values of `[run]`, `[memory]`, `[control]`, `[tracking]`, `[storage]` and `[traces]`.

use std::fmt::Display;

use super::range::{Checked, Ranges, number, text};
use crate::error::ScenarioError;
use crate::scenario::secret::is_variable_name;
use crate::scenario::tree::Node;
use crate::scenario::{ControlConfig, MemoryConfig, RunConfig, StorageConfig, TracesConfig, TrackingConfig};

/// Whether a text can be a folder's name on every system.
pub(super) fn is_folder_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || "+-_.".contains(c);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(good)
}

pub(super) const FOLDER_NAME: &str = "letters, digits and + - _ . only, since it names a folder";

/// Checks the values of `[run]`.
pub(crate) fn check_run(run: &RunConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("run", good, path, value, instead);
    need(is_folder_name(&run.name), "name", &text(&run.name), FOLDER_NAME)?;
    need(!run.seeds.is_empty(), "seeds", &"an empty list", "at least one seed")?;
    let mut sorted = run.seeds.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!("`seeds` in [run] has {} twice", twice[0]);
        return Err(ScenarioError::at(section.place_of(&["seeds"]), problem, "give each seed once"));
    }
    let largest = sorted.last().copied().unwrap_or_default();
    need(i64::try_from(largest).is_ok(), "seeds", &largest, "seeds up to 9223372036854775807")?;
    need(run.steps >= 1, "steps", &run.steps, "1 or more")?;
    need(!run.out.as_os_str().is_empty(), "out", &"\"\"", "a folder such as \"runs\"")
}

/// Checks the values of `[control]`.
pub(crate) fn check_control(control: &ControlConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("control", good, path, value, instead);
    let listen = &control.listen;
    let address = control.address();
    let instead = "an address and a port such as \"127.0.0.1:0\", or \"off\"";
    need(address.is_some() || listen == "off", "listen", &text(listen), instead)?;
    let near = address.is_none_or(|address| address.ip().is_loopback());
    let instead = "an address of this machine only such as \"127.0.0.1:8080\", or set allow_remote = true beside it \
                   if other machines may control the run";
    need(near || control.allow_remote, "listen", &text(listen), instead)?;
    for (index, host) in control.hosts.iter().enumerate() {
        let good = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/@#?*\"".contains(c));
        let instead = "a name such as \"gpu1.lan\" or \"localhost:9000\", without http://";
        ranges.need_below("control", good, &format!("hosts.{index}"), text(host), instead)?;
    }
    if let Some(variable) = &control.token_env {
        let instead = "the name of an environment variable, such as \"SANDBOX_TOKEN\"";
        need(is_variable_name(variable), "token_env", &"no name of a variable", instead)?;
    }
    Ok(())
}

/// Checks the values of `[storage]`.
pub(crate) fn check_storage(storage: &StorageConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("storage", good, path, value, instead);
    if let Some(url) = &storage.url {
        let bucket = url.strip_prefix("s3://").and_then(|rest| rest.split('/').next());
        let good =
            bucket.is_some_and(|bucket| !bucket.is_empty()) && !url.contains(['?', '#', '@', ' ', '\\']);
        need(good, "url", &text(url), "a bucket and a folder in it, such as \"s3://bucket/audio\"")?;
    }
    if let Some(endpoint) = &storage.endpoint {
        let instead = "the address of the store, such as \"http://127.0.0.1:9000\"";
        need(is_address(endpoint), "endpoint", &text(endpoint), instead)?;
    }
    if let Some(region) = &storage.region {
        let good = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        need(good, "region", &text(region), "a region such as \"eu-central-1\"")?;
    }
    let seconds = |value: f64, least: f64| value >= least && value <= 86400.0 * 7.0;
    let instead = "a number of seconds from 1 to 604800";
    need(seconds(storage.every_seconds, 1.0), "every_seconds", &storage.every_seconds, instead)?;
    need(storage.keep_checkpoints >= 1, "keep_checkpoints", &storage.keep_checkpoints, "1 or more")?;
    let instead = "a number of seconds from 0 to 604800";
    need(seconds(storage.wait_seconds, 0.0), "wait_seconds", &storage.wait_seconds, instead)
}

/// Checks the values of `[memory]`.
pub(crate) fn check_memory(memory: &MemoryConfig, section: &Node) -> Checked {
    let Some(limit) = memory.limit_gib else { return Ok(()) };
    let good = limit > 0.0 && limit.is_finite();
    Ranges(section).need_below(
        "memory",
        good,
        "limit_gib",
        number(limit),
        "a number of GiB above 0, such as 40",
    )
}

/// Checks the values of `[traces]`.
pub(crate) fn check_traces(traces: &TracesConfig, section: &Node) -> Checked {
    let Some(endpoint) = &traces.endpoint else { return Ok(()) };
    let instead = "the address of a collector, such as \"http://127.0.0.1:4318\"";
    Ranges(section).need_below("traces", is_address(endpoint), "endpoint", text(endpoint), instead)
}

/// Whether a text is the address of a server, without a user's name, which may hide a password.
fn is_address(url: &str) -> bool {
    let address = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    address.is_some_and(|address| !address.is_empty() && !address.contains(['?', '#', '@', ' ']))
}

/// Checks the values of `[tracking]`.
pub(crate) fn check_tracking(tracking: &TrackingConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("tracking", good, path, value, instead);
    if let Some(wandb) = &tracking.wandb {
        let good =
            |name: &str| !name.is_empty() && name.len() <= 128 && !name.contains(|c| "/\\#?%:".contains(c));
        let instead = "a name of 1 to 128 characters without / \\ # ? % :";
        need(good(&wandb.project), "wandb.project", &text(&wandb.project), instead)?;
        if let Some(entity) = &wandb.entity {
            need(good(entity), "wandb.entity", &text(entity), instead)?;
        }
    }
    if let Some(mlflow) = &tracking.mlflow {
        let url = &mlflow.url;
        let good = is_address(url);
        let instead = "the address of the server, such as \"http://127.0.0.1:5000\"";
        need(good, "mlflow.url", &text(url), instead)?;
        if let Some(variable) = &mlflow.token_env {
            let instead = "the name of an environment variable, such as \"MLFLOW_TRACKING_TOKEN\"";
            need(is_variable_name(variable), "mlflow.token_env", &"no name of a variable", instead)?;
        }
        if let Some(experiment) = &mlflow.experiment {
            need(!experiment.trim().is_empty(), "mlflow.experiment", &text(experiment), "a name")?;
        }
    }
    Ok(())
}
