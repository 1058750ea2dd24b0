//! `GET /metrics`, for Prometheus: where the run stands, in its text format. `GET /healthz` says that the server answers.
//!
//! The names follow from those of the records (docs/prometheus.md): the number `kl` of the newest line of `metrics.jsonl` is
//! `sandbox_train_kl`, and `components.think` is `sandbox_train_components` with the label `key="think"`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use records::Evaluation;
use run::{ActorState, ActorView, ArmHandle, ArmView};

use crate::actor_tree::ActorTree;
use crate::error::ApiError;
use crate::shared::Shared;

/// The path that needs no token: it says nothing of the run.
pub(super) const HEALTH: &str = "/healthz";

/// The media type of the text that `prometheus-client` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The states of an arm.
const STATES: [&str; 6] = ["planned", "running", "paused", "done", "failed", "stopped"];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/metrics", get(metrics)).route(HEALTH, get(async || "ok\n"))
}

type Labels = Vec<(&'static str, String)>;

/// The numbers of one answer, by name.
struct Exposition {
    registry: Registry,
    gauges: BTreeMap<String, Family<Labels, Gauge<f64, AtomicU64>>>,
}

impl Exposition {
    fn new() -> Self {
        Exposition { registry: Registry::with_prefix("sandbox"), gauges: BTreeMap::new() }
    }

    fn set(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        let Exposition { registry, gauges } = self;
        let gauge = gauges.entry(name.to_owned()).or_insert_with(|| {
            let gauge = Family::default();
            registry.register(name, help, gauge.clone());
            gauge
        });
        gauge.get_or_create(&labels).set(value);
    }

    fn arm(&mut self, view: &ArmView) {
        let of_arm = labels(view);
        self.set("arm_step", "Training steps taken", of_arm.clone(), view.step as f64);
        self.set(
            "arm_planned_steps",
            "Training steps that the arm will take",
            of_arm.clone(),
            view.total_steps as f64,
        );
        for state in STATES {
            let is_in = f64::from(u8::from(view.state.name() == state));
            let help = "1 for the state that the arm is in, 0 for the others";
            self.set("arm_state", help, with(&of_arm, "state", state), is_in);
        }
        if let Some(conditions) = &view.conditions {
            let help = "Changes of formula, weights, rewards or settings since the scenario's";
            self.set("conditions_version", help, of_arm.clone(), conditions.version as f64);
            for (name, weight) in &conditions.weights {
                self.set("weight", "Weight of the next step", with(&of_arm, "name", name), *weight);
            }
        }
    }

    fn actors(&mut self, of_arm: &Labels, actors: &[ActorView]) {
        for actor in actors {
            let labels = with(of_arm, "actor", &actor.name);
            let serves = f64::from(u8::from(actor.status == ActorState::Serving));
            self.set("actor_up", "Whether the actor serves", labels.clone(), serves);
            self.set(
                "actor_restarts",
                "Times the actor failed and was started again",
                labels.clone(),
                actor.restarts as f64,
            );
            self.set("actor_calls", "Calls that have returned", labels.clone(), actor.calls as f64);
            self.set(
                "actor_call_failures",
                "Calls that returned no answer",
                labels.clone(),
                actor.failures as f64,
            );
            self.set(
                "actor_requests_in_flight",
                "Requests not answered yet",
                labels.clone(),
                actor.in_flight as f64,
            );
            if let Some(latency) = actor.latency_ms {
                self.set(
                    "actor_latency_seconds",
                    "Moving average of the time of a call",
                    labels,
                    latency / 1e3,
                );
            }
            self.actors(of_arm, &actor.children);
        }
    }

    /// The newest line of `metrics.jsonl`.
    fn step(&mut self, of_arm: &Labels, row: &[(String, f64)]) {
        for (field, value) in row.iter().filter(|(field, _)| field != "step" && field != "total_steps") {
            let help = "Of the newest training step; see docs/metrics.md";
            match field.split_once('.') {
                Some((group, key)) => {
                    self.set(&format!("train_{group}"), help, with(of_arm, "key", key), *value)
                }
                None => self.set(&format!("train_{field}"), help, of_arm.clone(), *value),
            }
        }
    }

    /// The newest evaluation of each suite.
    fn evaluations(&mut self, of_arm: &Labels, rows: &[Evaluation]) {
        let control = |row: &Evaluation| row.control.map(|control| control.name());
        let newest: BTreeMap<_, _> = rows.iter().map(|row| ((&row.suite, control(row)), row)).collect();
        for row in newest.into_values() {
            let mut labels = with(of_arm, "suite", &row.suite);
            if let Some(control) = control(row) {
                labels.push(("control", control.to_owned()));
            }
            let tally = &row.overall;
            let share = |count: u64| count as f64 / tally.n as f64;
            self.set(
                "eval_step",
                "Training steps before the newest evaluation",
                labels.clone(),
                row.step as f64,
            );
            self.set(
                "eval_completions",
                "Completions of the newest evaluation",
                labels.clone(),
                tally.n as f64,
            );
            if tally.n > 0 {
                self.set(
                    "eval_accuracy",
                    "Share of completions that are correct",
                    labels.clone(),
                    share(tally.correct),
                );
                self.set("eval_think_rate", "Share of completions that think", labels, share(tally.think));
            }
        }
    }
}

fn labels(view: &ArmView) -> Labels {
    vec![("arm", view.id.arm.clone()), ("seed", view.id.seed.to_string())]
}

fn with(labels: &Labels, name: &'static str, value: &str) -> Labels {
    labels.iter().cloned().chain([(name, value.to_owned())]).collect()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, ApiError> {
    let reader = shared.clone();
    let text = shared.read(move || expose(&reader)).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

fn expose(shared: &Shared) -> Result<String, ApiError> {
    let mut exposition = Exposition::new();
    let name = shared.run.name().to_owned();
    let info = vec![("run", name), ("version", env!("CARGO_PKG_VERSION").to_owned())];
    exposition.set("run", "The run, with the version of the program; always 1", info, 1.0);
    for arm in shared.run.arms() {
        expose_arm(&mut exposition, shared, &arm)?;
    }
    let mut text = String::new();
    encode(&mut text, &exposition.registry).map_err(|error| ApiError::failed(error.to_string()))?;
    Ok(text)
}

fn expose_arm(exposition: &mut Exposition, shared: &Shared, arm: &ArmHandle) -> Result<(), ApiError> {
    let view = arm.view();
    let of_arm = labels(&view);
    exposition.arm(&view);
    exposition.actors(&of_arm, &ActorTree::of(&shared.run, arm).actors);
    let newest = shared.files(arm).metrics(|columns| Ok(columns.newest()))?;
    exposition.step(&of_arm, &newest);
    let rows = shared.arm_dir(arm).read_evaluations();
    exposition.evaluations(&of_arm, &rows.map_err(|error| ApiError::failed(error.to_string()))?);
    Ok(())
}
