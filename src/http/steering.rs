//! What somebody wants done with a single delivery or event: attempt it again, give it up, deliver it once
//! more. With many of them it is a task ([`super::tasks`]).

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::deliveries::{self, ListedDelivery};
use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::{Answer, Relay, body, owned, search};
use crate::actors::auth::Principal;
use crate::actors::deliveries::{Known, next_generation, of_event};
use crate::actors::now_ms;
use crate::domain::audit::Action;
use crate::domain::delivery::{Attempt, OpenState, Outcome, Status};
use crate::domain::directory::{Change, Directory, Steer, Steered, Subscription};
use crate::domain::filter::Body;
use crate::domain::ids::{DeliveryId, EventId, SubscriptionId};
use crate::domain::permission::Permission;
use crate::store::ledger::backlog::Entry;

/// Tries a delivery again
///
/// As soon as can be, on its schedule from the beginning. One that was delivered or cancelled is not: replay its event.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/retry", operation_id = "retryDelivery",
    responses(
        (status = 200, description = "The delivery.", body = ListedDelivery),
        (status = 409, description = "It was delivered or cancelled."),
    ),
)]
pub async fn retry(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let found = deliveries::find(&relay, who.clone(), &id).await?;
    let entry = open(&relay, &found.known, "retried")?;
    // One that waits for its first attempt cannot come earlier.
    if entry.delivery.state != OpenState::Waiting {
        let steered = Steered {
            delivery: found.known.id,
            place: entry.slot.place,
            at_ms: now_ms(),
            steer: Steer::Retry,
        };
        let change = Change::Steered([steered].into());
        steer(&relay, who.clone(), Action::DeliveryRetried, change).await?;
    }
    shown(&relay, who, &id).await
}

/// Gives a delivery up
///
/// An attempt that is under way may still arrive.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/cancel", operation_id = "cancelDelivery",
    responses(
        (status = 200, description = "The delivery.", body = ListedDelivery),
        (status = 409, description = "It was delivered or cancelled."),
    ),
)]
pub async fn cancel(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let found = deliveries::find(&relay, who.clone(), &id).await?;
    let entry = open(&relay, &found.known, "cancelled")?;
    let (place, number) = (entry.slot.place, entry.delivery.attempts);
    let id_of = found.known.id;
    let cancelled = Attempt::unmade(id_of, place, number, Outcome::Cancelled, now_ms(), None);
    let change = Change::Cancelled([cancelled].into());
    steer(&relay, who.clone(), Action::DeliveryCancelled, change).await?;
    shown(&relay, who, &id).await
}

/// The delivery, which must not be settled for good.
fn open(relay: &Relay, known: &Known, what: &str) -> Result<Entry, ApiError> {
    let subscription = relay.directory.view().subscription(known.id.subscription);
    let status = known.status(subscription.is_some());
    known
        .open
        .filter(|_| subscription.is_some())
        .ok_or_else(|| {
            let is = match status {
                Status::Delivered => "was delivered; replay its event to send it once more",
                _ => "was cancelled",
            };
            ApiError::Conflict(format!("The delivery cannot be {what}: it {is}"))
        })
}

async fn steer(
    relay: &Relay,
    who: Principal,
    action: Action,
    change: Change,
) -> Result<(), ApiError> {
    let changed = relay.change(who, action, move |_, _| Ok((vec![change], ())));
    changed.await
}

async fn shown(relay: &Relay, who: Principal, id: &str) -> Answer {
    let found = deliveries::find(relay, who, id).await?;
    Ok(HttpResponse::Ok().json(found.view(relay)))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayEvent)]
struct Replay {
    /// To whom alone, whether it wants the event or not.
    #[schema(value_type = Option<shapes::SubscriptionId>)]
    subscription_id: Option<String>,
    /// Only says which deliveries there would be.
    #[serde(default)]
    #[schema(example = false)]
    dry_run: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReplayedEvent)]
struct Replayed {
    #[schema(value_type = shapes::EventUuid)]
    event_uuid: EventId,
    #[schema(example = false)]
    dry_run: bool,
    deliveries: Vec<NewDelivery>,
}

#[derive(Serialize, ToSchema)]
struct NewDelivery {
    #[schema(value_type = shapes::DeliveryId)]
    id: String,
    #[schema(value_type = shapes::SubscriptionId)]
    subscription_id: SubscriptionId,
}

/// Delivers an event once more
///
/// To the subscription that is named, whatever it wants, or to all that want it as they are now. The `webhook-id` is
/// the same as ever, and no order is kept.
#[utoipa::path(
    post, path = "/v1/events/{uuid}/replay", operation_id = "replayEvent", request_body = Option<Replay>,
    responses(
        (status = 200, description = "A dry run, or there is nobody to deliver to.", body = Replayed),
        (status = 202, description = "The deliveries are under way.", body = Replayed),
        (status = 409, description = "The event is about to be removed."),
    ),
)]
pub async fn replay(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    uuid: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let wanted: Replay = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    let id = Uuid::parse_str(&uuid).map(EventId);
    let id = id.map_err(|_| ApiError::NotFound("Event"))?;
    let found = search::find(&relay, who.clone(), id).await?;
    let targets: Vec<SubscriptionId> = {
        let directory = relay.directory.view().read();
        match &wanted.subscription_id {
            Some(id) => vec![owned::find::<Subscription>(&directory, &who, id)?.id],
            None => wanting(&directory, &who, &found),
        }
    };
    let leaving = || ApiError::Conflict("The event is about to be removed".to_owned());
    let hold = relay.log.hold_for(found.at.position).ok_or_else(leaving)?;
    let known = of_event(&relay.dispatch, &relay.log, id, found.place).await?;
    let at_ms = now_ms();
    let steered: Vec<Steered> = targets
        .into_iter()
        .map(|subscription| Steered {
            delivery: DeliveryId {
                event: id,
                subscription,
                generation: next_generation(&known, subscription),
            },
            place: found.place,
            at_ms,
            steer: Steer::Replay(found.at),
        })
        .collect();
    let replayed = Replayed {
        event_uuid: id,
        dry_run: wanted.dry_run,
        deliveries: steered.iter().map(NewDelivery::of).collect(),
    };
    if wanted.dry_run || steered.is_empty() {
        return Ok(HttpResponse::Ok().json(replayed));
    }
    let change = Change::Steered(steered.into());
    steer(&relay, who, Action::EventReplayed, change).await?;
    // What is held could otherwise be removed before it is known to be needed.
    relay.dispatch.caught_up(&relay.log).await?;
    drop(hold);
    Ok(HttpResponse::Accepted().json(replayed))
}

/// The subscriptions that the caller may see and that want an event as they are now.
fn wanting(
    directory: &Directory,
    who: &Principal,
    found: &search::FoundEvent,
) -> Vec<SubscriptionId> {
    let mut body = Body::of(&found.event);
    let visible = directory
        .subscriptions()
        .filter(|it| it.account == who.account() && who.reaches(it.integration));
    let wanting = visible.filter(|it| it.may_want(&found.event.meta) && it.filter_wants(&mut body));
    wanting.map(|it| it.id).collect()
}

impl NewDelivery {
    fn of(steered: &Steered) -> Self {
        Self {
            id: steered.delivery.to_string(),
            subscription_id: steered.delivery.subscription,
        }
    }
}
