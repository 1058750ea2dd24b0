//! What Prometheus reads of a run.

use super::*;

/// The value of the sample with this name and these labels.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_steps_metrics_weights_and_actors() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(2).await;
    live.post("/api/arms/a/3/pause", json!({})).await;
    while live.get("/api/arms/a/3").await["status"] != "paused" {
        tokio::task::yield_now().await;
    }
    let response = live.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    let row = live.lines("metrics.jsonl").pop().unwrap();
    let arm = r#"arm="a",seed="3""#;
    assert_eq!(sample(&text, &format!("sandbox_arm_step{{{arm}}}")), row["step"].as_f64().unwrap());
    assert_eq!(sample(&text, &format!("sandbox_arm_planned_steps{{{arm}}}")), 400.0);
    assert_eq!(sample(&text, &format!("sandbox_arm_state{{{arm},state=\"paused\"}}")), 1.0);
    assert_eq!(sample(&text, &format!("sandbox_arm_state{{{arm},state=\"running\"}}")), 0.0);
    assert_eq!(sample(&text, &format!("sandbox_weight{{{arm},name=\"bonus\"}}")), 0.25);
    assert_eq!(sample(&text, &format!("sandbox_train_reward{{{arm}}}")), row["reward"].as_f64().unwrap());
    let format = row["components"]["format"].as_f64().unwrap();
    assert_eq!(sample(&text, &format!("sandbox_train_components{{{arm},key=\"format\"}}")), format);
    assert_eq!(sample(&text, &format!("sandbox_actor_up{{{arm},actor=\"sampler\"}}")), 1.0);
    assert_eq!(sample(&text, &format!("sandbox_actor_restarts{{{arm},actor=\"sampler\"}}")), 0.0);
    assert!(text.ends_with("# EOF\n"));
    // A value that is missing in the row is no sample, and never 0.
    assert!(row["consistency"].is_null() && !text.contains("sandbox_train_consistency"));
    live.end().await;
}

/// GUARD-2.
#[tokio::test(flavor = "multi_thread")]
async fn only_that_the_server_is_there_is_said_without_the_token() {
    let live = Live::start(SCENARIO).await;
    let get = |path: &str| live.client.get(format!("{}{path}", live.file.address)).send();
    let health = get("/healthz").await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    assert_eq!(health.text().await.unwrap(), "ok\n");
    assert_eq!(get("/metrics").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    live.end().await;
}
