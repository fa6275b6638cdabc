//! Steps through deliveries that are not settled for good: to retry them, or to give them up.

use std::sync::Arc;

use super::{Parts, Step, StepError};
use crate::actors::now_ms;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::directory::{Change, Steer, Steered};
use crate::domain::ids::SubscriptionId;
use crate::domain::task::{Cursor, Selection, Task, Work};
use crate::store::error::StoreError;
use crate::store::ledger::backlog::Entry;
use crate::store::log::Log;
use crate::store::state::rows::Slot;

/// Pages of the backlog that one step goes through: a few hundred deliveries.
const STEP_PAGES: usize = 2;

pub(super) async fn step(parts: &Parts, task: &Task) -> Result<Step, StepError> {
    let mut task = task.clone();
    let among = among(parts, &task);
    if task.cursor == Cursor::Start {
        task.total = parts.dispatch.count_open(among.clone()).await?;
    }
    let Some((subscription, entries)) = next(parts, &among, task.cursor).await? else {
        return Ok(Step::last(task));
    };
    task.examined += entries.len() as u64;
    task.done = task.examined;
    if let Some(last) = entries.last() {
        task.cursor = Cursor::Delivery {
            subscription,
            place: last.slot.place,
            generation: last.slot.generation,
        };
    }
    let wanted = |entry: &Entry| {
        entry.slot.place.position < task.log_end && task.is_for(entry.delivery.status())
    };
    let wanted: Vec<Entry> = entries.into_iter().filter(wanted).collect();
    let selected = select(parts, &task.selection, wanted).await?;
    task.affected += selected.len() as u64;
    let mut changes = Vec::new();
    if !task.dry_run && !selected.is_empty() {
        changes.push(change(task.work, subscription, &selected));
    }
    Ok(Step {
        task,
        changes,
        hold: None,
    })
}

/// The subscriptions whose deliveries are meant, by id.
fn among(parts: &Parts, task: &Task) -> Vec<SubscriptionId> {
    let directory = parts.directory.view().read();
    let own = directory
        .subscriptions()
        .filter(|it| it.account == task.account);
    let only = task.selection.subscription;
    let own = own.map(|it| it.id);
    own.filter(|id| only.is_none_or(|only| only == *id))
        .collect()
}

/// The next deliveries to be looked at, and whose they are.
async fn next(
    parts: &Parts,
    among: &[SubscriptionId],
    cursor: Cursor,
) -> Result<Option<(SubscriptionId, Vec<Entry>)>, StepError> {
    let at = match cursor {
        Cursor::Delivery {
            subscription,
            place,
            generation,
        } => Some((subscription, Slot::of(place, generation))),
        Cursor::Start | Cursor::Log(_) => None,
    };
    let first = at.map_or(0, |(at, _)| among.partition_point(|id| *id < at));
    for &subscription in &among[first..] {
        let after = at.filter(|(at, _)| *at == subscription);
        let after = after.map(|(_, slot)| slot);
        let entries = parts
            .dispatch
            .open_some(subscription, after, STEP_PAGES)
            .await?;
        if !entries.is_empty() {
            return Ok(Some((subscription, entries)));
        }
    }
    Ok(None)
}

/// Those whose event is meant. The event is read only if something is asked of it.
async fn select(
    parts: &Parts,
    selection: &Selection,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, StepError> {
    if selection.is_for_any_event() {
        return Ok(entries);
    }
    let (log, selection) = (Arc::clone(&parts.log), selection.clone());
    let selected = tokio::task::spawn_blocking(move || held(&log, &selection, entries));
    Ok(selected.await??)
}

fn held(log: &Log, selection: &Selection, entries: Vec<Entry>) -> Result<Vec<Entry>, StoreError> {
    let mut selected = Vec::new();
    for entry in entries {
        let event = log.event(entry.at)?;
        if event.is_some_and(|event| selection.holds(&event.meta)) {
            selected.push(entry);
        }
    }
    Ok(selected)
}

fn change(work: Work, subscription: SubscriptionId, selected: &[Entry]) -> Change {
    let at_ms = now_ms();
    if work == Work::Cancel {
        let cancelled = selected.iter().map(|entry| {
            let (id, place) = (entry.id(subscription), entry.slot.place);
            let number = entry.delivery.attempts;
            Attempt::unmade(id, place, number, Outcome::Cancelled, at_ms, None)
        });
        return Change::Cancelled(cancelled.collect());
    }
    let steered = selected.iter().map(|entry| Steered {
        delivery: entry.id(subscription),
        place: entry.slot.place,
        at_ms,
        steer: Steer::Retry,
    });
    Change::Steered(steered.collect())
}
