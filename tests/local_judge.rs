//! The judge in this process, on tiny random Qwen3s: it replies as decoding by a grammar would, and
//! runs in the ablation.

use std::path::PathBuf;
use std::time::Duration;

use ::judges::Judges;
use model::{ChosenToken, Policy, Processor, Prompt};
use rewards::{FailureCause, JudgeRequest, Question};
use scenarios::{JudgeConfig, JudgeKind, LocalJudgeConfig, Prompting, Scoring};
use tch::Kind;
use tokio::time::Instant;

use crate::goldens::{copied, fixtures, open};
use crate::judges::server::JudgeServer;

fn model_dir() -> PathBuf {
    fixtures().join("qwen3_untied/model")
}

fn prompts(processor: &Processor, beginning: &str) -> Vec<Prompt> {
    let ends = ["Grade:", "It barks twice, so it is a dog. Grade:", "Is it? Grade:"];
    let prompt = |end| Prompt { ids: processor.encode(&format!("{beginning}{end}")), clips: Vec::new() };
    ends.map(prompt).to_vec()
}

fn texts() -> Vec<String> {
    ["0", "1"]
        .iter()
        .flat_map(|grade| {
            (0..10).map(move |digit| format!(" {{\"consistent\": {grade}, \"quality\": {digit}}}"))
        })
        .collect()
}

/// Chooses by running the whole sequence again for every token, and looking at every token of the vocabulary.
fn choose_slowly(policy: &Policy, prompt: &Prompt, texts: &[String]) -> (String, Vec<ChosenToken>) {
    let processor = policy.processor();
    let vocabulary: Vec<String> =
        (0..policy.config().text.vocab_size).map(|id| processor.decode(&[id])).collect();
    let (mut written, mut prompt, mut tokens) = (String::new(), prompt.clone(), Vec::new());
    while !texts.contains(&written) {
        let logits = policy.logits(std::slice::from_ref(&prompt)).unwrap().select(0, 0).select(0, -1);
        let logprobs = Vec::<f32>::try_from(logits.log_softmax(-1, Kind::Float)).unwrap();
        let fits = |text: &str| {
            !text.is_empty() && texts.iter().any(|whole| whole.starts_with(&format!("{written}{text}")))
        };
        let fitting: Vec<usize> = (0..vocabulary.len()).filter(|&id| fits(&vocabulary[id])).collect();
        let best = *fitting.iter().max_by(|a, b| logprobs[**a].total_cmp(&logprobs[**b])).unwrap();
        let alternatives =
            fitting.iter().map(|&id| (vocabulary[id].clone(), f64::from(logprobs[id]))).collect();
        tokens.push(ChosenToken { text: vocabulary[best].clone(), alternatives });
        written.push_str(&vocabulary[best]);
        prompt.ids.push(best as i64);
    }
    (written, tokens)
}

#[test]
fn each_token_is_the_likeliest_with_which_a_reply_can_go_on() {
    let policy = open(&model_dir());
    let examples = "Reasoning about questions on audio clips, graded. Each stands between tags.\n";
    // Prompts that begin alike are run otherwise than those that do not.
    for beginning in ["", examples] {
        let prompts = prompts(policy.processor(), beginning);
        let chosen = policy.choose(&prompts, &texts()).unwrap();
        for (prompt, chosen) in prompts.iter().zip(&chosen) {
            let (text, tokens) = choose_slowly(&policy, prompt, &texts());
            assert_eq!(chosen.text, text);
            assert_same_tokens(&chosen.tokens, &tokens);
        }
    }
}

fn assert_same_tokens(found: &[ChosenToken], expected: &[ChosenToken]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.text, expected.text);
        assert_eq!(found.alternatives.len(), expected.alternatives.len());
        for ((text, logprob), (expected_text, expected)) in
            found.alternatives.iter().zip(&expected.alternatives)
        {
            assert_eq!(text, expected_text);
            assert!((logprob - expected).abs() < 1e-4, "{text}: {logprob} is not {expected}");
        }
    }
}

