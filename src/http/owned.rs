//! What an account owns: who may see it, and how it is found and listed.
//!
//! One place decides what is visible, so that nothing of another account ever shows: a record that the
//! caller may not see is not found, whatever it is.

use std::str::FromStr;
use std::sync::Arc;

use super::Relay;
use super::error::ApiError;
use super::page::{self, PageQuery};
use crate::actors::auth::Principal;
use crate::domain::directory::{
    Directory, Integration, KeyRecord, MAX_INTEGRATIONS, MAX_KEYS, MAX_SUBSCRIPTIONS, Subscription,
};
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId, TaskId};
use crate::domain::task::{MAX_TASKS, Task};

/// A kind of record that accounts own.
pub trait Owned: Sized {
    /// Names a record.
    type Id: FromStr + Copy;
    /// What one is called in an error.
    const NAME: &'static str;
    /// How many an account may have.
    const MAX: usize;

    /// All of every account.
    fn all<'a>(directory: &'a Directory) -> impl Iterator<Item = &'a Arc<Self>>
    where
        Self: 'a;
    /// The one of this id, whoever owns it.
    fn get(directory: &Directory, id: Self::Id) -> Option<&Arc<Self>>;
    /// Its id.
    fn id(&self) -> Self::Id;
    /// Who owns it.
    fn account(&self) -> AccountId;
    /// The integration it belongs to, if it is one's alone.
    fn integration(&self) -> Option<IntegrationId>;
    /// When it was made, and its id as a number: the order of lists.
    fn made(&self) -> [u64; 2];
}

macro_rules! owned {
    ($record:ty, $id:ty, $name:literal, $max:expr, $all:ident, $get:ident, $integration:expr) => {
        impl Owned for $record {
            type Id = $id;
            const NAME: &'static str = $name;
            const MAX: usize = $max;

            fn all<'a>(directory: &'a Directory) -> impl Iterator<Item = &'a Arc<Self>>
            where
                Self: 'a,
            {
                directory.$all()
            }

            fn get(directory: &Directory, id: $id) -> Option<&Arc<Self>> {
                directory.$get(id)
            }

            fn id(&self) -> $id {
                self.id
            }

            fn account(&self) -> AccountId {
                self.account
            }

            fn integration(&self) -> Option<IntegrationId> {
                let integration: fn(&Self) -> Option<IntegrationId> = $integration;
                integration(self)
            }

            fn made(&self) -> [u64; 2] {
                [self.created_at_ms, self.id.to_bits()]
            }
        }
    };
}

owned!(KeyRecord, KeyId, "API key", MAX_KEYS, keys, key, |it| it
    .integration);
owned!(
    Integration,
    IntegrationId,
    "Integration",
    MAX_INTEGRATIONS,
    integrations,
    integration,
    |it| Some(it.id)
);
owned!(
    Subscription,
    SubscriptionId,
    "Subscription",
    MAX_SUBSCRIPTIONS,
    subscriptions,
    subscription,
    |it| it.integration
);

owned!(Task, TaskId, "Task", MAX_TASKS, tasks, task, |it| it
    .selection
    .integration);

fn visible<T: Owned>(who: &Principal, record: &T) -> bool {
    record.account() == who.account() && who.reaches(record.integration())
}

/// The record of this id, if the caller may see it.
pub fn find<T: Owned>(
    directory: &Directory,
    who: &Principal,
    id: &str,
) -> Result<Arc<T>, ApiError> {
    let id = id.parse().ok();
    let found = id
        .and_then(|id| T::get(directory, id))
        .filter(|record| visible(who, record.as_ref()));
    found.cloned().ok_or(ApiError::NotFound(T::NAME))
}

/// A page of the records that the caller may see, in the order in which they were made.
pub fn list<T: Owned>(
    relay: &Relay,
    who: &Principal,
    query: &PageQuery,
) -> Result<(Vec<Arc<T>>, Option<String>), ApiError> {
    let all: Vec<Arc<T>> = {
        let directory = relay.directory.view().read();
        T::all(&directory)
            .filter(|record| visible(who, record.as_ref()))
            .cloned()
            .collect()
    };
    let account = who.account();
    let after = query.cursor(&relay.cursors, account)?;
    let (records, end) = page::cut(all, query.limit(), after, |record| record.made());
    let next = end
        .map(|end| relay.cursors.seal(account, &end))
        .transpose()?;
    Ok((records, next))
}

/// Whether a new record may join the directory: its id is free, its account has room for it, and the
/// integration that it names is the account's own.
pub fn admit<T: Owned>(
    directory: &Directory,
    new: &T,
    integration: Option<IntegrationId>,
) -> Result<(), ApiError> {
    let named = integration.map(|id| directory.integration(id));
    if named.is_some_and(|found| found.is_none_or(|found| found.account != new.account())) {
        return Err(ApiError::NotFound(Integration::NAME));
    }
    if T::get(directory, new.id()).is_some() {
        return Err(ApiError::Conflict("The id is taken; try again".to_owned()));
    }
    if T::all(directory)
        .filter(|other| other.account() == new.account())
        .count()
        >= T::MAX
    {
        let (max, name) = (T::MAX, T::NAME);
        return Err(ApiError::Conflict(format!(
            "An account has room for {max} of: {name}"
        )));
    }
    Ok(())
}
