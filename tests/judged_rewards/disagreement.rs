//! How much judges disagree about a completion, in `rollouts.jsonl` and `metrics.jsonl`.

use records::ArmState;

use super::*;
use crate::runs::run;
use crate::scripted_server::Act;

/// Verdicts of a member of a panel: one always gives 0.9, the other a quality that depends on the text.
fn verdict(request: &Request, text_counts: bool) -> Act {
    let reasoning = request.prompt().split("<reasoning-").nth(1).map_or(0, str::len);
    let quality = if text_counts { reasoning % 10 } else { 9 };
    Act::Say(format!(r#"{{"consistent": 1, "quality": 0.{quality}}}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_a_panel_differ_by_completion() {
    let one = ScriptedServer::start(|_, request| verdict(request, false)).await;
    let two = ScriptedServer::start(|_, request| verdict(request, true)).await;
    let member = |url: &str| {
        format!("[[judge.members]]\nkind = \"openai\"\nbase_url = \"{url}\"\nmodel = \"scripted\"\n")
    };
    let folder = tempfile::tempdir().unwrap();
    let scenario = super::rubric::scenario("", &folder.path().join("verdicts.sqlite"), "");
    let (before, after) = scenario.split_once("kind = \"openai\"").unwrap();
    let rewards = after.split_once("[rewards]").unwrap().1;
    let panel = format!(
        "kind = \"panel\"\ncache.disk = false\n{}{}\n[rewards]\nthink = {{ kind = \"think\" }}",
        member(&one.url),
        member(&two.url)
    );
    let scenario = format!("{before}{panel}{rewards}");
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done, "{:?}", ran.outcome);
    let rows = ran.lines("rollouts.jsonl");
    let mut sums = std::collections::BTreeMap::<u64, Vec<f64>>::new();
    for row in rows.iter().filter(|row| row["phase"] == "train") {
        let judged = row["think_quality"].as_f64();
        assert_eq!(judged.is_some(), row.get("judge_disagreement").is_some(), "{row}");
        if let Some(quality) = judged {
            // The mean of 0.9 and q is the verdict, so they differ by 2 · (0.9 − mean).
            let difference = row["judge_disagreement"].as_f64().unwrap();
            assert!((difference - 2.0 * (0.9 - quality)).abs() < 1e-9, "{row}");
            sums.entry(row["step"].as_u64().unwrap()).or_default().push(difference);
        }
    }
    assert!(rows.iter().any(|row| row["phase"] == "eval" && row["judge_disagreement"].is_number()));
    for row in ran.lines("metrics.jsonl") {
        let of_step = &sums[&row["step"].as_u64().unwrap()];
        let mean = of_step.iter().sum::<f64>() / of_step.len() as f64;
        assert!((row["judge_disagreement"].as_f64().unwrap() - mean).abs() < 1e-9, "{row}");
        // No rubric could be made, so there are no raters.
        assert_eq!(row.get("rating_disagreement"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raters_differ_by_completion_and_the_mean_is_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, request| Act::Say(super::rubric::reply(request))).await;
    let scenario = super::rubric::scenario(&server.url, &folder.path().join("verdicts.sqlite"), "");
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    let rows = ran.lines("rollouts.jsonl");
    for line in ran.lines("metrics.jsonl") {
        let of_step = rows.iter().filter(|row| row["phase"] == "train" && row["step"] == line["step"]);
        let differences: Vec<f64> =
            of_step.filter_map(|row| row["graded"]["chain"]["disagreement"].as_f64()).collect();
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        assert!((line["rating_disagreement"]["chain"].as_f64().unwrap() - mean).abs() < 1e-9, "{line}");
    }
}
