//! The alarms of all arms: how they stand, and when they went off.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::openapi::Api;
use crate::shared::Shared;
use ::records::ArmId;
use run::AlarmView;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "get",
        "/api/alarms",
        "The alarms of all arms: how they stand after the newest step, and when and why they went off",
        alarms,
        |operation, schemas| {
            operation.answers::<Alarms>(schemas);
        },
    )
}

#[derive(Serialize, JsonSchema)]
struct Alarms {
    /// The arms that have alarms and have started, under every seed.
    arms: Vec<ArmAlarms>,
}

#[derive(Serialize, JsonSchema)]
struct ArmAlarms {
    /// The arm's name and seed.
    #[serde(flatten)]
    id: ArmId,
    /// In the order of the scenario.
    alarms: Vec<AlarmView>,
}

async fn alarms(State(shared): State<Arc<Shared>>) -> Json<Alarms> {
    let arms = shared.run.arms();
    let of_arm = arms.iter().map(|arm| ArmAlarms { id: arm.id().clone(), alarms: arm.alarms() });
    Json(Alarms { arms: of_arm.filter(|arm| !arm.alarms.is_empty()).collect() })
}
