//! Changes made from a stale view, and rewards added under a name that is taken.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Live, SCENARIO};

fn two_arms() -> String {
    format!("{SCENARIO}\n[[arm]]\nname = \"b\"\nshaping.formula = \"format * (1 + w_format * accuracy)\"\n")
}

impl Live {
    async fn tag(&self, path: &str) -> String {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    async fn send_if(&self, method: Method, path: &str, tag: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request(method, path).header("if-match", tag).json(body);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

/// STALE-1.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_a_stale_view_is_refused_and_told_what_changed() {
    let live = Live::start(SCENARIO).await;
    let (weights, path) = ("/api/arms/a/3/weights", "/api/arms/a/3/change");
    for resource in ["", "/weights", "/formula", "/rewards"] {
        assert_eq!(live.tag(&format!("/api/arms/a/3{resource}")).await, "\"0\"", "{resource}");
    }
    let tag = live.tag(weights).await;
    let (status, applied) = live.send_if(Method::PUT, weights, &tag, &json!({"format": 0.75})).await;
    assert_eq!((status, &applied["version"]), (StatusCode::OK, &json!(1)));

    let routes = [
        (Method::PUT, weights.to_owned(), json!({"format": 0.1})),
        (Method::PUT, "/api/arms/a/3/formula".to_owned(), json!({"formula": "accuracy"})),
        (Method::PUT, "/api/arms/a/3/rewards/new".to_owned(), json!({"kind": "format"})),
        (Method::POST, "/api/arms/a/3/rewards/new".to_owned(), json!({"kind": "format"})),
        (Method::DELETE, "/api/arms/a/3/rewards/format".to_owned(), json!({})),
        (Method::POST, path.to_owned(), json!({"leave_formula": ["format"]})),
        (Method::POST, "/api/change".to_owned(), json!({"change": {"weights": {"format": 0.1}}})),
    ];
    for (method, route, body) in routes {
        let (status, refused) = live.send_if(method, &route, &tag, &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{route}: {refused}");
        let stale = &refused["stale"][0];
        assert_eq!((&stale["known"], &stale["version"]), (&json!(0), &json!(1)), "{route}: {refused}");
        let change = &stale["changes"][0];
        assert_eq!((&change["by"], &change["step"]), (&json!("api"), &applied["step"]));
        let field = json!([{"field": "weights.format", "old": 0.5, "new": 0.75}]);
        assert_eq!(change["fields"], field);
        assert!(refused["error"].as_str().unwrap().contains("weights.format 0.5 → 0.75"), "{refused}");
    }
    // With the version from the refusal, and without any, it is made.
    let (status, _) = live.send_if(Method::PUT, weights, "\"1\"", &json!({"format": 0.1})).await;
    assert_eq!(status, StatusCode::OK);
    live.post(path, json!({"weights": {"format": 0.2}})).await;
    for wrong in ["\"one\"", "\"1.2\""] {
        let (status, refused) = live.send_if(Method::PUT, weights, wrong, &json!({"format": 0.1})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
        assert!(refused["error"].as_str().unwrap().starts_with("If-Match"), "{refused}");
    }
    live.end().await;
}

/// STALE-1: of several arms, one that has changed refuses the change in all of them, before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_several_arms_is_refused_whole_if_one_view_is_stale() {
    let live = Live::start(&two_arms()).await;
    let tag = live.tag("/api/state").await;
    assert_eq!(tag, "\"0.0\"");
    let (status, answer) = live.send(Method::PUT, "/api/arms/b/3/weights", &json!({"format": 0.1})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let change = json!({"change": {"formula": "accuracy"}});
    let (status, refused) = live.send_if(Method::POST, "/api/change", &tag, &change).await;
    assert!(refused["stale"].is_array(), "{status}: {refused}");
    assert_eq!((status, refused["stale"].as_array().unwrap().len()), (StatusCode::CONFLICT, 1), "{refused}");
    assert_eq!(refused["stale"][0]["arm"], "b");
    assert_eq!(live.get("/api/arms/a/3").await["conditions"]["version"], 0);
    // The other arm alone has not changed.
    let only = json!({"arms": [["a", 3]], "change": {"formula": "accuracy"}});
    let (status, answer) = live.send_if(Method::POST, "/api/change", &tag, &only).await;
    assert_eq!((status, &answer["results"][0]["applied"]["version"]), (StatusCode::OK, &json!(1)));
    live.end().await;
}

/// ADD-1, in an arm that runs and in one that is planned.
#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_not_added_under_a_name_that_is_taken() {
    let scenario = two_arms().replace("threads = 1", "threads = 1\nparallel_arms = 1");
    let live = Live::start(&scenario).await;
    let other = json!({"kind": "accuracy"});
    for arm in ["a", "b"] {
        let path = format!("/api/arms/{arm}/3");
        let add = json!({"add": {"new": {"kind": "format"}}, "join_formula": {"new": {}}});
        let (status, answer) = live.send(Method::POST, &format!("{path}/change"), &add).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let again = json!({"add": {"new": other.clone()}});
        let refusals = [
            live.send(Method::POST, &format!("{path}/change"), &add).await,
            live.send(Method::POST, &format!("{path}/change"), &again).await,
            live.send(Method::POST, &format!("{path}/rewards/new"), &other).await,
        ];
        for (status, refused) in refusals {
            assert_eq!(status, StatusCode::CONFLICT, "{refused}");
            assert!(
                refused["error"].as_str().unwrap().contains("there is a reward `new` already"),
                "{refused}"
            );
        }
        let preview = live.post(&format!("{path}/formula/check"), again).await;
        assert!(preview["error"].as_str().unwrap().contains("`new` already"), "{preview}");
        assert_eq!(live.get(&format!("{path}/rewards")).await["new"]["kind"], "format");
        // A swap of a reward that is not there adds none either.
        let swap = json!({"swap": {"nwe": other.clone()}});
        let (status, refused) = live.send(Method::POST, &format!("{path}/change"), &swap).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["error"].as_str().unwrap().contains("there is no reward `nwe` to swap"), "{refused}");
        // Whoever wants either puts it.
        let (status, _) = live.send(Method::PUT, &format!("{path}/rewards/new"), &other).await;
        assert_eq!(status, StatusCode::OK);
    }
    live.end().await;
}
