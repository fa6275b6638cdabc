//! `POST /v1/subscriptions/{id}/test`: an endpoint is tried, because somebody asked.
//!
//! With a signed sample; or, with `{"handshake": true}`, by asking it whether it wants events
//! ([`crate::domain::handshake`]), which sends it none.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reading;
use crate::actors::samples::Shaken;
use crate::domain::delivery::Outcome;
use crate::domain::directory::Subscription;
use crate::domain::handshake::{Origin, Rate};
use crate::domain::ids::EventId;
use crate::domain::permission::Permission;
use crate::http::body;
use crate::http::deliveries::AttemptView;
use crate::http::error::ApiError;
use crate::http::gate::Caller;
use crate::http::openapi::shapes;
use crate::http::{Answer, Relay, owned};

/// What a relay calls itself where nobody gives it a name.
const DEFAULT_ORIGIN: &str = "postrider";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Trial {
    handshake: bool,
    origin: Option<String>,
}

/// What came of a sample.
#[derive(Serialize, ToSchema)]
struct Tested {
    #[schema(example = true)]
    delivered: bool,
    #[schema(value_type = shapes::EventUuid)]
    webhook_id: EventId,
    #[serde(flatten)]
    attempt: AttemptView,
}

/// What came of a handshake.
#[derive(Serialize, ToSchema)]
struct Handshake {
    #[schema(example = "relay.example.com")]
    origin: String,
    #[schema(example = true)]
    allowed: bool,
    #[schema(value_type = Option<shapes::AllowedRate>, required)]
    allowed_rate_per_minute: Option<RateView>,
    #[schema(required, example = 200)]
    status_code: Option<u16>,
    #[schema(required, example = json!(null))]
    error: Option<&'static str>,
    #[schema(example = 42)]
    duration_ms: u64,
}

/// Either of what was asked for.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // It only says what an answer may be.
enum TestResult {
    Sample(Tested),
    Handshake(Handshake),
}

#[derive(Serialize)]
#[serde(untagged)]
enum RateView {
    Number(u32),
    Any(&'static str),
}

/// Tries an endpoint once, and says what came of it
///
/// It is sent a signed sample, `postrider.test`. With `{"handshake": true}` it is sent none, and asked instead, as
/// `CloudEvents` has it, whether it wants to be sent to by `origin`.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/test", operation_id = "testSubscription",
    request_body = Option<shapes::Trial>,
    responses((status = 200, description = "What came of it, also of a failure.", body = TestResult)),
)]
pub async fn test(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let trial: Trial = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    if let Some(origin) = origin(&trial)? {
        let shaken = relay.samples.shake_hands(subscription, &origin).await?;
        return Ok(HttpResponse::Ok().json(Handshake::of(&origin, &shaken)));
    }
    let attempt = relay.samples.send(subscription).await?;
    Ok(HttpResponse::Ok().json(Tested {
        delivered: attempt.outcome == Outcome::Delivered,
        webhook_id: attempt.event,
        attempt: AttemptView::of(&attempt),
    }))
}

/// Who asks, if a handshake is wanted.
fn origin(trial: &Trial) -> Result<Option<Origin>, ApiError> {
    if !trial.handshake {
        return match trial.origin {
            Some(_) => Err(reading::invalid("origin", &"is for a handshake only")),
            None => Ok(None),
        };
    }
    let name = trial.origin.as_deref().unwrap_or(DEFAULT_ORIGIN);
    let origin = name.parse();
    Ok(Some(
        origin.map_err(|error| reading::invalid("origin", &error))?,
    ))
}

impl Handshake {
    fn of(origin: &Origin, shaken: &Shaken) -> Self {
        Self {
            origin: origin.to_string(),
            allowed: shaken.consent.given,
            allowed_rate_per_minute: shaken.consent.rate.map(|rate| match rate {
                Rate::Any => RateView::Any("*"),
                Rate::PerMinute(requests) => RateView::Number(requests),
            }),
            status_code: shaken.answered.ok(),
            error: shaken.answered.err(),
            duration_ms: shaken.duration_ms,
        }
    }
}
