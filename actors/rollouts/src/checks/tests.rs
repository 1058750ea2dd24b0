use std::sync::Arc;

use audio::LogMel;
use model::Prompt;
use serde_json::json;

use super::*;

const AUDIO: i64 = 9;

/// Two clips of 3 and 2 tokens.
fn asked() -> AskedPrompt {
    let clip = |value: f32| {
        let samples = Some(vec![value; 4].into());
        Arc::new(LogMel { values: vec![], n_mels: 0, frames: 0, valid_frames: 0, truncated: false, samples })
    };
    let ids = vec![1, AUDIO, AUDIO, AUDIO, 2, AUDIO, AUDIO, 3, 4];
    AskedPrompt::of(&Prompt { ids, clips: vec![clip(0.5), clip(0.25)] }, Some(AUDIO)).unwrap()
}

fn draw() -> Draw {
    Draw::new(1.0, 3, &[7], &[5])
}

/// What a server answers if all is well.
fn right() -> Value {
    json!({
        "model": "policy", "prompt_token_ids": [1, 9, 9, 9, 2, 9, 9, 3, 4],
        "mm_placeholders": { "audio": [{ "offset": 1, "length": 3 }, { "offset": 5, "length": 2 }] },
        "choices": [{
            "token_ids": [8, 7], "finish_reason": "stop",
            "logprobs": { "content": [{ "token_id": 8, "logprob": -1.5 }, { "token_id": 7, "logprob": -0.25 }] },
        }],
    })
}

fn checked(change: impl FnOnce(&mut Value)) -> Checked<Completion> {
    let prompt = asked();
    let mut answer = right();
    change(&mut answer);
    expected(&prompt, &[]).completion(&answer, &draw())
}

fn expected<'a>(prompt: &'a AskedPrompt, so_far: &'a [i64]) -> Expected<'a> {
    Expected { model: "policy", prompt, so_far, vocabulary: 10, suppressed: &[5] }
}

