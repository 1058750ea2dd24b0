//! `sandbox judge SCENARIO`: tests the scenario's judges on completions with known verdicts, before a
//! run depends on them. With `--simulate` it also says what their noise does to the rewards (`simulate`).

mod simulate;

use judges::calibrated::remember;
use judges::calibration::{Fitness, Resistance, SetReport, all_grades, calibrate, fitness};
use rewards::{FailureCause, RewardRegistry};
use scenarios::{ArmConfig, JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, OpenaiJudgeConfig};
use serde::Serialize;

use crate::{
    check::load_and_check,
    cli::JudgeOptions,
    failure::Failure,
    streams::{errln, outln},
};
use simulate::Simulated;

/// The results of one judge on every calibration set.
#[derive(Serialize)]
struct JudgeReport {
    judge: String,
    arms: Vec<String>,
    sets: Vec<SetReport>,
    /// `None` if the judge was not asked, because its noise was given by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    fitness: Option<Fitness>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    simulation: Vec<Simulated>,
}

/// Runs every judge of the scenario on its calibration sets and prints the results. Fails if a set lacks more verdicts
/// than `judge.calibration_max_failed_fraction` allows.
pub fn judge(options: &JudgeOptions, registry: &RewardRegistry) -> Result<(), Failure> {
    let experiment = load_and_check(&options.scenario, &options.set, &options.arms, None, registry)?;
    let mut judges: Vec<(&JudgeConfig, Vec<&ArmConfig>)> = Vec::new();
    for arm in &experiment.arms {
        match judges.iter_mut().find(|(judge, _)| *judge == &arm.judge) {
            Some((_, arms)) => arms.push(arm),
            None => judges.push((&arm.judge, vec![arm])),
        }
    }
    let by_hand = simulate::by_hand(options)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    let mut reports = Vec::new();
    let mut too_few = Vec::new();
    for (config, arms) in judges {
        let sets = match by_hand {
            Some(_) => Vec::new(),
            None => runtime.block_on(calibrate(config)).map_err(|error| {
                Failure::Input(format!("{}: [judge]: {error}", options.scenario.display()))
            })?,
        };
        let fitness = by_hand.is_none().then(|| fitness(&sets));
        if let Some(fitness) = &fitness
            && let Err(error) = remember(config, fitness)
        {
            errln!(
                "warning: the result can't be kept in the cache folder, so runs will warn of this judge: {error}"
            );
        }
        let simulation = match options.simulate {
            true => simulate::simulated(&arms, by_hand, &all_grades(&sets), options.seed)?,
            false => Vec::new(),
        };
        let arms = arms.iter().map(|arm| arm.name.clone()).collect();
        let report = JudgeReport { judge: name(config), arms, fitness, simulation, sets };
        let most = config.calibration_max_failed_fraction;
        let lacking = report.sets.iter().filter(|set| set.missing_fraction() > most);
        too_few.extend(lacking.map(|set| lacks_verdicts(&report.judge, set, most)));
        if !options.json {
            print(&report);
        }
        reports.push(report);
    }
    if options.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|error| Failure::Running(format!("the results cannot be written as JSON: {error}")))?;
        outln!("{json}");
    }
    let Some(last) = too_few.pop() else { return Ok(()) };
    for problem in too_few {
        errln!("error: {problem}");
    }
    Err(Failure::Running(last))
}

/// The message about a set for which a judge gave too few verdicts.
fn lacks_verdicts(judge: &str, set: &SetReport, most: f64) -> String {
    format!(
        "{judge} gave no verdict on {} of {} completions of {} ({}), more than judge.calibration_max_failed_fraction = \
         {most} allows",
        set.failures.values().sum::<u64>(),
        set.requests,
        set.set,
        causes(set)
    )
}

/// The causes of the missing verdicts with their counts.
fn causes(set: &SetReport) -> String {
    let cause = |(cause, count): (&FailureCause, &u64)| format!("{cause} {count}");
    set.failures.iter().map(cause).collect::<Vec<_>>().join(", ")
}

