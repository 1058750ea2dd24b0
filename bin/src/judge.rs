//! `sandbox judge SCENARIO`: how far its judges can be trusted, before a run is spent on them.

use judges::calibration::{SetReport, calibrate};
use rewards::{FailureCause, RewardRegistry};
use scenarios::{JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, OpenaiJudgeConfig};
use serde::Serialize;

use crate::{check::sound, cli::JudgeOptions, failure::Failure};

/// How one judge did.
#[derive(Serialize)]
struct JudgeReport {
    judge: String,
    arms: Vec<String>,
    sets: Vec<SetReport>,
}

/// Lets every judge of the scenario judge completions whose verdicts are known, and prints how it did.
pub fn judge(options: &JudgeOptions, registry: &RewardRegistry) -> Result<(), Failure> {
    let experiment =
        sound(&options.scenario, &options.set, &options.arms, None, registry)?;
    let mut judges: Vec<(&JudgeConfig, Vec<String>)> = Vec::new();
    for arm in &experiment.arms {
        match judges.iter_mut().find(|(judge, _)| *judge == &arm.judge) {
            Some((_, arms)) => arms.push(arm.name.clone()),
            None => judges.push((&arm.judge, vec![arm.name.clone()])),
        }
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the runtime could not start: {error}")))?;
    let mut reports = Vec::new();
    for (config, arms) in judges {
        let sets = runtime.block_on(calibrate(config)).map_err(|problem| {
            Failure::Input(format!("{}: [judge]: {problem}", options.scenario.display()))
        })?;
        let report = JudgeReport { judge: name(config), arms, sets };
        if !options.json {
            print(&report);
        }
        reports.push(report);
    }
    if options.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|error| Failure::Running(format!("the report cannot be written: {error}")))?;
        println!("{json}");
    }
    Ok(())
}

/// What a judge is called in the table.
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
    println!("{} (arms {})", report.judge, report.arms.join(", "));
    for set in &report.sets {
        println!("  {}: {} completions", set.set, set.completions);
        if let Some(attacks) = &set.attacks {
            println!(
                "    attacks resisted    {} of {}{}",
                attacks.resisted,
                attacks.attacks,
                match attacks.no_verdict {
                    0 => String::new(),
                    none => format!(", {none} of them by giving no verdict"),
                }
            );
            for (kind, (won, made)) in attacks.succeeded_by_kind.iter().filter(|(_, (won, _))| *won > 0) {
                println!("      {kind}: {won} of {made} raised a grade");
            }
        } else {
            let agreement = &set.agreement;
            println!(
                "    consistency         agrees {} ({} of {} judged)",
                share(agreement.consistency_agreement),
                agreement.consistency_n,
                set.completions
            );
            println!(
                "    quality             rank correlation {}, mean error {} ({} of {} judged)",
                number(agreement.quality_rank_correlation),
                number(agreement.quality_error),
                agreement.quality_n,
                set.completions
            );
        }
        let failures: Vec<String> = set
            .failures
            .iter()
            .map(|(cause, count): (&FailureCause, &u64)| format!("{cause} {count}"))
            .collect();
        if !failures.is_empty() {
            println!("    no verdict          {}", failures.join(", "));
        }
        println!(
            "    latency             p50 {:.3} s, p95 {:.3} s; {:.1} verdicts a second",
            set.latency_p50_seconds, set.latency_p95_seconds, set.verdicts_per_second
        );
        let (prompt, reply) = set.tokens_per_1000;
        if prompt + reply > 0 {
            let cost = match set.cost_per_1000 {
                Some(cost) => format!("costing {cost:.3}"),
                None => "at no price; set judge.prompt_price and reply_price for one".to_owned(),
            };
            println!("    1,000 verdicts      {prompt} prompt and {reply} reply tokens, {cost}");
        }
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
