//! The relay pauses a subscription by itself: its receiver is gone, or has failed for too long.
//!
//! Shared, not an actor: whoever finds that out has it done. What waits, waits until somebody resumes it;
//! nothing is dropped.

use std::sync::Arc;

use super::directory::DirectoryHandle;
use super::now_ms;
use crate::domain::audit::{Action, Deed, Doer};
use crate::domain::directory::{Change, Subscription, SubscriptionStatus};
use crate::domain::ids::SubscriptionId;

/// Pauses a subscription that is active. One that cannot be paused now is found out again with the next
/// attempt that fails.
pub async fn pause(directory: &DirectoryHandle, id: SubscriptionId, reason: String) {
    let told = reason.clone();
    let paused = directory.change(move |directory| {
        let active = directory
            .subscription(id)
            .filter(|it| it.status == SubscriptionStatus::Active);
        let Some(active) = active else {
            return Ok::<_, ()>((Vec::new(), false));
        };
        let paused = Change::PutSubscription(Arc::new(Subscription {
            status: SubscriptionStatus::Paused { reason },
            ..Subscription::clone(active)
        }));
        let deed = Deed {
            at_ms: now_ms(),
            account: active.account,
            by: Doer::Relay,
            action: Action::SubscriptionPaused,
            target: paused.target(),
        };
        Ok((vec![paused, Change::Audited(deed.into())], true))
    });
    match paused.await {
        Ok(true) => log::warn!(subscription:% = id; "paused: {told}"),
        Ok(false) => {}
        Err(error) => log::warn!(subscription:% = id; "could not be paused: {error:?}"),
    }
}
