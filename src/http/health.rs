//! Whether the relay lives, and whether it can work.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use super::Relay;

/// Why a relay that has just started is not ready.
pub const RECOVERING: &str = "the store is being recovered";

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// 200 as long as there is someone to answer.
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

/// 200 when events are taken in, 503 with the reason when they are not.
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
