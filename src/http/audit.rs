//! `/v1/account/audit`: what was done to the account, by whom, and when.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::page::PageQuery;
use super::{Answer, Relay, body};
use crate::domain::audit::Deed;
use crate::domain::permission::Permission;
use crate::domain::time;

#[derive(Serialize, ToSchema)]
#[schema(as = Deed)]
struct DeedView {
    #[schema(value_type = shapes::Time)]
    at: String,
    /// What it was done to, a dot, and what was done.
    #[schema(example = "subscription.created")]
    action: &'static str,
    /// The id of what it was done to.
    #[schema(example = "sub_8Yx9Kj2Mn")]
    target: String,
    /// A key's id, `operator` or `relay`.
    #[schema(example = "key_6Vw4Ig8Kl")]
    by: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
struct Deeds {
    entries: Vec<DeedView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
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

/// What was done to the account, by whom, and when
///
/// The latest first. A key that is bound to an integration is refused: this tells of the whole account.
#[utoipa::path(
    get, path = "/v1/account/audit", operation_id = "listAudit", params(PageQuery),
    responses((status = 200, description = "A page of what was done.", body = Deeds)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    // It tells of the whole account.
    if who.bound_to().is_some() {
        return Err(ApiError::Forbidden.into());
    }
    let query: PageQuery = body::query(&request)?;
    let account = who.account();
    let before = query.cursor::<1>(&relay.cursors, account)?.map(|[it]| it);
    let limit = query.limit();
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
