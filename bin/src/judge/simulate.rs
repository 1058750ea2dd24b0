//! `sandbox judge --simulate`: what a judge's noise does to the rewards of the scenario.

use judges::calibration::Grades;
use judges::simulation::{Attenuation, Noise, Setting, Simulation, simulate};
use rewards::{AdvantageOptions, Formula, Scale};
use scenarios::{ArmConfig, Method, ScaleRewards};
use serde::Serialize;

use crate::{cli::JudgeOptions, failure::Failure, streams::outln};

/// A simulation, and the arms with its setting.
#[derive(Serialize)]
pub struct Simulated {
    arms: Vec<String>,
    #[serde(flatten)]
    simulation: Simulation,
}

/// The noise that `--agreement` and `--correlation` give. Fails if one is out of its range.
pub fn by_hand(options: &JudgeOptions) -> Result<Option<Noise>, Failure> {
    let within = |option: &str, value: f64| match (0.0..=1.0).contains(&value) {
        true => Ok(value),
        false => Err(Failure::Input(format!("--{option} is {value}; write a number from 0 to 1"))),
    };
    match (options.agreement, options.correlation) {
        (Some(agreement), Some(correlation)) => {
            let agreement = within("agreement", agreement)?;
            Ok(Some(Noise::symmetric(agreement, within("correlation", correlation)?)))
        }
        _ => Ok(None),
    }
}

/// The simulations of the arms that share a judge, one for each setting. Arms whose formula gives neither reward a weight
/// have none, and so have those that are not trained by rewards.
pub fn simulated(
    arms: &[&ArmConfig],
    by_hand: Option<Noise>,
    grades: &Grades,
    seed: u64,
) -> Result<Vec<Simulated>, Failure> {
    let mut settings: Vec<(Setting, Vec<String>)> = Vec::new();
    for arm in arms {
        let setting = setting(arm);
        if setting.consistency == 0.0 && setting.think == 0.0 {
            continue;
        }
        match settings.iter_mut().find(|(known, _)| *known == setting) {
            Some((_, arms)) => arms.push(arm.name.clone()),
            None => settings.push((setting, vec![arm.name.clone()])),
        }
    }
    if settings.is_empty() {
        let problem = "--simulate: no arm gives the rewards `consistency` and `think` a weight; choose other arms by --arm";
        return Err(Failure::Input(problem.to_owned()));
    }
    let noise = by_hand.or_else(|| Noise::measured(grades)).ok_or_else(|| {
        Failure::Input(
            "--simulate: the calibration sets do not say how noisy the judge is in both grades; add sets to \
             judge.calibration, or write --agreement and --correlation"
                .to_owned(),
        )
    })?;
    let simulate = |(setting, arms)| {
        let simulation = simulate(noise, setting, seed).map_err(Failure::running)?;
        Ok(Simulated { arms, simulation })
    };
    settings.into_iter().map(simulate).collect()
}

/// The setting of an arm at its last step. A reward that its formula does not use has the weight 0, and so has one that is
/// used without a weight of its name.
fn setting(arm: &ArmConfig) -> Setting {
    let formula = Formula::parse(&arm.shaping.formula, arm.rewards.keys(), arm.shaping.weights.keys()).ok();
    let used = |name: &str| {
        formula.as_ref().is_some_and(|formula| formula.component_names().any(|used| used == name))
    };
    let weight = |name: &str| match arm.method == Method::Grpo && used(name) {
        true => arm.shaping.weights.get(name).map_or(0.0, |weight| weight.at(arm.steps)),
        false => 0.0,
    };
    let scale = match arm.grpo.scale_rewards {
        ScaleRewards::Group => Scale::Group,
        ScaleRewards::Batch => Scale::Batch,
        ScaleRewards::None => Scale::None,
    };
    Setting {
        group_size: arm.sampling.group_size,
        consistency: weight("consistency"),
        think: weight("think"),
        advantages: AdvantageOptions { scale, ..AdvantageOptions::default() },
    }
}

/// Prints a simulation.
pub fn print(simulated: &Simulated) {
    let Simulated { arms, simulation: Simulation { noise, setting, groups, consistency, think, both } } =
        simulated;
    outln!("  simulation of {groups} groups of {} (arms {})", setting.group_size, arms.join(", "));
    outln!(
        "    noise               {:.0} % of consistent and {:.0} % of inconsistent completions judged right, quality \
         correlation {:.2}",
        100.0 * noise.sensitivity,
        100.0 * noise.specificity,
        noise.correlation
    );
    let line = |name: &str, attenuation: &Option<Attenuation>| {
        let Some(attenuation) = attenuation else { return };
        let cost = match attenuation.times_as_many {
            Some(times) => format!("{times:.1} times as many steps or seeds"),
            None => "no number of steps makes up for it".to_owned(),
        };
        outln!(
            "    {name:<20}a difference of 10 points shows as {:.1}; advantages correlate by {:.2}: {cost}",
            10.0 * attenuation.effect_factor,
            attenuation.advantage_correlation
        );
    };
    line("consistency (CR)", consistency);
    line("think (TR)", think);
    line("both", both);
}