#[test]
fn a_slice_is_of_the_prompt_and_the_tokens_before_it() {
    let prompt = asked();
    let mut answer = right();
    answer["prompt_token_ids"] = json!([1, 9, 9, 9, 2, 9, 9, 3, 4, 8, 6]);
    let checked = |so_far: &[i64]| expected(&prompt, so_far).completion(&answer, &draw());
    assert_eq!(checked(&[8, 6]).unwrap().ids, [8, 7]);
    for (so_far, message) in
        [(&[8_i64] as &[i64], "has 11 tokens of 10"), (&[8_i64, 4] as &[i64], "other tokens than were sent")]
    {
        let Err(Unusable::Check(found)) = checked(so_far) else { panic!("{so_far:?}") };
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn a_prompt_is_sent_with_one_token_per_clip() {
    let prompt = asked();
    assert_eq!(prompt.ids, [1, AUDIO, 2, AUDIO, 3, 4]);
    assert_eq!((prompt.placeholders.len(), prompt.after_clips()), (2, 7));
    assert_ne!(prompt.clips[0].uuid, prompt.clips[1].uuid);
    assert_eq!(prompt.clips[0].uuid, asked().clips[0].uuid);
    assert!(prompt.clips[0].url().starts_with("data:audio/wav;base64,UklGR"));
}

#[test]
fn a_right_answer_is_a_completion() {
    let completion = checked(|_| ()).unwrap();
    assert_eq!((completion.ids, completion.finish), (vec![8, 7], Finish::Eos));
    assert_eq!(completion.logprobs, [-1.5, -0.25]);
    let cut = checked(|answer| {
        answer["choices"][0] = json!({
            "token_ids": [8, 8, 8], "finish_reason": "length",
            "logprobs": { "content": [{ "logprob": -1 }, { "logprob": -1 }, { "logprob": -1 }] },
        });
    });
    assert_eq!(cut.unwrap().finish, Finish::Length);
}

/// Each row is an answer with status 200 that is silently wrong (ROLLOUT-1).
#[test]
fn rollout_1_every_silent_mistake_fails_a_check() {
    type Mistake = (&'static str, fn(&mut Value), &'static str);
    let cases: [Mistake; 18] = [
        ("a token without a clip", |a| a["mm_placeholders"] = Value::Null, "found 0 clips of 2"),
        (
            "one clip for two tokens",
            |a| drop(a["mm_placeholders"]["audio"].as_array_mut().unwrap().pop()),
            "1 clips of 2",
        ),
        (
            "a clip that was cut",
            |a| a["mm_placeholders"]["audio"][1]["length"] = json!(1),
            "1 tokens from place 5",
        ),
        ("a clip elsewhere", |a| a["mm_placeholders"]["audio"][0]["offset"] = json!(0), "from place 0"),
        (
            "expanded twice",
            |a| a["prompt_token_ids"].as_array_mut().unwrap().push(json!(9)),
            "10 tokens of 9",
        ),
        ("no prompt", |a| a["prompt_token_ids"] = Value::Null, "0 tokens of 9"),
        ("another prompt", |a| a["prompt_token_ids"][0] = json!(2), "other tokens"),
        ("no completion", |a| a["choices"] = json!([]), "0 completions of 1"),
        ("an id beyond the vocabulary", |a| a["choices"][0]["token_ids"][0] = json!(10), "the id 10"),
        ("a negative id", |a| a["choices"][0]["token_ids"][0] = json!(-1), "the id -1"),
        ("a suppressed id", |a| a["choices"][0]["token_ids"][0] = json!(5), "must not be drawn"),
        ("an empty completion", |a| a["choices"][0]["token_ids"] = json!([]), "0 tokens, of 1 to 3"),
        (
            "too few log-probabilities",
            |a| a["choices"][0]["logprobs"] = Value::Null,
            "0 log-probabilities of 2",
        ),
        ("NaN", |a| a["choices"][0]["logprobs"]["content"][0]["logprob"] = Value::Null, "is no number"),
        (
            "vLLM's NaN",
            |a| a["choices"][0]["logprobs"]["content"][0]["logprob"] = json!(-9999.0),
            "is no number",
        ),
        (
            "another token's",
            |a| a["choices"][0]["logprobs"]["content"][0]["token_id"] = json!(1),
            "another token",
        ),
        ("aborted", |a| a["choices"][0]["finish_reason"] = json!("abort"), "finish_reason is abort"),
        (
            "goes on after its end",
            |a| a["choices"][0]["finish_reason"] = json!("length"),
            "does not fit 2 tokens",
        ),
    ];
    for (what, change, expected) in cases {
        match checked(change) {
            Err(Unusable::Check(message)) => assert!(message.contains(expected), "{what}: {message}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let other = checked(|answer| answer["model"] = json!("base"));
    assert!(matches!(other, Err(Unusable::AnotherModel(_))), "{other:?}");
}

#[test]
fn scores_are_those_of_the_prompts_own_tokens() {
    let prompt = asked();
    let expected = Expected { suppressed: &[], ..expected(&prompt, &[]) };
    let mut answer = right();
    let place = |id: i64| json!({ id.to_string(): { "logprob": -(id as f64) } });
    let places = prompt.expanded.iter().enumerate();
    answer["prompt_logprobs"] =
        places.map(|(at, id)| if at == 0 { Value::Null } else { place(*id) }).collect();
    assert_eq!(expected.scores(&answer, 7).unwrap(), [-3.0, -4.0]);
    answer["prompt_logprobs"][8] = json!({ "1": { "logprob": -1.0 } });
    assert!(format!("{:?}", expected.scores(&answer, 7)).contains("lacks a token"));
    answer["prompt_logprobs"] = json!([]);
    assert!(format!("{:?}", expected.scores(&answer, 7)).contains("0 of 9 tokens"));
}
