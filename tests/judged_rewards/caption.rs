//! The rewards `caption-grounding` and `answer-from-caption`.

use rewards::FailureCause;

use super::*;
use crate::scripted_server::Act;

fn say(reply: &str) -> Act {
    Act::Say(reply.to_owned())
}

#[tokio::test]
async fn the_share_of_the_statements_that_the_caption_supports_is_the_score() {
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        assert!(prompt.contains("A dog barks twice.") && !prompt.contains("right-answer"), "{prompt}");
        match &prompt {
            prompt if prompt.contains("a bark and a bell") => say(r#"{"statements": [1, 0]}"#),
            prompt if prompt.contains("let me guess") => say(r#"{"statements": []}"#),
            _ => say("no idea"),
        }
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", json!({ "caption": "A dog barks twice." })));
    let items = [
        thought(&question, 0, "a bark and a bell", "dog"),
        thought(&question, 0, "let me guess", "dog"),
        thought(&question, 0, "who knows", "dog"),
        item(&question, 0, "<answer>dog</answer>"),
        item(&question, 0, "<think>a bark"),
    ];
    let options = toml::toml! { no_statement = 0.25 no_think = 0.5 };
    let graded = grade(&pool, &task("caption-grounding", options.clone()), &items).await;
    assert_eq!(server.asked(), 3);
    let expected = [Some(0.5), Some(0.25), None, Some(0.5), Some(0.0)];
    assert_eq!(scores("caption-grounding", options, &items, &graded), expected);
    assert_eq!(graded.tally.failures, [(FailureCause::Malformed, 1)].into());
}

#[tokio::test]
async fn only_the_element_is_judged_if_one_is_named() {
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        assert!(prompt.contains("a bark") && !prompt.contains("the plan"), "{prompt}");
        say(r#"{"statements": [1]}"#)
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", json!({ "heard": "A dog." })));
    let items = [
        thought(&question, 0, "the plan <caption>a bark</caption>", "dog"),
        thought(&question, 0, "the plan, a bark", "dog"),
    ];
    let options = toml::toml! { column = "heard" tag = "caption" };
    let graded = grade(&pool, &task("caption-grounding", options.clone()), &items).await;
    assert_eq!(scores("caption-grounding", options, &items, &graded), [Some(1.0), Some(0.0)]);
}

#[tokio::test]
async fn a_row_without_a_caption_has_no_score_and_is_named() {
    let server = unasked().await;
    let pool = pool(&server.url, "");
    for columns in
        [no_columns(), json!({ "caption": null }), json!({ "caption": " " }), json!({ "caption": 3 })]
    {
        let items = [thought(&question("row 7", columns), 0, "a bark", "dog")];
        let graded = grade(&pool, &task("caption-grounding", toml::Table::new()), &items).await;
        assert_eq!(scores("caption-grounding", toml::Table::new(), &items, &graded), [None]);
        let note = only(&graded)[0].unwrap().note.clone().unwrap();
        assert!(note.starts_with("no_caption: the row `row 7` has no "), "{note}");
        assert_eq!(graded.tally.failures, [(FailureCause::NoCaption, 1)].into());
    }
}

#[tokio::test]
async fn the_answer_that_follows_from_the_thinking_is_compared_with_the_one_that_was_given() {
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        assert!(!prompt.contains("<answer-"), "the answer is not shown: {prompt}");
        match &prompt {
            prompt if prompt.contains("it barks") => say(r#"{"answer": "dog"}"#),
            prompt if prompt.contains("it hums") => say(r#"{"answer": "unknown"}"#),
            _ => say(r#"{"answer": "horse"}"#),
        }
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", no_columns()));
    let items = [
        thought(&question, 0, "it barks", "dog"),
        // The same thinking with another answer is the same request, and another score.
        thought(&question, 0, "it barks", "cat"),
        thought(&question, 0, "it hums", "dog"),
        thought(&question, 0, "it neighs", "dog"),
        item(&question, 0, "<answer>dog</answer>"),
        item(&question, 0, "<think>it barks"),
    ];
    let graded = grade(&pool, &task("answer-from-caption", toml::Table::new()), &items).await;
    assert_eq!(server.asked(), 3);
    let expected = [Some(1.0), Some(0.0), Some(0.0), None, Some(1.0), Some(0.0)];
    assert_eq!(scores("answer-from-caption", toml::Table::new(), &items, &graded), expected);
    let gold = toml::toml! { target = "gold" no_think = 0.0 };
    let graded = grade(&pool, &task("answer-from-caption", gold.clone()), &items).await;
    // What could be read is cached; only the answer that is no choice is asked for again.
    assert_eq!(server.asked(), 4);
    let expected = [Some(1.0), Some(1.0), Some(0.0), None, Some(0.0), Some(0.0)];
    assert_eq!(scores("answer-from-caption", gold, &items, &graded), expected);
}
