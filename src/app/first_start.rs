//! The first start: a store without an account gets one, and a key that may do everything.

use secrecy::{ExposeSecret, SecretString};

use super::AppError;
use crate::actors::directory::{ChangeError, DirectoryHandle};
use crate::actors::now_ms;
use crate::domain::api_key::{self, Environment, KeyHash};
use crate::domain::audit::{Action, Deed, Doer};
use crate::domain::directory::{Account, Change, KeyRecord};
use crate::domain::ids::{AccountId, KeyId};

/// Makes the first account and its owner's key, unless there is an account. Returns the key if it was
/// made here.
pub async fn first_start(
    directory: &DirectoryHandle,
    bootstrap_key: Option<SecretString>,
) -> Result<Option<SecretString>, AppError> {
    if directory.view().read().accounts().next().is_some() {
        return Ok(None);
    }
    let given = bootstrap_key.is_some();
    let key = match bootstrap_key {
        Some(key) => key,
        None => api_key::generate(Environment::Live, getrandom::fill)?,
    };
    let created_at_ms = now_ms();
    let account = Account {
        id: AccountId::from_random(getrandom::u64()?),
        name: "default".to_owned(),
        suspended: false,
        created_at_ms,
    };
    let hash = KeyHash::of(key.expose_secret());
    let id = KeyId::from_random(getrandom::u64()?);
    let record = KeyRecord {
        environment: api_key::check_form(key.expose_secret())?,
        ..KeyRecord::new(id, account.id, "owner".to_owned(), hash, created_at_ms)
    };
    let deed = Deed {
        at_ms: created_at_ms,
        account: account.id,
        by: Doer::Relay,
        action: Action::AccountCreated,
        target: account.id.to_string(),
    };
    let changes = vec![
        Change::PutAccount(account.into()),
        Change::PutKey(record.into()),
        Change::Audited(deed.into()),
    ];
    let made: Result<(), ChangeError<std::convert::Infallible>> =
        directory.change(|_| Ok((changes, ()))).await;
    made.map_err(|error| AppError::FirstStart(error.to_string()))?;
    Ok((!given).then_some(key))
}
