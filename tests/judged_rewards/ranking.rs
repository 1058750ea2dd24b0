//! The rewards `listwise` and `pairwise`.

use records::ArmState;
use rewards::FailureCause;

use super::*;
use crate::runs::run;
use crate::scripted_server::Act;

/// The candidates in a prompt, in the order in which they are shown.
fn candidates(request: &Request) -> Vec<String> {
    let prompt = request.prompt();
    let shown = prompt.split("Reasoning: ").skip(1);
    shown.map(|text| text.split('\n').next().unwrap().to_owned()).collect()
}

/// The order by the alphabet, `a` being the best.
fn by_alphabet(request: &Request) -> Act {
    let shown = candidates(request);
    let mut numbers: Vec<usize> = (1..=shown.len()).collect();
    numbers.sort_by_key(|number| &shown[number - 1]);
    Act::Say(json!({ "order": numbers }).to_string())
}

fn better(winner: &str) -> Act {
    Act::Say(json!({ "better": winner }).to_string())
}

/// The better of two by the alphabet.
fn first_letter(request: &Request) -> Act {
    let shown = candidates(request);
    better(if shown[0] < shown[1] { "A" } else { "B" })
}

fn thoughts(texts: &[&str]) -> Vec<RewardItem> {
    let question = question("q", no_columns());
    texts.iter().map(|text| thought(&question, 0, text, "dog")).collect()
}

fn notes(graded: &GradedItems) -> Vec<String> {
    only(graded).into_iter().flatten().filter_map(|graded| graded.note.clone()).collect()
}

