//! Judges that hear the clip (`judge.hears_clip`).

use std::sync::Mutex;

use ::judges::{JudgeClip, JudgeQuery};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use records::ArmState;
use rewards::FailureCause;

use super::*;
use crate::runs::run;
use crate::scripted_server::Act;

const VERDICT: &str = r#"{"consistent": 1, "quality": 0.7}"#;

fn say(reply: &str) -> Act {
    Act::Say(reply.to_owned())
}

/// The bytes of the clip in a request; `None` if it has none.
fn clip(request: &Request) -> Option<Vec<u8>> {
    let part = &request.body["messages"][1]["content"][0]["input_audio"];
    let data = part["data"].as_str()?;
    assert_eq!(part["format"], "wav");
    Some(STANDARD.decode(data).unwrap())
}

fn heard(level: f32) -> Option<Arc<JudgeClip>> {
    Some(Arc::new(JudgeClip(vec![level; 32_000])))
}

fn query(level: f32, think: &str) -> JudgeQuery {
    let request = thought(&question("q", no_columns()), 0, think, "dog").judge_request().unwrap();
    JudgeQuery { requests: vec![request], clips: vec![heard(level)], anew: false }
}

#[tokio::test]
async fn a_verdict_is_about_the_clip_too_and_is_cached_for_it() {
    let server = ScriptedServer::start(|_, request| {
        // 44 bytes of header, and a second of 16-bit samples.
        assert_eq!(clip(request).unwrap().len(), 44 + 32_000);
        let prompt = request.prompt();
        assert!(prompt.contains("You hear the clip") && !prompt.contains("cannot hear"), "{prompt}");
        say(VERDICT)
    })
    .await;
    let pool = pool(&server.url, "hears_clip = true\nclip_seconds = 1.0");
    for (level, asked) in [(0.5, 1), (0.5, 1), (0.25, 2)] {
        let judged = pool.judge(&query(level, "it barks")).await;
        assert_eq!(judged.verdicts[0].think_quality, Some(0.7));
        assert_eq!(server.asked(), asked, "another clip is another request");
    }
}

#[tokio::test]
async fn a_judge_that_does_not_hear_gets_no_clip_and_keeps_its_verdicts_for_all() {
    let server = ScriptedServer::start(|_, request| {
        assert_eq!(clip(request), None);
        assert!(request.prompt().contains("cannot hear"));
        say(VERDICT)
    })
    .await;
    let pool = pool(&server.url, "");
    for level in [0.5, 0.25] {
        pool.judge(&query(level, "it barks")).await;
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_clip_that_is_missing_is_a_missing_verdict_and_a_calibration_has_none() {
    let server = ScriptedServer::start(|_, request| {
        assert!(clip(request).is_none() && request.prompt().contains("cannot hear"));
        say(VERDICT)
    })
    .await;
    let pool = pool(&server.url, "hears_clip = true");
    let missing = JudgeQuery { clips: vec![None], ..query(0.5, "it barks") };
    let judged = pool.judge(&missing).await;
    assert_eq!(judged.tally.failures, [(FailureCause::NoClip, 1)].into());
    let calibrated = pool.judge(&JudgeQuery { clips: vec![], ..missing }).await;
    assert_eq!((calibrated.verdicts[0].consistency, server.asked()), (Some(1.0), 1));
}

#[tokio::test]
async fn a_server_that_refuses_audio_is_named_with_what_to_do_and_not_asked_again() {
    for (status, message) in [
        (400, "audio input is not supported by this model"),
        (
            500,
            "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        ),
    ] {
        let body = json!({ "error": { "message": message } }).to_string();
        let server = ScriptedServer::start(move |_, _| Act::Status(status, "", body.clone())).await;
        let pool = pool(&server.url, "hears_clip = true");
        let judged = pool.judge(&query(0.5, "it barks")).await;
        assert_eq!(judged.verdicts[0].consistency, None);
        let failure = judged.first_failure.unwrap().to_string();
        assert!(
            failure.contains(&server.url) && failure.contains("set judge.hears_clip = false"),
            "{failure}"
        );
        assert_eq!(server.asked(), 1);
    }
}

#[tokio::test]
async fn tasks_hear_the_clip_and_are_not_sent_without_it() {
    let server = ScriptedServer::start(|_, request| {
        assert!(clip(request).is_some() && request.prompt().contains("You hear the clip"));
        match request.prompt() {
            prompt if prompt.contains("statement about") => say(r#"{"statements": [1, 0]}"#),
            _ => say(r#"{"scores": [1]}"#),
        }
    })
    .await;
    let pool = pool(&server.url, "hears_clip = true");
    let items = [thought(&question("q", json!({ "rubric": ["names the bark"] })), 0, "it barks", "dog")];
    let tasks = vec![task("rubric", toml::Table::new()), task("caption-grounding", toml::Table::new())];
    let query = GradeQuery { tasks, items: items.to_vec(), clips: vec![heard(0.5)] };
    let graded = pool.grade(&query).await;
    assert_eq!(server.asked(), 6);
    assert_eq!(scores("rubric", toml::Table::new(), &items, &graded), [Some(1.0)]);
    // The row has no caption: the clip itself is what the thinking is held against.
    assert_eq!(scores("caption-grounding", toml::Table::new(), &items, &graded), [Some(0.5)]);

    let graded = pool.grade(&GradeQuery { clips: vec![None], ..query }).await;
    assert_eq!(server.asked(), 6);
    assert_eq!(graded.tally.failures, [(FailureCause::NoClip, 6)].into());
    assert_eq!(scores("rubric", toml::Table::new(), &items, &graded), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_run_the_judge_hears_what_the_policy_hears() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let server = ScriptedServer::start({
        let lengths = lengths.clone();
        move |_, request| {
            let clip = clip(request).unwrap();
            assert_eq!(&clip[..4], b"RIFF");
            assert!(clip[44..].iter().any(|&byte| byte != 0), "it is not silent");
            lengths.lock().unwrap().push(clip.len());
            match request.prompt().contains("rubric") {
                true => Act::Say(super::rubric::reply(request)),
                false => say(VERDICT),
            }
        }
    })
    .await;
    let scenario = super::rubric::scenario(&server.url, &folder.path().join("verdicts.sqlite"), "")
        .replace("retries = 0\n", "retries = 0\nhears_clip = true\n")
        .replace("[rewards]\n", "[rewards]\nthink = { kind = \"think\" }\n");
    let first = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(first.only_arm(), &ArmState::Done, "{:?}", first.outcome);
    let asked = server.asked();
    assert!(asked > 0 && first.lines("metrics.jsonl").iter().all(|row| row["judge_failures"] == json!({})));
    let window = scenarios_window();
    assert!(lengths.lock().unwrap().iter().all(|&bytes| bytes > 44 && bytes <= 44 + 2 * 16_000 * window));
    let second = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(server.asked(), asked, "the clip is the same in both runs");
    assert_eq!(first.lines("rollouts.jsonl"), second.lines("rollouts.jsonl"));
}

/// The window of the built-in policy, in seconds.
fn scenarios_window() -> usize {
    let folder = scenarios::builtin_tiny_policy().unwrap();
    let config = std::fs::read_to_string(folder.join("preprocessor_config.json")).unwrap();
    serde_json::from_str::<Value>(&config).unwrap()["chunk_length"].as_u64().unwrap() as usize
}
