//! Making an attempt: its event is read, the subscription looked at once more, and the request sent.
//!
//! It never decides when: that is the lane's work. No attempt begins after a deletion, a pause or a
//! suspension was answered.

use std::time::Duration;

use super::Shared;
use super::turns::Turns;
use crate::actors::Unavailable;
use crate::actors::attempt::{Target, attempt, cancelled, not_attempted};
use crate::actors::dispatch::{DispatchError, DispatchHandle};
use crate::actors::listeners::Carrier;
use crate::domain::delivery::{Attempt, Verdict};
use crate::domain::directory::SubscriptionStatus;
use crate::domain::event::Place;
use crate::domain::ids::SubscriptionId;
use crate::domain::retry::Schedule;
use crate::store::ledger::Todo;
use crate::store::state::rows::Slot;

/// How often the dispatcher is asked again where an event is, and after which wait.
const MAX_ASKS: u32 = 100;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Makes an attempt. `None` when there is to be none for now.
pub(super) async fn make(
    shared: &Shared,
    dispatch: &DispatchHandle,
    carrier: &Carrier,
    target: &Target,
    todo: Todo,
    schedule: &Schedule,
    turns: &Turns,
) -> Option<(Attempt, Verdict)> {
    let turn = turns.next().await;
    let event = match shared.reads.event(&shared.log, todo.at).await {
        // Retention may have moved it since the delivery was offered.
        None => match place_of(dispatch, target.subscription.id, todo.slot).await {
            Ok(None) => return Some(cancelled(target, todo)),
            Ok(Some(at)) => shared.reads.event(&shared.log, at).await,
            Err(_) => None,
        },
        event => event,
    };
    // Waiting and reading may have taken a while: no attempt begins after a deletion or a pause was answered.
    let view = shared.directory.view();
    let Some(current) = view.subscription(target.subscription.id) else {
        return Some(cancelled(target, todo));
    };
    let is_active = current.status == SubscriptionStatus::Active && carrier.reaches(&current);
    if !is_active || view.is_suspended(current.account) {
        return None;
    }
    let Some(event) = event else {
        return Some(not_attempted(target, todo, "event_unreadable", schedule));
    };
    let timeout = shared.defaults.timeout;
    let attempt = attempt(carrier, target, &event, todo, schedule, timeout);
    Some(turn.take(attempt).await)
}

/// Where an open delivery's event stands now. A dispatcher that is busy is asked again, within bounds:
/// it would be a pity to spend an attempt on that.
async fn place_of(
    dispatch: &DispatchHandle,
    subscription: SubscriptionId,
    slot: Slot,
) -> Result<Option<Place>, DispatchError> {
    let mut tries = MAX_ASKS;
    loop {
        match dispatch.place_of(subscription, slot).await {
            Err(DispatchError::Unavailable(Unavailable::Busy)) if tries > 0 => {
                tries -= 1;
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            answer => return answer,
        }
    }
}
