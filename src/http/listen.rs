//! Listening: a receiver without an address holds a connection, and answers what comes down it.
//!
//! `GET /v1/subscriptions/{id}/listen` holds the connection of a subscription whose URL is `listen:NAME`:
//! server-sent events, `delivery` for each attempt, and a comment every few seconds. `POST …/{exchange}` is
//! what came of one. While somebody listens the subscription is active, otherwise paused, so what comes in
//! meanwhile waits; where it stopped it goes on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::body::Whole;
use super::error::ApiError;
use super::gate::Caller;
use super::{Answer, Relay, as_of_now, body, owned, tail};
use crate::actors::auth::Principal;
use crate::actors::listeners::{Exchange, Listener, Said};
use crate::actors::pause;
use crate::actors::tail::Seat;
use crate::domain::audit::Action;
use crate::domain::delivery::KEPT_RESPONSE_BYTES;
use crate::domain::directory::{Change, NOBODY_LISTENS, Subscription, SubscriptionStatus};
use crate::domain::ids::SubscriptionId;
use crate::domain::permission::Permission;
use crate::outbound::{Reply, SendError};

/// How often something is said where there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a connection may take nothing.
const MAX_STALL: Duration = Duration::from_secs(15);

/// What is sent to who listens.
#[derive(Serialize)]
struct Delivery<'a> {
    exchange: u64,
    method: &'a str,
    /// In order; all of them are ASCII.
    headers: Vec<(&'a str, &'a str)>,
    body_base64: String,
    timeout_ms: u128,
}

/// What came of it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeliveryOutcome)]
struct Outcome {
    /// What was answered.
    #[schema(value_type = Option<u16>, minimum = 100, maximum = 599)]
    status: Option<Whole<u16>>,
    /// How long is asked to be waited.
    #[schema(value_type = Option<u32>, maximum = 4_294_967_295_u32)]
    retry_after_seconds: Option<Whole<u32>>,
    /// What was said; its beginning is kept.
    body: Option<String>,
    error: Option<Unanswered>,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Unanswered {
    Connect,
    Timeout,
    Closed,
    InvalidResponse,
}

impl From<Unanswered> for SendError {
    fn from(why: Unanswered) -> Self {
        let cause = "said by who listens";
        match why {
            Unanswered::Connect => Self::Connect(cause.into()),
            Unanswered::Timeout => Self::Timeout,
            Unanswered::Closed => Self::Closed(cause.into()),
            Unanswered::InvalidResponse => Self::InvalidResponse(cause.into()),
        }
    }
}

/// Hold the connection of a receiver without an address
///
/// For a subscription whose `url` is `listen:NAME`. Each attempt comes as a `delivery`, whose data is
/// `{"exchange", "method", "headers", "body_base64", "timeout_ms"}`; what came of it is posted to
/// `/v1/subscriptions/{id}/listen/{exchange}`. A comment comes every few seconds. Whoever comes later takes the place
/// of who was there, who is told so with `replaced`. While nobody listens the subscription is paused.
#[utoipa::path(
    get, path = "/v1/subscriptions/{id}/listen", operation_id = "listen",
    responses(
        (status = 409, description = "Only a subscription whose url is listen:NAME can be listened to."),
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream",
        example = ":\n\nevent: delivery\ndata: {\"exchange\":1,\"method\":\"POST\",\"headers\":[],\"body_base64\":\"e30=\",\"timeout_ms\":15000}\n\n",
        ),
    ),
)]
pub async fn listen(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    if subscription.listener().is_none() {
        let message = "only a subscription whose url is listen:NAME can be listened to";
        return Err(ApiError::Conflict(message.to_owned()).into());
    }
    let seat = relay.tails.seat()?;
    let listener = relay.listeners.listen(subscription.id);
    resume(&relay, who.clone(), subscription.id).await?;
    let (out, chunks) = mpsc::channel(1);
    let line = Line {
        relay: Data::clone(&relay),
        who,
        subscription: subscription.id,
        out,
        seat,
    };
    relay.tails.run(line.hold(listener))?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(tail::stream_of(chunks)))
}

