//! `/local/accounts`: whose relay it is. The local operator's alone.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::{Answer, Relay, body, keys};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::api_key::{self, Environment, KeyHash};
use crate::domain::audit::Action;
use crate::domain::directory::{Account, Change, Directory, KeyRecord, MAX_ACCOUNTS};
use crate::domain::ids::{AccountId, KeyId};
use crate::domain::time;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
}

#[derive(Serialize)]
struct AccountView {
    id: AccountId,
    name: String,
    suspended: bool,
    created_at: String,
}

#[derive(Serialize)]
struct NewAccount {
    #[serde(flatten)]
    view: AccountView,
    key: String,
}

#[derive(Serialize)]
struct Accounts {
    accounts: Vec<AccountView>,
}

impl AccountView {
    fn of(account: &Account) -> Self {
        Self {
            id: account.id,
            name: account.name.clone(),
            suspended: account.suspended,
            created_at: time::rfc3339(account.created_at_ms),
        }
    }
}

/// Makes an account, and an owner's key for it, which is shown once.
pub async fn create(request: HttpRequest, relay: Data<Relay>, payload: Payload) -> Answer {
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let created_at_ms = now_ms();
    let account = Arc::new(Account {
        id: AccountId::from_random(getrandom::u64()?),
        name: keys::name(&create.name)?,
        suspended: false,
        created_at_ms,
    });
    let key = api_key::generate(Environment::Live, getrandom::fill)?;
    let hash = KeyHash::of(key.expose_secret());
    let id = KeyId::from_random(getrandom::u64()?);
    let record = KeyRecord::new(id, account.id, "owner".to_owned(), hash, created_at_ms);
    let new = Arc::clone(&account);
    let who = Principal::LocalOperator(account.id);
    relay
        .change(who, Action::AccountCreated, move |directory, _| {
            if directory.accounts().count() >= MAX_ACCOUNTS {
                let message = format!("A relay has room for {MAX_ACCOUNTS} accounts");
                return Err(ApiError::Conflict(message));
            }
            let taken = directory.account(new.id).is_some() || directory.key(record.id).is_some();
            if taken {
                return Err(ApiError::Conflict("The id is taken; try again".to_owned()));
            }
            let changes = vec![Change::PutAccount(new), Change::PutKey(record.into())];
            Ok((changes, ()))
        })
        .await?;
    Ok(HttpResponse::Created().json(NewAccount {
        view: AccountView::of(&account),
        key: key.expose_secret().to_owned(),
    }))
}

/// Lists all accounts, the oldest first: there are few.
pub async fn list(relay: Data<Relay>) -> Answer {
    let directory = relay.directory.view().read();
    let mut accounts: Vec<&Arc<Account>> = directory.accounts().collect();
    accounts.sort_by_key(|account| (account.created_at_ms, account.id.to_bits()));
    let accounts = accounts.iter().map(|it| AccountView::of(it)).collect();
    Ok(HttpResponse::Ok().json(Accounts { accounts }))
}

/// Closes an account: its keys open nothing and nothing is sent for it, but everything is kept.
pub async fn suspend(relay: Data<Relay>, id: Path<String>) -> Answer {
    set_suspended(&relay, &id, true).await
}

/// Opens a suspended account again. What has waited is sent.
pub async fn resume(relay: Data<Relay>, id: Path<String>) -> Answer {
    set_suspended(&relay, &id, false).await
}

async fn set_suspended(relay: &Relay, id: &str, suspended: bool) -> Answer {
    let id = known(&relay.directory.view().read(), id)?.id;
    let action = if suspended {
        Action::AccountSuspended
    } else {
        Action::AccountResumed
    };
    let changed = relay.change(Principal::LocalOperator(id), action, move |directory, _| {
        let account = directory.account(id).ok_or(ApiError::NotFound("Account"))?;
        let changed = Arc::new(Account {
            suspended,
            ..Account::clone(account)
        });
        Ok((vec![Change::PutAccount(Arc::clone(&changed))], changed))
    });
    Ok(HttpResponse::Ok().json(AccountView::of(&*changed.await?)))
}

/// Deletes an account with everything that it owns. The last one stays: a relay without any would take
/// its next start for its first.
pub async fn delete(relay: Data<Relay>, id: Path<String>) -> Answer {
    let id = known(&relay.directory.view().read(), &id)?.id;
    let who = Principal::LocalOperator(id);
    let deleted = relay.change(who, Action::AccountDeleted, move |directory, _| {
        if directory.accounts().count() <= 1 {
            let message = "It is the only account; make another one first";
            return Err(ApiError::Conflict(message.to_owned()));
        }
        directory.account(id).ok_or(ApiError::NotFound("Account"))?;
        Ok((vec![Change::DeleteAccount(id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The account of this id.
pub fn known(directory: &Directory, id: &str) -> Result<Arc<Account>, ApiError> {
    let id = id.parse().ok();
    let found = id.and_then(|id| directory.account(id)).cloned();
    found.ok_or(ApiError::NotFound("Account"))
}