/// A judge's name in the output.
fn name(config: &JudgeConfig) -> String {
    let rules = || "rules".to_owned();
    let openai =
        |openai: &OpenaiJudgeConfig| format!("openai {} at {}", openai.model, openai.base_url.0.join(", "));
    let local = |local: &LocalJudgeConfig| format!("local {}", local.path.display());
    match &config.kind {
        JudgeKind::Rules => rules(),
        JudgeKind::Openai(settings) => openai(settings),
        JudgeKind::Local(settings) => local(settings),
        JudgeKind::Panel(panel) => {
            let members = panel.members.iter().map(|member| match &member.kind {
                MemberKind::Rules => rules(),
                MemberKind::Openai(settings) => openai(settings),
                MemberKind::Local(settings) => local(settings),
            });
            format!("panel of {}", members.collect::<Vec<_>>().join(" + "))
        }
    }
}

fn print(report: &JudgeReport) {
    outln!("{} (arms {})", report.judge, report.arms.join(", "));
    for set in &report.sets {
        outln!("  {}: {} completions", set.set, set.completions);
        if let Some(attacks) = &set.attacks {
            print_attacks(attacks);
        } else {
            let agreement = &set.agreement;
            outln!(
                "    consistency         agrees {} ({} of {} judged)",
                share(agreement.consistency_agreement),
                agreement.consistency_n,
                set.completions
            );
            outln!(
                "    quality             rank correlation {}, mean error {} ({} of {} judged)",
                number(agreement.quality_rank_correlation),
                number(agreement.quality_error),
                agreement.quality_n,
                set.completions
            );
        }
        if !set.failures.is_empty() {
            outln!("    no verdict          {} ({} requests)", causes(set), set.requests);
        }
        for (cause, message) in &set.first_failures {
            outln!("      {cause}: {message}");
        }
        outln!(
            "    latency             p50 {:.3} s, p95 {:.3} s; {:.1} verdicts per second",
            set.latency_p50_seconds,
            set.latency_p95_seconds,
            set.verdicts_per_second
        );
        let (prompt, reply) = set.tokens_per_1000;
        if prompt + reply > 0 {
            let cost = match set.cost_per_1000 {
                Some(cost) => format!("cost {cost:.3}"),
                None => "cost unknown; set judge.prompt_price and judge.reply_price".to_owned(),
            };
            outln!("    1,000 verdicts      {prompt} prompt and {reply} reply tokens, {cost}");
        }
    }
    report.simulation.iter().for_each(simulate::print);
    if let Some(fitness) = &report.fitness {
        outln!("  {}", fitness.sentence);
    }
}

/// Prints how many attacks raised the grade, beside the harmless edits that did.
fn print_attacks(attacks: &Resistance) {
    outln!(
        "    attacks resisted    {} of {}{}",
        attacks.resisted,
        attacks.attacks,
        match attacks.no_verdict {
            0 => String::new(),
            count => format!(", {count} of them without a verdict"),
        }
    );
    let against = &attacks.against_placebo;
    outln!(
        "    grade raised        by {} of the attacks and {} of harmless edits of the same length ({} pairs)",
        share(against.attack_raised),
        share(against.placebo_raised),
        against.pairs
    );
    if let Some(difference) = &against.difference {
        outln!(
            "    difference          {:.1} points (95 % interval {:.1} to {:.1})",
            100.0 * difference.value,
            100.0 * difference.low,
            100.0 * difference.high
        );
    }
    for (kind, of_kind) in &attacks.against_placebo_by_kind {
        let raised = |share: Option<f64>| (share.unwrap_or(0.0) * of_kind.pairs as f64).round();
        let (attack, placebo) = (raised(of_kind.attack_raised), raised(of_kind.placebo_raised));
        if attack + placebo > 0.0 {
            outln!("      {kind}: attack {attack} of {0}, harmless edit {placebo} of {0}", of_kind.pairs);
        }
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
