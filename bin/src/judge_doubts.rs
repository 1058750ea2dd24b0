//! Whether the judges of a scenario are known to be fit, for a run and for `sandbox check`.

use std::path::Path;

use judges::calibrated::warning;
use rewards::RewardRegistry;
use scenarios::{ArmConfig, Experiment, JudgeConfig};

/// A line about each judge that an arm asks and that is unfit or was never calibrated.
pub fn doubts(experiment: &Experiment, scenario: &Path, registry: &RewardRegistry) -> Vec<String> {
    let mut judges: Vec<&JudgeConfig> = Vec::new();
    for arm in experiment.arms.iter().filter(|arm| asks(arm, registry)) {
        if !judges.contains(&&arm.judge) {
            judges.push(&arm.judge);
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for line in judges.into_iter().filter_map(|judge| warning(judge, scenario)) {
        // Judges that differ in their limits only have one result.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// Whether a reward of the arm needs the judge's verdicts.
fn asks(arm: &ArmConfig, registry: &RewardRegistry) -> bool {
    arm.rewards.values().any(|spec| spec.read(registry).is_ok_and(|reward| reward.needs_verdict()))
}
