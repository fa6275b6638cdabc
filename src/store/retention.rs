//! Removing the oldest segment, once nothing in it is needed any more.
//!
//! Three steps, each decided here and carried out by the caller through the committer: what is still
//! open is appended again ([`carry`]); so are idempotency keys that still hold, and last the word that
//! the segment may go ([`keys`]), so that a lost segment is never taken for a retired one; when a
//! checkpoint says so, and nobody holds the segment, its file goes ([`remove`]). Segments go oldest
//! first and one at a time, so that a cut at any moment leaves a journal without a gap.
//!
//! It never removes what is open, and never the segment that is being written.

use super::carried::{CarriedDelivery, CarriedEvent, CarriedKey, Carry};
use super::entry::Entry;
use super::error::StoreError;
use super::journal::Remains;
use super::ledger::backlog::{self, Located};
use super::log::Log;
use super::state::rows::{IDEMPOTENCY_KEEP_MS, KeyedRequest};
use crate::domain::delivery::{Attempt, OpenState, Outcome, TOO_OLD};
use crate::domain::event::{Event, Place};
use crate::domain::ids::SubscriptionId;
use crate::domain::retention::{Fate, Retention};

/// Events that are carried by one commit, at most.
pub const MAX_CARRIED: usize = 256;
/// Payload bytes of the segment that one step looks through for keys.
const KEYS_STEP_BYTES: usize = 4 << 20;
/// Keys that one step carries, at most: a batch's key holds a thousand ids.
const MAX_KEYS: usize = 64;

/// The oldest segment, and what is to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// Its number.
    pub number: u64,
    /// The position that it ends before.
    pub end: u64,
    /// When the last that is in it was written, in milliseconds of Unix time.
    pub ended_at_ms: u64,
    /// Why it goes.
    pub why: Why,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// What is in it is older than events are kept.
    Age,
    /// The journal takes more than it may.
    Size,
}

/// The oldest segment, if its time has come.
pub fn oldest(log: &Log, kept: &Retention, now_ms: u64) -> Result<Option<Oldest>, StoreError> {
    let layout = log.journal().layout();
    let number = layout.segment_of(log.start());
    if number >= layout.segment_of(log.end()) {
        return Ok(None);
    }
    let Some(ended_at_ms) = layout.created_at_ms(number + 1)? else {
        return Ok(None);
    };
    let why = if now_ms.saturating_sub(ended_at_ms) >= kept.events_ms {
        Why::Age
    } else if journal_bytes(log)? > max_bytes(log, kept)? {
        Why::Size
    } else {
        return Ok(None);
    };
    // What is held now is carried over when it is held no more.
    if !log.begin_leaving(layout.position(number + 1, 0)) {
        return Ok(None);
    }
    // Whoever rebuilds from the next segment needs to know who was there.
    let next = log.at(layout.first_position(number + 1))?;
    if !matches!(next.entry, Some(Entry::Snapshot(_))) {
        log::warn!("segment {number} is kept: the one after it does not start with the directory");
        return Ok(None);
    }
    Ok(Some(Oldest {
        number,
        end: layout.position(number + 1, 0),
        ended_at_ms,
        why,
    }))
}

fn journal_bytes(log: &Log) -> Result<u64, StoreError> {
    let layout = log.journal().layout();
    Ok(layout.list()?.len() as u64 * layout.segment_bytes)
}

fn max_bytes(log: &Log, kept: &Retention) -> Result<u64, StoreError> {
    let layout = log.journal().layout();
    if let Some(max_bytes) = kept.max_bytes {
        return Ok(max_bytes);
    }
    let free_bytes = layout.disk.free_bytes(&layout.dir);
    let free_bytes =
        free_bytes.map_err(StoreError::io("measure the free space of", &layout.dir))?;
    let usable = free_bytes.saturating_sub(layout.min_free_bytes) + journal_bytes(log)?;
    Ok(usable / 5 * 4)
}

