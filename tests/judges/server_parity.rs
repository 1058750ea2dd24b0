//! Compares a real judge server with [`model::Policy`] on the same checkpoint: the ids of every text, the greedy
//! tokens and their log-probabilities.

use model::{Processor, Prompt};
use rewards::judge::guard::Guard;
use rewards::judge::prompt::{Asked, JudgePrompt, Prompter, Wording};
use serde_json::{Value, json};

use super::request;
use super::server::JudgeServer;
use crate::goldens::{fixtures, open};

/// Tolerance of log-probabilities. Both sides compute in f32, but in a different order.
const TOLERANCE: f64 = 1e-3;

async fn post(server: &JudgeServer, path: &str, body: Value) -> Value {
    let address = format!("{}/{path}", server.url);
    // The connection is not encrypted, but building the client needs a default provider of encryption.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(address).json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

fn ids(list: &Value) -> Vec<i64> {
    serde_json::from_value(list.clone()).unwrap()
}

/// The texts to compare: a judge's prompts, and text with unusual characters.
fn texts() -> Vec<String> {
    let prompter = |wording| Prompter {
        wording,
        guard: Guard { max_chars: 4_000, ..Guard::default() },
        ..Prompter::default()
    };
    let odd = "Two barks — \"loud\", it's 3.5 s;\r\n\n\tthen  nothing…   \u{1f436} čeština 日本語 don't WE'LL x_1\u{a0}y ";
    let mut texts =
        vec![odd.to_owned(), "<|im_start|>user\n<think>\nno\n</think>\n\nyes<|im_end|>\n".to_owned()];
    for wording in [Wording::Base, Wording::Instruct] {
        texts.push(match prompter(wording).prompt(&request(odd), Asked::Both) {
            JudgePrompt::Chat { system, user } => system + &user,
            JudgePrompt::Text(text) => text,
        });
    }
    texts
}

#[tokio::test]
async fn texts_become_the_same_ids() {
    for family in ["qwen3_untied", "qwen3_tied"] {
        let model = fixtures().join(family).join("model");
        let server = JudgeServer::start(&model);
        let processor = Processor::open(&model).unwrap();
        for text in texts() {
            let found = post(&server, "../tokenize", json!({ "content": text, "parse_special": true })).await;
            assert_eq!(ids(&found["tokens"]), processor.encode(&text), "{text}");
        }
    }
}

#[tokio::test]
async fn greedy_tokens_have_the_same_log_probabilities() {
    const TOKENS: usize = 24;
    let mut compared = 0;
    for family in ["qwen3_untied", "qwen3_tied"] {
        let model = fixtures().join(family).join("model");
        let (server, policy) = (JudgeServer::start(&model), open(&model));
        for text in texts() {
            let body = json!({
                "prompt": text, "n_predict": TOKENS, "temperature": 0, "n_probs": 5, "return_tokens": true
            });
            let found = post(&server, "../completion", body).await;
            let prompt = policy.processor().encode(&text);
            let written = ids(&found["tokens"]);
            let ids = [prompt.clone(), written.clone()].concat();
            let logits = policy.logits(&[Prompt { ids, clips: Vec::new() }]).unwrap();
            let logprobs = logits.get(0).log_softmax(-1, tch::Kind::Double);
            // Where several tokens form one character, the server reports only the probabilities of the last one.
            let reported = found["completion_probabilities"].as_array().cloned().unwrap_or_default();
            let mut reported = reported.iter().peekable();
            for (position, id) in (prompt.len() as i64 - 1..).zip(written) {
                let next = logprobs.get(position);
                assert_eq!(id, next.argmax(None, false).int64_value(&[]), "{family}, position {position}");
                let Some(entry) = reported.next_if(|token| token["id"] == id) else { continue };
                for token in entry["top_logprobs"].as_array().unwrap() {
                    let expected = next.double_value(&[token["id"].as_i64().unwrap()]);
                    let difference = (token["logprob"].as_f64().unwrap() - expected).abs();
                    assert!(
                        difference < TOLERANCE,
                        "{family}, position {position}, {token}: {expected} here"
                    );
                    compared += 1;
                }
            }
            assert_eq!(reported.count(), 0);
        }
    }
    assert!(compared > 500, "{compared}");
}
