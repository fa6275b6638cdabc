//! Steps through the log: events are delivered to a subscription once more.
//!
//! A subscription gets what it wants as it is now, and of that what was selected. Events that outlived
//! their segment are found where they were carried to.

use std::sync::Arc;

use super::{Parts, Step, StepError};
use crate::actors::deliveries::{self, next_generation};
use crate::actors::now_ms;
use crate::domain::directory::{Change, Steer, Steered, Subscription};
use crate::domain::event::{Event, Place};
use crate::domain::filter::Body;
use crate::domain::ids::{DeliveryId, SubscriptionId};
use crate::domain::task::{Cursor, Selection, Task};
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::log::{Log, LogRecord};

/// Events that one step delivers once more, about: a record is gone through as a whole.
const STEP_EVENTS: usize = 256;
/// Payload bytes that one step reads.
const STEP_BYTES: usize = 4 << 20;

/// An event, the place that it was accepted at, and where it stands.
type Found = (Event, Place, Place);

pub(super) async fn step(
    parts: &Parts,
    task: &Task,
    id: SubscriptionId,
) -> Result<Step, StepError> {
    let mut task = task.clone();
    let start = parts.log.start();
    let from = match task.cursor {
        Cursor::Log(position) => position.max(start),
        Cursor::Start | Cursor::Delivery { .. } => start,
    };
    if task.cursor == Cursor::Start {
        task.total = task.log_end.saturating_sub(from);
    }
    let subscription = parts.directory.view().subscription(id);
    let Some(subscription) = subscription.filter(|_| from < task.log_end) else {
        return Ok(Step::last(task));
    };
    // What is about to be removed cannot be delivered once more.
    let hold = parts.log.hold_for(from);
    let is_kept = hold.is_some();
    let (log, selection, end) = (Arc::clone(&parts.log), task.selection.clone(), task.log_end);
    let read =
        tokio::task::spawn_blocking(move || read(&log, &subscription, &selection, from, end));
    let read = read.await??;
    task.examined += read.examined;
    task.done = task
        .total
        .saturating_sub(task.log_end.saturating_sub(read.next));
    task.cursor = Cursor::Log(read.next);
    let mut steered = Vec::new();
    for (event, place, at) in read.found.into_iter().filter(|_| is_kept) {
        steered.extend(steer(parts, &task, id, &event, place, at).await?);
    }
    task.affected += steered.len() as u64;
    let mut changes = Vec::new();
    if !task.dry_run && !steered.is_empty() {
        changes.push(Change::Steered(steered.into()));
    }
    Ok(Step {
        task,
        changes,
        hold,
    })
}

/// The replay of an event, if it is meant: its deliveries may be asked about.
async fn steer(
    parts: &Parts,
    task: &Task,
    subscription: SubscriptionId,
    event: &Event,
    place: Place,
    at: Place,
) -> Result<Option<Steered>, StepError> {
    let id = event.meta.id;
    let known = deliveries::of_event(&parts.dispatch, &parts.log, id, place).await?;
    let mut own = known.iter().filter(|it| it.id.subscription == subscription);
    let is_meant = task.selection.status.is_none() || own.any(|it| task.is_for(it.status(true)));
    let steered = |generation| Steered {
        delivery: DeliveryId {
            event: id,
            subscription,
            generation,
        },
        place,
        at_ms: now_ms(),
        steer: Steer::Replay(at),
    };
    Ok(is_meant.then(|| steered(next_generation(&known, subscription))))
}

/// Part of the log.
struct Read {
    found: Vec<Found>,
    examined: u64,
    /// Everything before this was looked at.
    next: u64,
}

fn read(
    log: &Log,
    subscription: &Subscription,
    selection: &Selection,
    from: u64,
    end: u64,
) -> Result<Read, StoreError> {
    let mut read = Read {
        found: Vec::new(),
        examined: 0,
        next: from,
    };
    let mut bytes = 0;
    while read.next < end && read.found.len() < STEP_EVENTS && bytes < STEP_BYTES {
        let record = match log.next(read.next) {
            // Its segment went meanwhile; the next step begins after it.
            Err(StoreError::Gone { .. }) => {
                read.next = log.start();
                return Ok(read);
            }
            record => record?,
        };
        let Some(record) = record.filter(|record| record.position < end) else {
            read.next = end;
            return Ok(read);
        };
        bytes += record.payload_bytes;
        read.next = record.next;
        for (event, place, at) in events(&record, log.start()) {
            read.examined += 1;
            let is_wanted = subscription.may_want(&event.meta)
                && selection.holds(&event.meta)
                && subscription.filter_wants(&mut Body::of(event));
            if is_wanted {
                read.found.push((event.clone(), place, at));
            }
        }
    }
    Ok(read)
}

/// The events of a record. One that was carried is passed over while it can be found where it was
/// accepted.
fn events(record: &LogRecord, start: u64) -> Vec<(&Event, Place, Place)> {
    let position = record.position;
    let here = |index| Place { position, index };
    match &record.entry {
        Some(Entry::Accepted(events)) => (0..)
            .zip(events)
            .map(|(index, event)| (event, here(index), here(index)))
            .collect(),
        Some(Entry::Carried(events)) => (0..)
            .zip(events)
            .filter(|(_, carried)| carried.place.position < start)
            .map(|(index, carried)| (&carried.event, carried.place, here(index)))
            .collect(),
        _ => Vec::new(),
    }
}