/// Say what came of a delivery
///
/// Either `status` or `error`. 404 where nobody waits for it any more. It is counted with what comes in, not with
/// management.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/listen/{exchange}", operation_id = "answerDelivery",
    params(("exchange" = u64, Path, description = "As the delivery named it.", example = 1)),
    request_body(content = Outcome, example = json!({ "status": 200 })),
    responses((status = 204, description = "It is taken in.")),
)]
pub async fn answer(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let (id, exchange) = path.into_inner();
    let outcome: Outcome = body::json(&request, payload, &relay.arriving).await?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    let number = exchange
        .parse()
        .map_err(|_| ApiError::NotFound("Exchange"))?;
    if relay
        .listeners
        .answer(subscription.id, number, said(outcome)?)
    {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(ApiError::NotFound("Exchange").into())
    }
}

fn said(outcome: Outcome) -> Result<Said, ApiError> {
    let invalid = |message: String| Err(ApiError::Invalid(message));
    match (outcome.status, outcome.error) {
        (Some(Whole(status @ 100..=599)), None) => {
            let mut head = outcome.body.unwrap_or_default().into_bytes();
            head.truncate(KEPT_RESPONSE_BYTES);
            Ok(Ok(Reply {
                status,
                headers: http::HeaderMap::new(),
                retry_after: outcome
                    .retry_after_seconds
                    .map(|Whole(seconds)| Duration::from_secs(seconds.into())),
                head,
            }))
        }
        (None, Some(why)) => Ok(Err(why.into())),
        (Some(_), None) => invalid("status must be from 100 to 599".to_owned()),
        _ => invalid("either status or error must be there".to_owned()),
    }
}

async fn resume(relay: &Relay, who: Principal, id: SubscriptionId) -> Result<(), ApiError> {
    let resumed = relay.change(who, Action::SubscriptionResumed, move |directory, _| {
        let subscription = directory.subscription(id);
        let subscription = subscription.ok_or(ApiError::NotFound("Subscription"))?;
        let active = Subscription {
            status: SubscriptionStatus::Active,
            ..Subscription::clone(subscription)
        };
        Ok((vec![Change::PutSubscription(active.into())], ()))
    });
    resumed.await
}

/// A connection that is held.
struct Line {
    relay: Data<Relay>,
    who: Principal,
    subscription: SubscriptionId,
    out: mpsc::Sender<Bytes>,
    seat: Seat,
}

impl Line {
    /// Until it breaks, the relay stops, or somebody else listens.
    async fn hold(mut self, mut listener: Listener) {
        let mut text = ":\n\n".to_owned();
        while self.tell(std::mem::take(&mut text)).await {
            text = match self.wait(&mut listener).await {
                Some(Some(exchange)) => message(&exchange),
                Some(None) => ":\n\n".to_owned(),
                None => break,
            };
        }
        if listener.stop() {
            pause::pause(
                &self.relay.directory,
                self.subscription,
                NOBODY_LISTENS.to_owned(),
            )
            .await;
        } else {
            self.tell("event: replaced\ndata: {}\n\n".to_owned()).await;
        }
    }

    /// The next request, or nothing for a while; `None` at the end.
    async fn wait(&mut self, listener: &mut Listener) -> Option<Option<Exchange>> {
        let next = pin!(listener.next());
        let (sent_home, gone) = (pin!(self.seat.closed()), pin!(self.out.closed()));
        match timeout(HEARTBEAT, select(next, select(sent_home, gone))).await {
            Err(_) => Some(None),
            Ok(Either::Left((Some(exchange), _))) => Some(Some(exchange)),
            Ok(_) => None,
        }
    }

    /// Sends this, if whoever listens still may.
    async fn tell(&self, text: String) -> bool {
        let may = as_of_now(&self.relay, &self.who, Permission::SubscriptionsWrite).is_some();
        let is_there = self
            .relay
            .directory
            .view()
            .subscription(self.subscription)
            .is_some();
        if !may || !is_there {
            return false;
        }
        let sent = timeout(MAX_STALL, self.out.send(Bytes::from(text))).await;
        matches!(sent, Ok(Ok(())))
    }
}

fn message(exchange: &Exchange) -> String {
    let headers = exchange.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let delivery = Delivery {
        exchange: exchange.number,
        method: exchange.method.as_str(),
        headers: headers.collect(),
        body_base64: STANDARD.encode(&exchange.body),
        timeout_ms: exchange.timeout.as_millis(),
    };
    format!("event: delivery\ndata: {}\n\n", tail::json(&delivery))
}