/// What is to be committed for these open deliveries, which were open when the log ended at a position.
pub fn carry(
    log: &Log,
    kept: &Retention,
    (as_of, located): (u64, Located),
    now_ms: u64,
) -> Result<Carry, StoreError> {
    let mut carry = Carry {
        as_of,
        ..Carry::default()
    };
    for (at, deliveries) in located {
        let event = log.event(at)?.ok_or(StoreError::Gone {
            position: at.position,
        })?;
        let age_ms = now_ms.saturating_sub(event.meta.accepted_at_ms);
        let mut place = at;
        let mut open = Vec::with_capacity(deliveries.len());
        for (subscription, entry) in deliveries {
            place = entry.slot.place;
            let mut delivery = entry.delivery;
            match kept.judge(delivery.state, age_ms) {
                Fate::Carry => {}
                Fate::Die => {
                    delivery.state = OpenState::Dead;
                    carry
                        .ended
                        .push(end(subscription, &entry, Outcome::Dead, now_ms));
                }
                Fate::Forget => {
                    let outcome = Outcome::Cancelled;
                    carry.ended.push(end(subscription, &entry, outcome, now_ms));
                    continue;
                }
            }
            open.push(CarriedDelivery {
                subscription,
                generation: entry.slot.generation,
                delivery,
            });
        }
        if !open.is_empty() {
            carry.events.push(CarriedEvent { place, event, open });
        }
    }
    Ok(carry)
}

/// The record of a delivery that ends without an attempt.
fn end(
    subscription: SubscriptionId,
    entry: &backlog::Entry,
    outcome: Outcome,
    now_ms: u64,
) -> Attempt {
    let id = entry.id(subscription);
    let (place, number) = (entry.slot.place, entry.delivery.attempts);
    Attempt::unmade(id, place, number, outcome, now_ms, Some(TOO_OLD))
}

/// Idempotency keys of a segment.
#[derive(Debug)]
pub struct Keys {
    /// What is to be committed for them. The last of a segment says that it may go.
    pub carry: Carry,
    /// Where to go on; `None` when the segment was looked through.
    pub next: Option<u64>,
}

/// The idempotency keys of a segment that still hold, from a position on: as many as one commit takes.
pub fn keys(log: &Log, oldest: &Oldest, from: u64, now_ms: u64) -> Result<Keys, StoreError> {
    let mut keys = Vec::new();
    let mut bytes = 0;
    let mut position = from;
    let mut next = None;
    let all_expired = now_ms.saturating_sub(oldest.ended_at_ms) >= IDEMPOTENCY_KEEP_MS;
    while let Some(record) = log.next(position)? {
        if all_expired || record.position >= oldest.end {
            break;
        }
        match &record.entry {
            Some(Entry::Accepted(events)) => keys.extend(marks(record.position, events)),
            Some(Entry::Keys(carried)) => keys.extend(carried.iter().cloned()),
            _ => {}
        }
        position = record.next;
        bytes += record.payload_bytes;
        if bytes > KEYS_STEP_BYTES || keys.len() >= MAX_KEYS {
            next = Some(position);
            break;
        }
    }
    keys.retain(|key| now_ms < key.request.expires_at_ms);
    let carry = Carry {
        as_of: log.end(),
        keys,
        retired: next.is_none().then_some(oldest.end),
        ..Carry::default()
    };
    Ok(Keys { carry, next })
}

/// The keys that came with the events of a record.
fn marks(position: u64, events: &[Event]) -> impl Iterator<Item = CarriedKey> {
    (0..).zip(events).filter_map(move |(index, event)| {
        let mark = event.meta.idempotency?;
        let place = Place { position, index };
        let own = events
            .iter()
            .skip(index as usize)
            .take(mark.events as usize);
        Some(CarriedKey {
            scope: mark.scope,
            request: KeyedRequest::of(&mark, &event.meta, place),
            ids: own.map(|event| event.meta.id).collect(),
        })
    })
}

/// Removes a segment whose last carried record, if there is any, is in a checkpoint. `None` when somebody
/// holds it.
pub fn remove(log: &Log, oldest: &Oldest) -> Result<Option<Remains>, StoreError> {
    let layout = log.journal().layout();
    if !log.advance(layout.first_position(oldest.number + 1)) {
        return Ok(None);
    }
    log.journal().close(oldest.number);
    layout.remove(oldest.number).map(Some)
}
