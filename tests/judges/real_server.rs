//! The judge behind a real server: llama.cpp with a tiny random Qwen3, which gives verdicts as long as it is held to
//! their form. The command line asks it too, see `tests/cli.rs`.

use scenarios::{Guided, JudgeConfig, OpenaiJudgeConfig, Prompting, Scoring};

use super::server::JudgeServer;
use super::{ask, causes, config_with, open, requests};
use crate::goldens::fixtures;

fn start() -> JudgeServer {
    JudgeServer::start(&fixtures().join("qwen3_untied/model"))
}

fn patient(server: &JudgeServer, change: impl FnOnce(&mut OpenaiJudgeConfig)) -> JudgeConfig {
    config_with(&[&server.url], |openai| {
        openai.timeout_seconds = 60.0;
        openai.read_timeout_seconds = 60.0;
        change(openai);
    })
}

#[tokio::test]
async fn held_to_their_form_all_replies_are_verdicts_and_their_tokens_are_counted() {
    let server = start();
    for prompting in [Prompting::Instruct, Prompting::Base] {
        for separate in [false, true] {
            for scoring in [Scoring::Text, Scoring::Logprobs] {
                let judge = open(&patient(&server, |openai| {
                    openai.prompting = prompting;
                    openai.separate = separate;
                    openai.scoring = scoring;
                }));
                judge.probe().await.unwrap();
                let judged = ask(&judge, &requests(6)).await;
                let way = format!("{prompting:?}, {separate}, {scoring:?}: {judged:?}");
                assert_eq!(causes(&judged), [("verdict", 6)].into(), "{way}");
                for usage in judged.iter().map(|judgement| judgement.usage) {
                    assert!(usage.prompt_tokens > 200 && (5..100).contains(&usage.reply_tokens), "{way}");
                    assert_eq!(usage.retries, 0, "{way}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_random_model_writes_freely_is_no_verdict_and_no_zero() {
    let server = start();
    for prompting in [Prompting::Instruct, Prompting::Base] {
        let judge = open(&patient(&server, |openai| {
            openai.prompting = prompting;
            openai.guided = Guided::None;
        }));
        judge.probe().await.unwrap();
        let causes = causes(&ask(&judge, &requests(6)).await);
        assert_eq!(causes.values().sum::<usize>(), 6);
        assert!(causes.keys().all(|cause| ["truncated", "malformed", "empty"].contains(cause)), "{causes:?}");
    }
}
