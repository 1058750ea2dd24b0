//! `[judge.budget]`.

use records::ArmState;
use rewards::{FailureCause, JudgeRequest};
use tokio::time::Instant;

use super::*;
use crate::live::Live;
use crate::runs::run_in;
use crate::scripted_server::Act;

fn rating() -> Act {
    Act::Say("{\"scores\": [1]}".to_owned())
}

fn thoughts(texts: &[&str]) -> Vec<RewardItem> {
    let question = question("q", json!({ "rubric": ["names the bark"] }));
    texts.iter().map(|text| thought(&question, 0, text, "dog")).collect()
}

#[tokio::test]
async fn no_request_goes_beyond_the_budget_and_what_is_cached_costs_nothing() {
    let server = ScriptedServer::start(|_, _| rating()).await;
    let pool = pool(&server.url, "concurrency = 1\nbudget.requests = 4");
    let one = toml::toml! { raters = 1 trim = 0 };
    let graded = grade(&pool, &task("rubric", one.clone()), &thoughts(&["a", "b", "c"])).await;
    assert_eq!((server.asked(), graded.tally.failed()), (3, 0));
    let items = thoughts(&["a", "b", "d", "e"]);
    let graded = grade(&pool, &task("rubric", one.clone()), &items).await;
    let scored = scores("rubric", one, &items, &graded);
    assert_eq!(scored[..2], [Some(1.0); 2], "cached");
    assert_eq!(scored[2..].iter().flatten().count(), 1, "the fourth request is the last: {scored:?}");
    assert_eq!(server.asked(), 4);
    assert_eq!(graded.tally.failures, [(FailureCause::Budget, 1)].into());
    let reason = graded.tally.budget.unwrap();
    assert!(reason.contains("4 requests were sent, and judge.budget.requests = 4"), "{reason}");
    assert_eq!(graded.tally.spent.unwrap().requests, 4);
}

#[tokio::test]
async fn each_attempt_counts_and_tokens_and_money_are_those_of_the_server() {
    let server = ScriptedServer::start(|_, _| Act::Status(503, "", "overloaded".to_owned())).await;
    let pool_of = |judge: &str, url: &str| pool(url, judge);
    let one = toml::toml! { raters = 1 trim = 0 };
    // `retries` is 0 in `pool`, and a key can be set once only.
    let config: JudgeConfig = toml::from_str(&format!(
        "kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"scripted\"\nretries = 9\nretry_pause_seconds = 0.01\n\
         cache.disk = false\nbudget.requests = 3",
        server.url
    ))
    .unwrap();
    let pool = JudgeArgs { config, ..pool_of("", &server.url) };
    let graded = grade(&pool, &task("rubric", one.clone()), &thoughts(&["a"])).await;
    assert_eq!((server.asked(), graded.tally.failures), (3, [(FailureCause::Budget, 1)].into()));

    // A reply takes 110 tokens: 100 · 10 / 10⁶ + 10 · 50 / 10⁶ = 0.0015.
    for (budget, asked) in
        [("budget.tokens = 300", 3), ("prompt_price = 10.0\nreply_price = 50.0\nbudget.cost = 0.003", 2)]
    {
        let server = ScriptedServer::start(|_, _| rating()).await;
        let pool = pool_of(&format!("concurrency = 1\n{budget}"), &server.url);
        for text in ["a", "b", "c", "d", "e"] {
            grade(&pool, &task("rubric", one.clone()), &thoughts(&[text])).await;
        }
        assert_eq!(server.asked(), asked, "{budget}");
    }
}

