//! The habits of real judge servers: each response here was seen from a server that calls itself compatible with
//! OpenAI's API. It is read, or asked for again, or has a cause that says what to change (ANSWER-1).

use std::io::Write;

use rewards::{FailureCause, JudgeFailure};
use scenarios::{JudgeConfig, Scoring};
use serde_json::{Value, json};

use super::{VERDICT, ask, causes, config, config_with, open, openai, request, requests, say, status};
use crate::scripted_server::{Act, Request, ScriptedServer, completion};

/// An answer with this message of the model.
fn message(message: Value) -> Act {
    Act::Body(json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string())
}

/// A response with these headers, each ended by `\r\n`, that ends with its connection.
fn raw(headers: &str, body: &[u8]) -> Act {
    Act::Raw([&b"HTTP/1.1 200 OK\r\n"[..], headers.as_bytes(), b"connection: close\r\n\r\n", body].concat())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The body in chunks of 20 bytes.
fn chunked(body: &str) -> Vec<u8> {
    body.as_bytes()
        .chunks(20)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect()
}

/// Asks about two completions, and returns the causes, the requests per completion and the first failure.
async fn asked(
    config: impl Fn(&str) -> JudgeConfig,
    script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static,
) -> (Vec<&'static str>, usize, Option<JudgeFailure>) {
    let server = ScriptedServer::start(script).await;
    let judged = ask(&open(&config(&server.url)), &requests(2)).await;
    let failure = judged.iter().find_map(|judgement| judgement.failure.clone());
    (causes(&judged).into_keys().collect(), server.asked() / 2, failure)
}

#[tokio::test]
async fn every_form_of_an_answer_is_read_retried_or_named() {
    let error = |error: Value| Act::Body(json!({ "error": error, "choices": null }).to_string());
    let whole = completion(VERDICT);
    let compressed = gzip(&whole);
    let head = "content-encoding: gzip\r\ncontent-type: application/json\r\n";
    let cases: Vec<(&str, Act, &str, usize)> = vec![
        ("an error with status 200", error(json!({ "message": "busy", "code": 429 })), "http_429", 3),
        (
            "one of the server behind",
            error(json!({ "message": "upstream gone", "code": 502 })),
            "http_5xx",
            3,
        ),
        ("one without a code", error(json!("the model is loading")), "http_5xx", 3),
        (
            "one that stays",
            error(json!({ "message": "no such key", "code": "invalid_api_key" })),
            "http_4xx",
            1,
        ),
        (
            "reasoning_content",
            message(json!({ "content": null, "reasoning_content": VERDICT })),
            "verdict",
            1,
        ),
        ("reasoning", message(json!({ "content": "", "reasoning": VERDICT })), "verdict", 1),
        ("only a thought", message(json!({ "content": null, "reasoning": "It barks, so" })), "empty", 1),
        (
            "parts",
            message(
                json!({ "content": [{ "type": "thinking", "thinking": [] }, { "type": "text", "text": VERDICT }] }),
            ),
            "verdict",
            1,
        ),
        (
            "half an emoji",
            Act::Body(whole.replace("\"index\"", "\"id\":\"\\ud83d\",\"index\"")),
            "verdict",
            1,
        ),
        ("a grade twice", say(r#"{"consistent": 1, "quality": 0.7, "quality": 0.7}"#), "verdict", 1),
        ("two grades", say(r#"{"consistent": 1, "quality": 0.7, "quality": 0.9}"#), "malformed", 1),
        (
            "content twice",
            Act::Body(r#"{"choices": [{"message": {"content": "a", "content": "b"}}]}"#.to_owned()),
            "malformed",
            1,
        ),
        ("escapes", say(r#"{"consistent": 1, "\u0071uality": 0.7}"#), "verdict", 1),
        (
            "a quoted tag",
            say(r#"{"consistent": 1, "quality": 0.7, "reason": "it closes </think> well"}"#),
            "verdict",
            1,
        ),
        ("no length", raw("", whole.as_bytes()), "verdict", 1),
        ("no length, cut off", raw("", &whole.as_bytes()[..60]), "connection", 3),
        ("no body", Act::Body(String::new()), "connection", 3),
        (
            "chunks",
            raw("transfer-encoding: chunked\r\n", &[chunked(&whole), b"0\r\n\r\n".to_vec()].concat()),
            "verdict",
            1,
        ),
        (
            "chunks without their end",
            raw("transfer-encoding: chunked\r\n", &chunked(&whole)),
            "connection",
            3,
        ),
        ("gzip", raw(head, &compressed), "verdict", 1),
        ("gzip, cut off", raw(head, &compressed[..compressed.len() / 2]), "connection", 3),
        ("an unknown compression", raw("content-encoding: br\r\n", &compressed), "malformed", 1),
        ("a bomb", raw(head, &gzip(&" ".repeat(64 << 20))), "malformed", 1),
    ];
    for (what, act, cause, attempts) in cases {
        let (causes, asked, failure) = asked(|url| config(&[url]), move |_, _| act.clone()).await;
        assert_eq!((causes.as_slice(), asked), (&[cause][..], attempts), "{what}: {failure:?}");
    }
}

#[tokio::test]
async fn an_error_with_status_200_is_asked_again_until_there_is_a_verdict() {
    let (causes, asked, _) = asked(
        |url| config_with(&[url], |openai| openai.concurrency = 1),
        |number, _| match number % 2 {
            0 => Act::Body(r#"{"error": {"message": "Rate limit exceeded", "code": 429}}"#.to_owned()),
            _ => say(VERDICT),
        },
    )
    .await;
    assert_eq!((causes.as_slice(), asked), (&["verdict"][..], 2));
}

#[tokio::test]
async fn a_refused_request_is_named_with_the_key_that_would_help() {
    let temperature = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is \
                       supported.";
    let limit = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    let long = "This model's maximum context length is 512 tokens. However, you requested 700 tokens.";
    for (body, cause, key) in [
        (
            json!({ "error": { "message": temperature, "param": "temperature" } }),
            FailureCause::Http4xx,
            "judge.temperature",
        ),
        (
            json!({ "error": { "message": limit, "param": "max_tokens" } }),
            FailureCause::Http4xx,
            "judge.max_completion_tokens",
        ),
        (
            json!({ "object": "error", "message": long, "code": 400 }),
            FailureCause::TooLong,
            "judge.max_chars",
        ),
    ] {
        let body = body.to_string();
        let (_, asked, failure) = asked(|url| config(&[url]), move |_, _| status(400, &body)).await;
        let failure = failure.unwrap();
        assert_eq!((failure.cause, asked), (cause, 1));
        assert!(
            failure.message.contains(&format!("; set {key}"))
                || failure.message.contains("; lower judge.max_chars"),
            "{failure}"
        );
        assert!(failure.message.contains(key), "{failure}");
    }
    // With the key it works.
    let (causes, _, failure) = asked(
        |url| config_with(&[url], |openai| openai.max_completion_tokens = Some(300)),
        |_, asked| match (asked.body.get("max_tokens"), asked.body["max_completion_tokens"].as_u64()) {
            (None, Some(300)) => say(VERDICT),
            _ => status(400, "max_tokens is not supported"),
        },
    )
    .await;
    assert_eq!(causes, ["verdict"], "{failure:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_gets_the_longest_pause() {
    for asked_for in ["3600", "Wed, 21 Oct 2099 07:28:00 GMT", "-5", "1e300", "soon"] {
        let server = ScriptedServer::start(move |number, _| {
            let headers: &'static str = format!("retry-after: {asked_for}\r\n").leak();
            if number == 0 { Act::Status(429, headers, "slow down".to_owned()) } else { say(VERDICT) }
        })
        .await;
        let judge = open(&config_with(&[&server.url], |openai| openai.max_retry_after_seconds = 0.05));
        assert_eq!(causes(&ask(&judge, &requests(3)).await), [("verdict", 3)].into(), "{asked_for}");
    }
    assert_eq!(openai(&mut config(&["http://a/v1"])).max_retry_after_seconds, 60.0);
}

#[tokio::test]
async fn alternatives_that_cannot_occur_do_not_cost_the_verdict() {
    for nothing in ["null", "-Infinity", "\"-inf\"", "-1e400"] {
        let token = |text: &str| {
            let quoted = json!(text);
            format!(
                r#"{{"token": {quoted}, "logprob": {nothing}, "top_logprobs": [{{"token": {quoted}, "logprob": -0.01}},
                    {{"token": "3", "logprob": {nothing}}}]}}"#
            )
        };
        let tokens = ["{\"", "consistent", "\":", " ", "1", ", \"", "quality", "\":", " ", "8", "}"]
            .map(token)
            .join(",");
        let body = format!(
            r#"{{"choices": [{{"message": {{"content": "{{\"consistent\": 1, \"quality\": 8}}"}},
                "logprobs": {{"content": [{tokens}]}}}}]}}"#
        );
        let server = ScriptedServer::start(move |_, _| Act::Body(body.clone())).await;
        let judge = open(&config_with(&[&server.url], |openai| openai.scoring = Scoring::Logprobs));
        let judged = ask(&judge, &requests(1)).await;
        let quality = judged[0].verdict.think_quality.unwrap_or_else(|| panic!("{nothing}: {judged:?}"));
        assert!((quality - 8.0 / 9.0).abs() < 1e-12, "{nothing}");
    }
}

#[tokio::test]
async fn a_schema_that_the_server_cannot_compile_is_left_out() {
    for (code, body) in [
        (400, r#"{"error": {"message": "'response_format.type' must be 'text'"}}"#),
        (422, r#"{"detail": [{"loc": ["body", "response_format"], "msg": "extra fields not permitted"}]}"#),
        (500, r#"{"error": {"message": "xgrammar failed to compile grammar"}}"#),
    ] {
        let (causes, _, failure) = asked(
            |url| config_with(&[url], |openai| openai.concurrency = 1),
            move |_, asked| match asked.body.get("response_format") {
                Some(_) => status(code, body),
                None => say(VERDICT),
            },
        )
        .await;
        assert_eq!(causes, ["verdict"], "{code}: {failure:?}");
    }
    // What the server repeats of the request is not what it complains about.
    let echo = r#"{"detail": [{"loc": ["body", "stop"], "msg": "not permitted", "input": {"response_format": {}}}]}"#;
    let (causes, asked, _) = asked(|url| config(&[url]), move |_, _| status(422, echo)).await;
    assert_eq!((causes.as_slice(), asked), (&["http_4xx"][..], 1));
}

/// SECRET-J1
#[tokio::test]
async fn a_redirect_is_not_followed_and_no_other_host_gets_the_key() {
    let other = ScriptedServer::start(|_, _| say(VERDICT)).await;
    for code in [301, 302, 303, 307, 308] {
        let location: &'static str = format!("location: {}/chat/completions?token=x\r\n", other.url).leak();
        let redirect = Act::Status(code, location, String::new());
        let server = ScriptedServer::start_with(redirect.clone(), move |_, _| redirect.clone()).await;
        let config = config_with(&[&server.url], |openai| openai.api_key_env = Some("PATH".to_owned()));
        let judge = open(&config);
        let judged = ask(&judge, &requests(1)).await;
        let failure = judged[0].failure.clone().unwrap();
        let named = format!("redirects to {}/chat/completions, which is not followed", other.url);
        assert_eq!((failure.cause, server.asked(), other.asked()), (FailureCause::Http4xx, 1, 0));
        assert!(failure.message.contains(&named), "{failure}");
        let problem = judge.probe().await.unwrap_err().to_string();
        assert!(problem.contains("correct judge.base_url"), "{problem}");
    }
}

/// SECRET-J1
#[tokio::test]
async fn a_key_that_a_server_repeats_is_not_passed_on() {
    let key = std::env::var("PATH").unwrap();
    let echo = |asked: &Request| format!("Incorrect API key provided: {}", asked.headers["authorization"]);
    for code in [200, 401, 500] {
        let server = ScriptedServer::start(move |_, asked| {
            status(code, &json!({ "error": { "message": echo(asked), "code": 401 } }).to_string())
        })
        .await;
        let config = config_with(&[&server.url], |openai| openai.api_key_env = Some("PATH".to_owned()));
        let judged = ask(&open(&config), &requests(1)).await;
        let shown = format!("{judged:?}");
        assert!(shown.contains("Bearer [the judge's key]") && !shown.contains(&key), "{shown}");
    }
}

/// KEPT-1
#[tokio::test]
async fn a_kept_verdict_is_not_passed_off_as_that_of_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let with_cache = |url: &str| {
        let mut config = config(&[url]);
        config.cache.disk = true;
        config.cache.path = Some(folder.path().join("verdicts.sqlite"));
        config
    };
    let quality = |config: JudgeConfig| async move {
        let judge = open(&config);
        judge.probe().await.unwrap();
        ask(&judge, &[request("It barks.")]).await[0].verdict.think_quality
    };
    let good = ScriptedServer::start(|_, _| say(r#"{"consistent": 1, "quality": 0.9}"#)).await;
    let bad = ScriptedServer::start(|_, _| say(r#"{"consistent": 0, "quality": 0.1}"#)).await;
    assert_eq!(quality(with_cache(&good.url)).await, Some(0.9));
    assert_eq!(
        quality(with_cache(&bad.url)).await,
        Some(0.1),
        "the model's name is the same, the server is not"
    );
    assert_eq!(quality(with_cache(&format!("{}/", good.url))).await, Some(0.9));
    assert_eq!((good.asked(), bad.asked()), (1, 1));

    // At the same address, but the server says that the name stands for another model.
    let models = |root: &str| {
        Act::Body(json!({ "data": [{ "id": "scripted", "root": root, "created": 7 }] }).to_string())
    };
    let server = ScriptedServer::start_with(models("Qwen/Qwen3-8B"), |number, _| {
        say(&format!(r#"{{"consistent": 1, "quality": 0.{}}}"#, number + 3))
    })
    .await;
    assert_eq!(quality(with_cache(&server.url)).await, Some(0.3));
    assert_eq!(quality(with_cache(&server.url)).await, Some(0.3), "kept");
    server.list_models(models("another/model"));
    assert_eq!(quality(with_cache(&server.url)).await, Some(0.4));
    assert_eq!(quality(with_cache(&server.url)).await, Some(0.4), "kept too");
    server.list_models(models("Qwen/Qwen3-8B"));
    assert_eq!(quality(with_cache(&server.url)).await, Some(0.3));
    assert_eq!(server.asked(), 2);
}
