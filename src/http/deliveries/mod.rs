//! `/v1/deliveries`: how each event fared with each subscription.
//!
//! What is not settled for good the dispatcher knows; what was attempted stands in the journal. Lists
//! show the deliveries of the newest event first, and look at a bounded number of events or
//! deliveries, so a page may be shorter than its limit while there is more to come.

mod view;

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

pub use self::view::{AttemptView, DeliveryView, ListedDelivery};
use self::view::{Deliveries, Query};
use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::search::{self, Wanted};
use super::{Answer, Relay, blocking, body};
use crate::actors::auth::Principal;
use crate::actors::deliveries::{self, Known};
use crate::domain::delivery::Status;
use crate::domain::event::Place;
use crate::domain::event_type::EventType;
use crate::domain::ids::{DeliveryId, EventId, SubscriptionId};
use crate::domain::permission::Permission;
use crate::store::ledger::backlog as open;
use crate::store::state::rows::Slot;

/// Events that one page may look at.
const MAX_PAGE_EVENTS: usize = 200;
/// Open deliveries that one page may look at.
const MAX_PAGE_OPEN: usize = 1000;

/// Every delivery of an event, by subscription.
pub async fn of_event(
    relay: &Relay,
    id: EventId,
    place: Place,
) -> Result<Vec<DeliveryView>, ApiError> {
    let known = deliveries::of_event(&relay.dispatch, &relay.log, id, place).await?;
    let view = relay.directory.view();
    let deliveries = known.iter().map(|known| {
        let subscription = view.subscription(known.id.subscription);
        DeliveryView::of(known, subscription.as_deref())
    });
    Ok(deliveries.collect())
}

/// Lists deliveries
///
/// Those of the newest event first. A page looks at a bounded number of events or deliveries, so it may be
/// shorter than its limit, or empty, while there is more to come: go on as long as there is a `next_cursor`.
#[utoipa::path(
    get, path = "/v1/deliveries", operation_id = "listDeliveries", params(Query),
    responses((status = 200, description = "A page of deliveries.", body = Deliveries)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let query: Query = body::query(&request)?;
    let subscription = query.subscription_id.as_deref().map(str::parse).transpose();
    let subscription =
        subscription.map_err(|error| ApiError::Invalid(format!("subscription_id: {error}")))?;
    let account = who.account();
    let wanted = Wanted::parse(
        who,
        ("event_type", query.event_type.as_deref()),
        None,
        query.since.as_deref(),
        query.until.as_deref(),
    )?;
    let page = PageQuery::new(query.limit, query.cursor);
    let search = Search {
        relay: &relay,
        wanted,
        status: query.status,
        subscription,
        before: page.cursor(&relay.cursors, account)?.map(Mark::read),
        limit: page.limit(),
    };
    let (deliveries, next) = match query.status {
        Some(Status::Pending | Status::Retrying | Status::Dead) => search.open().await?,
        _ => search.all().await?,
    };
    let next_cursor = next
        .map(|mark| relay.cursors.seal(account, &mark.write()))
        .transpose()?;
    Ok(HttpResponse::Ok().json(Deliveries {
        deliveries,
        next_cursor,
    }))
}

/// The last delivery that a page looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    place: Place,
    subscription: SubscriptionId,
    generation: u16,
}

impl Mark {
    fn read([position, index, subscription, generation]: [u64; 4]) -> Self {
        Self {
            place: Place {
                position,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            },
            subscription: SubscriptionId::from_bits(subscription),
            generation: u16::try_from(generation).unwrap_or(u16::MAX),
        }
    }

    fn write(self) -> [u64; 4] {
        let Place { position, index } = self.place;
        let (subscription, generation) = (self.subscription.to_bits(), u64::from(self.generation));
        [position, u64::from(index), subscription, generation]
    }

    fn at(place: Place, id: &DeliveryId) -> Self {
        Self {
            place,
            subscription: id.subscription,
            generation: id.generation,
        }
    }
}

struct Search<'a> {
    relay: &'a Relay,
    wanted: Wanted,
    status: Option<Status>,
    subscription: Option<SubscriptionId>,
    before: Option<Mark>,
    limit: usize,
}

type Page = (Vec<ListedDelivery>, Option<Mark>);