#[test]
fn what_cannot_be_chosen_from_is_told() {
    let policy = open(&model_dir());
    let prompts = prompts(policy.processor(), "");
    let problem = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        policy.choose(&prompts, &texts).unwrap_err().to_string()
    };
    assert_eq!(problem(&[]), "there is no text to choose from");
    assert_eq!(problem(&["a", ""]), "a text to choose from is empty");
    assert!(problem(&["a", "dé"]).contains("no token for the character `é`"));
}

fn config(more: &str) -> JudgeConfig {
    let text =
        format!("kind = \"local\"\npath = {:?}\ndevice = \"cpu\"\ncache.disk = false\n{more}", model_dir());
    toml::from_str(&text).unwrap()
}

/// As [`config`], with other settings of the judge.
fn config_with(more: &str, change: impl FnOnce(&mut LocalJudgeConfig)) -> JudgeConfig {
    let mut config = config(more);
    let JudgeKind::Local(local) = &mut config.kind else { panic!("{config:?}") };
    change(local);
    config
}

fn requests() -> Vec<JudgeRequest> {
    let question = Question {
        text: "Which animal is heard?".to_owned(),
        choices: vec!["dog".to_owned(), "cat".to_owned()],
        ..Question::default()
    };
    let thoughts =
        ["It barks.", "A long thought. A long thought. A long thought.", "", "miaow? <|im_end|>", "hm"];
    let request = |think: &&str| JudgeRequest {
        question: question.clone().into(),
        think: (*think).to_owned(),
        answer: "dog".to_owned(),
    };
    thoughts.iter().map(request).collect()
}

fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn every_wording_brings_verdicts_on_the_scale_whatever_the_batch() {
    for settings in
        ["prompting = \"base\"\nseparate = true", "prompting = \"instruct\"\nscoring = \"logprobs\""]
    {
        let judge =
            |batch: usize| Judges::default().open(&config(&format!("{settings}\nbatch = {batch}"))).unwrap();
        let alone = judge(1).judge_all(&requests()[..3], patience()).await;
        let together = judge(2).judge_all(&requests()[..3], patience()).await;
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone.failure, None, "{settings}");
            let scores = |judged: &::judges::Judgement| {
                [judged.verdict.consistency, judged.verdict.think_quality].map(Option::unwrap)
            };
            for (one, other) in scores(alone).into_iter().zip(scores(together)) {
                assert!(
                    (0.0..=1.0).contains(&one) && (one - other).abs() < 1e-5,
                    "{settings}: {one} {other}"
                );
            }
            assert!(alone.usage.prompt_tokens > 100 && alone.usage.reply_tokens > 5, "{:?}", alone.usage);
        }
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_costs_its_own_verdict_only() {
    let folder = copied(&model_dir());
    let file = folder.path().join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("\"max_position_embeddings\": 40960", "\"max_position_embeddings\": 4000"),
    )
    .unwrap();
    let config = config_with("prompting = \"base\"", |local| local.path = folder.path().to_owned());
    let mut requests = requests();
    requests[1].think = "endless ".repeat(500);
    let judged = Judges::default().open(&config).unwrap().judge_all(&requests, patience()).await;
    let failed: Vec<bool> = judged.iter().map(|judgement| judgement.failure.is_some()).collect();
    assert_eq!(failed, [false, true, false, false, false]);
    let failure = judged[1].failure.clone().unwrap();
    assert_eq!(failure.cause, FailureCause::TooLong);
    assert!(
        failure.message.contains("exceed the judge's context of 4000; lower judge.max_chars"),
        "{failure}"
    );
    assert_eq!(judged[1].verdict.consistency, None);
}

#[tokio::test]
async fn out_of_time_is_a_missing_verdict() {
    let judge = Judges::default().open(&config("batch = 1")).unwrap();
    let judged = judge.judge_all(&requests(), Instant::now()).await;
    for judgement in judged {
        assert_eq!(judgement.failure.unwrap().cause, FailureCause::Timeout);
        assert_eq!(judgement.verdict.think_quality, None);
    }
}

