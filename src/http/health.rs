//! Whether the relay lives, and whether it can work.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::Relay;

/// Why a relay that has just started is not ready.
pub const RECOVERING: &str = "the store is being recovered";

#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ready")]
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Says whether the relay lives
///
/// 200 as long as there is someone to answer, also while the store is being recovered.
#[utoipa::path(
    method(get, head), path = "/health/live", operation_id = "live",
    responses((status = 200, description = "It lives.", body = Health, example = json!({ "status": "live" }))),
)]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health {
        status: "live",
        reason: None,
    })
}

/// 503 as long as the store is being recovered.
pub async fn recovering() -> HttpResponse {
    let reason = Some(RECOVERING.to_owned());
    HttpResponse::ServiceUnavailable().json(Health {
        status: "unavailable",
        reason,
    })
}

/// Says whether events are taken in
///
/// 503 with the reason until the store is recovered, and while it refuses writes.
#[utoipa::path(
    method(get, head), path = "/health/ready", operation_id = "ready",
    responses(
        (status = 200, description = "Events are taken in.", body = Health, example = json!({ "status": "ready" })),
        (status = 503, description = "They are not, and why.", body = Health, example = json!({
            "status": "unavailable", "reason": RECOVERING,
        })),
    ),
)]
pub async fn ready(relay: Data<Relay>) -> HttpResponse {
    match relay.health.problem() {
        None => HttpResponse::Ok().json(Health {
            status: "ready",
            reason: None,
        }),
        reason => HttpResponse::ServiceUnavailable().json(Health {
            status: "unavailable",
            reason,
        }),
    }
}
