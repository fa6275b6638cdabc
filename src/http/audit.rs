//! `/v1/account/audit`: what was done to the account, by whom, and when.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::{Answer, Relay, body};
use crate::domain::audit::Deed;
use crate::domain::permission::Permission;
use crate::domain::time;

#[derive(Serialize)]
struct DeedView {
    at: String,
    action: &'static str,
    target: String,
    by: String,
}

#[derive(Serialize)]
struct Deeds {
    entries: Vec<DeedView>,
    next_cursor: Option<String>,
}

impl From<Deed> for DeedView {
    fn from(deed: Deed) -> Self {
        Self {
            at: time::rfc3339(deed.at_ms),
            action: deed.action.name(),
            target: deed.target,
            by: deed.by.to_string(),
        }
    }
}

/// Lists what was done, the latest first.
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    // It tells of the whole account.
    if who.bound_to().is_some() {
        return Err(ApiError::Forbidden.into());
    }
    let query: PageQuery = body::query(&request)?;
    let account = who.account();
    let before = query.cursor::<1>(&relay.cursors, account)?.map(|[it]| it);
    let limit = query.limit()?;
    let mut deeds = relay.dispatch.deeds(account, before, limit + 1).await?;
    let next_cursor = if deeds.len() > limit {
        deeds.truncate(limit);
        let last = deeds.last().map_or(0, |(number, _)| *number);
        Some(relay.cursors.seal(account, &[last])?)
    } else {
        None
    };
    let entries = deeds.into_iter().map(|(_, deed)| deed.into()).collect();
    Ok(HttpResponse::Ok().json(Deeds {
        entries,
        next_cursor,
    }))
}