#[tokio::test]
async fn verdicts_and_all_members_of_a_panel_spend_from_the_same_budget() {
    let verdict = r#"{"consistent": 1, "quality": 0.7}"#;
    let server = ScriptedServer::start(|_, _| Act::Say(verdict.to_owned())).await;
    let member = format!("[[members]]\nkind = \"openai\"\nbase_url = \"{}\"\nmodel = ", server.url);
    let panel = format!(
        "kind = \"panel\"\ncache.disk = false\nbudget.requests = 5\n{member}\"one\"\n{member}\"two\"\n"
    );
    let judges = Judges::default();
    let judge = judges.open(&toml::from_str(&panel).unwrap()).unwrap();
    let request = |think: &str| JudgeRequest {
        think: think.to_owned(),
        ..thoughts(&["x"])[0].judge_request().unwrap()
    };
    let requests: Vec<JudgeRequest> = ["a", "b", "c", "d"].map(request).to_vec();
    let judged = judge.judge_all(&requests, Instant::now() + Duration::from_secs(20)).await;
    assert_eq!(server.asked(), 5);
    assert_eq!(judges.spent().requests, 5);
    assert!(judged.iter().filter(|judgement| judgement.failure.is_some()).count() >= 2);
}

/// A scenario whose arm asks three ratings for each completion that thinks, with this budget.
fn scenario(url: &str, cache: &std::path::Path, budget: &str) -> String {
    super::rubric::scenario(url, cache, "")
        .replace("retries = 0\n", &format!("retries = 0\nbudget = {budget}\n"))
}

fn reply(_: usize, request: &Request) -> Act {
    Act::Say(super::rubric::reply(request))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_pauses_before_it_trains_on_what_could_not_be_judged() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(reply).await;
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), "{ requests = 8 }");
    let mut live = Live::start(&scenario, RewardRegistry::standard()).await;
    let step = live.paused().await;
    let view = live.arm.view();
    let ArmState::Paused { reason } = view.state else { panic!("{:?}", view.state) };
    assert!(reason.contains("the judge's budget is spent: 8 requests were sent"), "{reason}");
    assert_eq!(server.asked(), 8);
    // Resumed without more budget, it pauses again, and asks nothing.
    live.arm.resume("test").unwrap();
    assert_eq!(live.paused().await, step);
    assert_eq!(server.asked(), 8);
    live.stop();
    let finished = live.end().await;
    // Without a step there is no file.
    let recorded = std::fs::read_to_string(finished.dir().join("metrics.jsonl")).unwrap_or_default();
    assert_eq!(recorded.lines().count() as u64, step, "the step that could not be judged was not trained on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_for_its_budget_goes_on_with_more_and_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(reply).await;
    let cache = folder.path().join("verdicts.sqlite");
    let short = scenario(&server.url, &cache, "{ requests = 8, when_spent = \"abort\" }");
    let ran =
        run_in(tempfile::tempdir().unwrap(), &short, RewardRegistry::standard(), None, false, |_, _| {})
            .await;
    let ArmState::Failed { reason } = ran.only_arm() else { panic!("{:?}", ran.only_arm()) };
    assert!(reason.contains("judge.budget.requests = 8"), "{reason}");
    let asked = server.asked();
    assert_eq!(asked, 8);
    // With two more, it asks two more: the eight are not forgotten.
    let longer = scenario(&server.url, &cache, "{ requests = 10, when_spent = \"abort\" }");
    let ran = run_in(ran.folder, &longer, RewardRegistry::standard(), None, true, |_, _| {}).await;
    assert!(matches!(ran.only_arm(), ArmState::Failed { .. }), "{:?}", ran.only_arm());
    assert_eq!(server.asked(), 10);
    let enough = scenario(&server.url, &cache, "{ requests = 100000 }");
    let ran = run_in(ran.folder, &enough, RewardRegistry::standard(), None, true, |_, _| {}).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let last = ran.lines("metrics.jsonl").pop().unwrap();
    assert_eq!(last["judge_spent_requests"], server.asked());
    assert_eq!(last["judge_spent_tokens"], 110 * server.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_that_is_to_go_on_does_so_without_the_ratings() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(reply).await;
    let budget = "{ requests = 8, when_spent = \"exclude\" }";
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), budget);
    let scenario = format!("{scenario}\nsupervision.max_missing_fraction = 1.0\n");
    let ran = crate::runs::run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!((ran.only_arm(), server.asked()), (&ArmState::Done, 8));
    let last = ran.lines("metrics.jsonl").pop().unwrap();
    assert!(last["judge_failures"]["budget"].as_u64().unwrap() > 0, "{last}");
    assert!(ran.warnings.iter().any(|warning| warning.contains("the judge's budget is spent")));
}