#[tokio::test]
async fn one_request_per_group_puts_its_completions_in_order() {
    let server = ScriptedServer::start(|_, request| by_alphabet(request)).await;
    let pool = pool(&server.url, "");
    let mut items = thoughts(&["c", "a", "d", "b"]);
    let other = question("other", no_columns());
    items.extend(["z", "y"].map(|text| thought(&other, 1, text, "cat")));
    let graded = grade(&pool, &task("listwise", toml::Table::new()), &items).await;
    assert_eq!((server.asked(), graded.tally.requests), (2, 2));
    // Ranks 3, 1, 4 and 2 of 4: (4 − rank) / 3.
    let expected = [1.0 / 3.0, 1.0, 0.0, 2.0 / 3.0, 0.0, 1.0];
    for (score, expected) in scores("listwise", toml::Table::new(), &items, &graded).iter().zip(expected) {
        assert!((score.unwrap() - expected).abs() < 1e-12, "{score:?} is not {expected}");
    }
    // The same completions in another order are the same request.
    items[..4].reverse();
    grade(&pool, &task("listwise", toml::Table::new()), &items).await;
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn ties_malformed_completions_and_single_ones_are_not_asked_about() {
    let server = unasked().await;
    let pool = pool(&server.url, "");
    for kind in ["listwise", "pairwise"] {
        let scored = async |items: Vec<RewardItem>| {
            let graded = grade(&pool, &task(kind, toml::Table::new()), &items).await;
            (scores(kind, toml::Table::new(), &items, &graded), notes(&graded))
        };
        assert_eq!(scored(thoughts(&["a", "a", "a"])).await, ([Some(0.5); 3].to_vec(), vec![]));
        let (alone, notes) = scored(thoughts(&["a"])).await;
        assert_eq!(alone, [None], "{kind}");
        assert_eq!(notes, ["there is no other completion to compare it with"]);
        let broken = item(&question("q", no_columns()), 0, "<think>hm");
        let mut items = thoughts(&["a"]);
        items.push(broken.clone());
        assert_eq!(scored(items).await.0, [Some(1.0), Some(0.0)]);
        assert_eq!(scored(vec![broken.clone(), broken]).await.0, [Some(0.0); 2]);
    }
}

#[tokio::test]
async fn an_order_that_is_not_whole_is_missing_for_its_group_only() {
    let server =
        ScriptedServer::start(|_, request| match candidates(request).iter().any(|text| text == "z") {
            true => Act::Say(r#"{"order": [1, 1]}"#.to_owned()),
            false => by_alphabet(request),
        })
        .await;
    let pool = pool(&server.url, "");
    let mut items = thoughts(&["a", "b"]);
    let other = question("other", no_columns());
    items.extend(["z", "y"].map(|text| thought(&other, 1, text, "cat")));
    items.push(item(&other, 1, "<think>hm"));
    let graded = grade(&pool, &task("listwise", toml::Table::new()), &items).await;
    let expected = [Some(1.0), Some(0.0), None, None, Some(0.0)];
    assert_eq!(scores("listwise", toml::Table::new(), &items, &graded), expected);
    assert_eq!(graded.tally.failures, [(FailureCause::Malformed, 1)].into());
    assert!(notes(&graded)[0].starts_with("0 of 1 orders, and it takes 1; the first failure: malformed"));
}

#[tokio::test]
async fn several_orders_are_averaged_and_one_of_them_may_fail() {
    // A judge that prefers what it is shown first, and fails the third time.
    let server = ScriptedServer::start(|number, request| match number {
        2 => Act::Say("no".to_owned()),
        _ => Act::Say(json!({ "order": (1..=candidates(request).len()).collect::<Vec<_>>() }).to_string()),
    })
    .await;
    let pool = pool(&server.url, "concurrency = 1");
    let items = thoughts(&["a", "b", "c"]);
    let graded = grade(&pool, &task("listwise", toml::toml! { orders = 3 }), &items).await;
    let mut sum = 0.0;
    for graded in only(&graded).into_iter().flatten() {
        let given: Vec<f64> = graded.ratings.iter().flatten().copied().collect();
        assert_eq!((graded.ratings.len(), given.len()), (3, 2));
        assert!((graded.score.unwrap() - (given[0] + given[1]) / 2.0).abs() < 1e-12, "{graded:?}");
        sum += graded.score.unwrap();
    }
    assert!((sum - 1.5).abs() < 1e-12, "the mean of all ranks stays 1/2");
}

#[tokio::test]
async fn all_pairs_are_compared_in_both_orders() {
    let server = ScriptedServer::start(|_, request| first_letter(request)).await;
    let pool = pool(&server.url, "");
    let items = thoughts(&["c", "a", "b"]);
    let graded = grade(&pool, &task("pairwise", toml::Table::new()), &items).await;
    // 3 pairs in 2 orders; c wins none of 2, a both, b one.
    assert_eq!((server.asked(), graded.tally.requests), (6, 6));
    assert_eq!(scores("pairwise", toml::Table::new(), &items, &graded), [0.0, 1.0, 0.5].map(Some));
    let again = grade(&pool, &task("pairwise", toml::toml! { score = "bradley_terry" }), &items).await;
    assert_eq!(server.asked(), 6, "another score needs no other comparisons");
    let bradley_terry: Vec<f64> =
        only(&again).into_iter().map(|graded| graded.unwrap().score.unwrap()).collect();
    // By symmetry the one in the middle has the strength 1, and the others are as far from it.
    assert!(
        (bradley_terry[2] - 0.5).abs() < 1e-9 && (bradley_terry[0] + bradley_terry[1] - 1.0).abs() < 1e-9
    );
    assert!(bradley_terry[1] > 0.8 && bradley_terry[1] < 1.0, "{bradley_terry:?}");
}

#[tokio::test]
async fn a_judge_that_prefers_a_position_gives_ties() {
    let server = ScriptedServer::start(|_, _| better("A")).await;
    let pool = pool(&server.url, "");
    let items = thoughts(&["a", "b"]);
    let graded = grade(&pool, &task("pairwise", toml::Table::new()), &items).await;
    assert_eq!(scores("pairwise", toml::Table::new(), &items, &graded), [Some(0.5); 2]);
    let disagreements: Vec<_> =
        only(&graded).into_iter().map(|graded| graded.unwrap().disagreement()).collect();
    assert_eq!(disagreements, [Some(1.0); 2], "the two orders contradict each other");
    let one_order = toml::toml! { both_orders = false };
    let graded = grade(&pool, &task("pairwise", one_order.clone()), &items).await;
    assert_eq!(server.asked(), 2, "the first order of the pair is cached");
    let mut scored = scores("pairwise", one_order, &items, &graded);
    scored.sort_by(|one, other| one.partial_cmp(other).unwrap());
    assert_eq!(scored, [Some(0.0), Some(1.0)]);
}

#[tokio::test]
async fn a_pair_without_one_of_its_orders_is_left_out() {
    // Whatever is compared with c fails if c is shown first.
    let server = ScriptedServer::start(|_, request| match candidates(request)[0].as_str() {
        "c" => Act::Status(500, "", "out of memory".to_owned()),
        _ => first_letter(request),
    })
    .await;
    let pool = pool(&server.url, "");
    let items = thoughts(&["c", "a", "b"]);
    let graded = grade(&pool, &task("pairwise", toml::Table::new()), &items).await;
    assert_eq!(scores("pairwise", toml::Table::new(), &items, &graded), [None, Some(1.0), Some(0.0)]);
    let note = notes(&graded).remove(0);
    assert!(
        note.starts_with("1 of 3 pairs of the group, and it takes 1; the first failure: http_5xx"),
        "{note}"
    );
    assert_eq!(graded.tally.failures, [(FailureCause::Http5xx, 2)].into());
}

#[tokio::test]
async fn a_bounded_number_of_pairs_leaves_out_those_that_no_pair_has() {
    let server = ScriptedServer::start(|_, request| first_letter(request)).await;
    let pool = pool(&server.url, "");
    let items = thoughts(&["a", "b", "c", "d"]);
    let two = grade(&pool, &task("pairwise", toml::toml! { pairs = 2 }), &items).await;
    assert_eq!(server.asked(), 4);
    let of_two = scores("pairwise", toml::toml! { pairs = 2 }, &items, &two);
    assert_eq!(of_two.iter().flatten().sum::<f64>(), 2.0, "two pairs cover four completions: {of_two:?}");
    let one = grade(&pool, &task("pairwise", toml::toml! { pairs = 1 }), &items).await;
    let of_one = scores("pairwise", toml::toml! { pairs = 1 }, &items, &one);
    assert_eq!(of_one.iter().flatten().count(), 2, "{of_one:?}");
    assert_eq!(notes(&one), ["it is in none of the compared pairs; raise `pairs`"; 2]);
}

#[tokio::test]
async fn the_right_answer_is_shown_if_that_is_asked_for() {
    for show_answer in [false, true] {
        let server = ScriptedServer::start(move |_, request| {
            assert_eq!(request.prompt().contains("right-answer"), show_answer);
            if request.prompt().contains("candidate-A") {
                first_letter(request)
            } else {
                by_alphabet(request)
            }
        })
        .await;
        let pool = pool(&server.url, "");
        for kind in ["listwise", "pairwise"] {
            let options = toml::Table::from_iter([("show_answer".to_owned(), show_answer.into())]);
            let items = thoughts(&["a", "b"]);
            let graded = grade(&pool, &task(kind, options.clone()), &items).await;
            assert_eq!(scores(kind, options, &items, &graded), [Some(1.0), Some(0.0)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_trained_on_ranks_and_a_second_one_asks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        if prompt.contains("candidate-A") {
            return better(if prompt.len() % 3 == 0 { "tie" } else { "B" });
        }
        let count = prompt.matches("<candidate-").count();
        Act::Say(json!({ "order": (1..=count).rev().collect::<Vec<_>>() }).to_string())
    })
    .await;
    let scenario = super::rubric::scenario(&server.url, &folder.path().join("verdicts.sqlite"), "").replace(
        r#"chain = { kind = "rubric", raters = 3, only_correct = false, criteria = 2 }"#,
        "list = { kind = \"listwise\" }\npairs = { kind = \"pairwise\", pairs = 4 }",
    );
    let scenario = scenario.replace("accuracy + chain", "accuracy + list + pairs");
    let first = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(first.only_arm(), &ArmState::Done, "{:?}", first.outcome);
    let asked = server.asked();
    let mut ranked = 0;
    for row in first.lines("rollouts.jsonl").iter().filter(|row| row["phase"] == "train") {
        for name in ["list", "pairs"] {
            let score = &row["components"][name];
            match row["well_formed"] == true {
                true => assert_eq!(&row["graded"][name]["score"], score, "{row}"),
                false => assert_eq!(score, &json!(0.0), "{row}"),
            }
            ranked += usize::from(score.as_f64().is_some_and(|score| score > 0.0));
        }
    }
    assert!(ranked > 0 && asked > 0);
    let second = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(server.asked(), asked);
    assert_eq!(first.lines("rollouts.jsonl"), second.lines("rollouts.jsonl"));
}