impl Search<'_> {
    /// Goes through what is not settled for good.
    async fn open(self) -> Result<Page, ApiError> {
        let before = self.before.map(|mark| {
            (
                mark.subscription,
                Slot {
                    place: mark.place,
                    generation: mark.generation,
                },
            )
        });
        let mut among = search::subscriptions(self.relay, self.wanted.account());
        among.retain(|id| self.subscription.is_none_or(|only| only == *id));
        let status = match self.status {
            Some(Status::Dead) => Some(open::Status::Dead),
            // A first attempt that is due later is pending too.
            _ => None,
        };
        let open = self
            .relay
            .dispatch
            .open_before(among, status, before, MAX_PAGE_OPEN)
            .await?;
        let mut next = None;
        let more = open.len() == MAX_PAGE_OPEN;
        let mut page = Vec::new();
        for (subscription, entry) in open {
            if page.len() == self.limit {
                return Ok((page, next));
            }
            let (place, generation) = (entry.slot.place, entry.slot.generation);
            next = Some(Mark {
                place,
                subscription,
                generation,
            });
            let log = Arc::clone(&self.relay.log);
            let Some(event) = blocking(move || log.event(entry.at)).await? else {
                continue;
            };
            if !self.wanted.holds(&event.meta) {
                continue;
            }
            let id = DeliveryId {
                event: entry.delivery.event,
                subscription,
                generation,
            };
            let all = of_event(self.relay, id.event, place).await?;
            let found = all.into_iter().find(|it| it.id == id.to_string());
            let found = found.filter(|it| self.status.is_none_or(|only| only == it.status));
            page.extend(found.map(|delivery| ListedDelivery {
                delivery,
                event: event.meta.event_type,
            }));
        }
        Ok((page, next.filter(|_| more)))
    }

    /// Goes through events and all their deliveries.
    async fn all(self) -> Result<Page, ApiError> {
        let log = Arc::clone(&self.relay.log);
        let wanted = self.wanted.clone();
        // The event that the last page ended in may have more deliveries.
        let before = self.before.map(|mark| Place {
            index: mark.place.index.saturating_add(1),
            ..mark.place
        });
        let found =
            blocking(move || search::newest(&log, &wanted, before, MAX_PAGE_EVENTS)).await?;
        let mut page = Vec::new();
        let mut next = None;
        for (place, event) in found.events {
            for delivery in of_event(self.relay, event.meta.id, place)
                .await?
                .into_iter()
                .rev()
            {
                let Ok(id) = delivery.id.parse() else {
                    continue;
                };
                let mark = Mark::at(place, &id);
                let passed = self.before.is_some_and(|before| mark >= before);
                if passed
                    || self
                        .subscription
                        .is_some_and(|only| only != id.subscription)
                    || self.status.is_some_and(|only| only != delivery.status)
                {
                    continue;
                }
                if page.len() == self.limit {
                    return Ok((page, next));
                }
                page.push(ListedDelivery {
                    delivery,
                    event: event.meta.event_type.clone(),
                });
                next = Some(mark);
            }
        }
        let end = found.next.map(|place| Mark {
            place,
            subscription: SubscriptionId::from_bits(0),
            generation: 0,
        });
        Ok((page, end))
    }
}

/// A delivery that was found by its id.
pub struct Found {
    /// What is known of it.
    pub known: Known,
    event: EventType,
}

impl Found {
    /// As it is shown.
    pub fn view(&self, relay: &Relay) -> impl Serialize + use<> {
        let view = relay.directory.view();
        let subscription = view.subscription(self.known.id.subscription);
        ListedDelivery {
            delivery: DeliveryView::of(&self.known, subscription.as_deref()),
            event: self.event.clone(),
        }
    }
}

/// The delivery of this id, if the caller may see it.
pub async fn find(relay: &Relay, who: Principal, id: &str) -> Result<Found, ApiError> {
    let missing = || ApiError::NotFound("Delivery");
    let id: DeliveryId = id.parse().map_err(|_| missing())?;
    let found = search::find(relay, who, id.event).await;
    let found = found.map_err(|error| match error {
        ApiError::NotFound(_) => missing(),
        other => other,
    })?;
    let all = deliveries::of_event(&relay.dispatch, &relay.log, id.event, found.place).await?;
    let known = all.into_iter().find(|known| known.id == id);
    Ok(Found {
        known: known.ok_or_else(missing)?,
        event: found.event.meta.event_type,
    })
}

/// Shows a delivery and its attempts
///
/// A delivery is found as long as its event is kept.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", operation_id = "showDelivery",
    responses((status = 200, description = "The delivery.", body = ListedDelivery)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let found = find(&relay, who, &id).await?;
    Ok(HttpResponse::Ok().json(found.view(&relay)))
}
