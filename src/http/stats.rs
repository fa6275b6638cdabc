//! `GET /v1/stats`: an account's own numbers, and how its subscriptions stand.
//!
//! Counts begin with the relay's start. A key that is bound to an integration is refused: what is counted is
//! the whole account's.

use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::owned::{self, Owned as _};
use super::page::PageQuery;
use super::{Answer, Relay, body};
use crate::actors::metrics::account::{AccountNumbers, Paced, Spread};
use crate::actors::now_ms;
use crate::domain::directory::Subscription;
use crate::domain::ids::SubscriptionId;
use crate::domain::permission::Permission;
use crate::domain::time;
use crate::store::ledger::backlog::Counts;

#[derive(Serialize, ToSchema)]
struct Stats {
    /// When counting began.
    #[schema(value_type = shapes::Time)]
    since: String,
    events_accepted: Count,
    attempts: Count,
    deliveries_delivered: Count,
    deliveries_dead: Count,
    /// From acceptance to the 2xx.
    delivery_ms: Percentiles,
    attempt_ms: Percentiles,
    backlog: Backlog,
    subscriptions: Vec<Standing>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Count {
    /// Since the relay's start.
    #[schema(example = 120_000)]
    total: u64,
    #[schema(example = 90)]
    last_minute: u64,
    /// Over the last minute.
    #[schema(example = 1.5)]
    per_second: f64,
}

#[derive(Serialize, ToSchema)]
struct Percentiles {
    /// Half of them took no longer; `null` where there were none.
    #[schema(required, example = 40)]
    p50: Option<u64>,
    /// All but one in a hundred took no longer.
    #[schema(required, example = 250)]
    p99: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Backlog {
    #[schema(example = 3)]
    pending: usize,
    #[schema(example = 1)]
    retrying: usize,
    #[schema(example = 0)]
    dead: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SubscriptionStats)]
struct Standing {
    #[schema(value_type = shapes::SubscriptionId)]
    id: SubscriptionId,
    #[schema(value_type = shapes::SubscriptionStatus)]
    status: &'static str,
    /// Its receiver fails, and gets one attempt now and then.
    #[schema(example = false)]
    probing: bool,
    backlog: Backlog,
}

/// The account's own numbers, and how its subscriptions stand
///
/// Counts begin with the relay's start; the backlog is as it is. The subscriptions come in pages. A key that is bound
/// to an integration is refused: what is counted is the whole account's.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "showStats", params(PageQuery),
    responses((status = 200, description = "The numbers, and a page of subscriptions.", body = Stats)),
)]
pub async fn show(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::MetricsRead)?;
    if who.bound_to().is_some() {
        return Err(ApiError::Forbidden.into());
    }
    let query: PageQuery = body::query(&request)?;
    let (page, next_cursor) = owned::list::<Subscription>(&relay, &who, &query)?;
    let all = {
        let directory = relay.directory.view().read();
        let own = directory.subscriptions();
        let own = own.filter(|it| it.account() == who.account());
        own.map(|it| it.id).collect()
    };
    let some = page.iter().map(|it| it.id).collect();
    let (counts, sum) = relay.dispatch.counts(some, all).await?;
    let numbers = relay.metrics.accounts().of(who.account());
    let subscriptions = page.iter().zip(counts);
    let subscriptions = subscriptions.map(|(it, counts)| Standing::of(it, counts, &relay));
    Ok(HttpResponse::Ok().json(Stats {
        subscriptions: subscriptions.collect(),
        next_cursor,
        backlog: sum.into(),
        ..Stats::of(&numbers, relay.metrics.since_ms())
    }))
}

impl Stats {
    /// The numbers, without how anything stands.
    fn of(numbers: &AccountNumbers, since_ms: u64) -> Self {
        let now_ms = now_ms();
        let count = |counted: &Paced| Count::of(counted, now_ms);
        Self {
            since: time::rfc3339(since_ms),
            events_accepted: count(&numbers.accepted),
            attempts: count(&numbers.attempts),
            deliveries_delivered: count(&numbers.delivered),
            deliveries_dead: count(&numbers.dead),
            delivery_ms: Percentiles::of(&numbers.delivery),
            attempt_ms: Percentiles::of(&numbers.attempt),
            backlog: Counts::default().into(),
            subscriptions: Vec::new(),
            next_cursor: None,
        }
    }
}

impl Count {
    fn of(counted: &Paced, now_ms: u64) -> Self {
        let last_minute = counted.last_minute(now_ms);
        #[allow(clippy::cast_precision_loss)] // Nothing here counts that far in a minute.
        let per_second = last_minute as f64 / 60.0;
        Self {
            total: counted.total(),
            last_minute,
            per_second: (per_second * 1000.0).round() / 1000.0,
        }
    }
}

impl Percentiles {
    fn of(spread: &Spread) -> Self {
        Self {
            p50: spread.percentile_ms(50),
            p99: spread.percentile_ms(99),
        }
    }
}

impl From<Counts> for Backlog {
    fn from(counts: Counts) -> Self {
        Self {
            pending: counts.waiting,
            retrying: counts.retrying,
            dead: counts.dead,
        }
    }
}

impl Standing {
    fn of(subscription: &Arc<Subscription>, counts: Counts, relay: &Relay) -> Self {
        Self {
            id: subscription.id,
            status: subscription.status.name(),
            probing: relay.probed.contains(&subscription.id),
            backlog: counts.into(),
        }
    }
}