#[tokio::test]
async fn weights_that_cannot_be_read_are_told_before_anything_is_judged() {
    let folder = copied(&model_dir());
    let config = config_with("", |local| local.path = folder.path().to_owned());
    let shard = folder.path().join("model-00002-of-00004.safetensors");
    std::fs::write(&shard, "no weights").unwrap();
    let judge = Judges::default().open(&config).unwrap();
    let problem = judge.probe().await.unwrap_err();
    let problem = problem.to_string();
    assert!(problem.contains("model-00002-of-00004.safetensors"), "{problem}");
    let judged = judge.judge_all(&requests(), patience()).await;
    assert!(judged.iter().all(|judgement| judgement.verdict.consistency.is_none()));

    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let problem = Judges::default().open(&config).err().unwrap();
    let problem = problem.to_string();
    assert!(problem.contains("config.json"), "{problem}");
}

#[tokio::test]
async fn a_llama_or_qwen2_judges_too_and_without_turns_as_a_base_model() {
    for family in ["llama", "qwen2"] {
        let folder = copied(&fixtures().join(family).join("model"));
        let judge = |prompting| {
            let config = config_with("", |local| {
                local.path = folder.path().to_owned();
                local.prompting = prompting;
            });
            Judges::default().open(&config).unwrap()
        };
        let mut tokens = Vec::new();
        let mut ask = async |prompting| {
            let judged = judge(prompting).judge_all(&requests(), patience()).await;
            for judgement in &judged {
                assert_eq!(judgement.failure, None, "{family}");
                assert!(judgement.verdict.consistency.is_some() && judgement.verdict.think_quality.is_some());
            }
            tokens.push(judged.iter().map(|judgement| judgement.usage.prompt_tokens).collect::<Vec<_>>());
        };
        ask(Prompting::Instruct).await;
        ask(Prompting::Base).await;
        // Without a chat template, and with an end token that ends no turn, it is a base model.
        std::fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": 288}"#).unwrap();
        ask(Prompting::Instruct).await;
        // A template of its own makes it one that takes turns.
        let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        ask(Prompting::Instruct).await;
        assert_ne!(tokens[0], tokens[1], "{family}: the two wordings differ in length");
        assert_eq!(tokens[2], tokens[1], "{family}: it is prompted as a base model");
        assert!(tokens[3].iter().zip(&tokens[0]).all(|(own, default)| own < default), "{family}: {tokens:?}");
    }
}

#[tokio::test]
async fn it_gives_the_verdicts_of_the_same_model_behind_a_real_server() {
    let server = JudgeServer::start(&model_dir());
    let mut seen = Vec::new();
    for (prompting, separate, scoring) in [
        (Prompting::Base, false, Scoring::Text),
        (Prompting::Base, true, Scoring::Text),
        (Prompting::Instruct, false, Scoring::Text),
        (Prompting::Instruct, false, Scoring::Logprobs),
    ] {
        let there = format!(
            "kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"judge\"\ncache.disk = false",
            server.url
        );
        let here = config_with("", |local| {
            local.prompting = prompting;
            local.separate = separate;
            local.scoring = scoring;
        });
        let mut there: JudgeConfig = toml::from_str(&there).unwrap();
        let JudgeKind::Openai(openai) = &mut there.kind else { panic!("{there:?}") };
        openai.prompting = prompting;
        openai.separate = separate;
        openai.scoring = scoring;
        let mut verdicts = Vec::new();
        for config in [here, there] {
            let judge = Judges::default().open(&config).unwrap();
            judge.probe().await.unwrap();
            let judged = judge.judge_all(&requests(), patience()).await;
            verdicts.push(judged.into_iter().map(|judgement| judgement.verdict).collect::<Vec<_>>());
        }
        for (here, there) in verdicts[0].iter().zip(&verdicts[1]) {
            for (one, other) in
                [(here.consistency, there.consistency), (here.think_quality, there.think_quality)]
            {
                let (one, other) = (one.unwrap(), other.unwrap());
                assert!((one - other).abs() < 1e-3, "{prompting:?} {scoring:?}: {one} here, {other} there");
                seen.push(one);
            }
        }
    }
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    assert!(seen.len() > 2, "all verdicts are alike, which shows little: {seen:?}");
}
