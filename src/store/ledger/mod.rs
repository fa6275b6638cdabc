//! The ledger: what the log adds up to.
//!
//! Applies records strictly in the order of the log, and nothing else changes it: an accepted event
//! is matched against the directory as of its own place and becomes open deliveries; an attempt
//! settles or reschedules one; a directory change changes who is matched from there on. Because
//! recovery applies the same records in the same way, there is no other recovery code.
//!
//! A checkpoint says: all records before [`Ledger::applied`] are in these rows, and none after it.

pub mod backlog;
mod carry;
mod directory;
mod look_up;
mod save;
mod settle;
mod steer;
mod trouble;

pub use self::look_up::{Open, Standing};
pub use self::trouble::Trouble;

use std::collections::HashMap;
use std::sync::Arc;

use self::backlog::Backlog;
use super::entry::Entry;
use super::error::StoreError;
use super::log::LogRecord;
use super::state::State;
use super::state::overlay::Overlay;
use super::state::rows::{self, KeyedRequest, Meta, Slot};
use crate::domain::delivery::{OpenDelivery, OpenState};
use crate::domain::directory::{Directory, Subscription};
use crate::domain::event::{Event, Place};
use crate::domain::filter::Body;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::domain::matching::MatchTable;
use crate::domain::news::News;
use crate::domain::ordering::Group;
use crate::domain::retry::Schedule;

/// A row of the sparse index stands for at least this much journal.
const INDEX_EVERY_BYTES: u64 = 256 << 10;
/// After how many effects a record is left to be gone on with, so that a wide fan-out never holds up
/// a turn or outgrows a checkpoint.
const MAX_EFFECTS: usize = 4096;

/// What applying a record means for the lanes, and for those who want to hear of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A delivery came to be.
    Created(SubscriptionId, Todo),
    /// An attempt was taken into account, or a delivery ended without one.
    Settled {
        /// Whose.
        subscription: SubscriptionId,
        /// Which.
        slot: Slot,
        /// How it is to go on, if it is.
        next: Option<Todo>,
        /// It was not the lane's own attempt: should the lane have it, it is to let it be.
        unasked: bool,
    },
    /// Somebody wants a delivery attempted earlier than it was to be.
    Hurried(SubscriptionId, Todo),
    /// An attempt failed, after nothing but failures.
    Failed {
        /// Whose.
        subscription: SubscriptionId,
        /// The trouble so far.
        trouble: Trouble,
        /// When it began, in milliseconds of Unix time.
        at_ms: u64,
    },
    /// Something that operators want to hear of.
    News(SubscriptionId, News),
    /// A subscription is gone.
    Unsubscribed(SubscriptionId),
}

/// What a lane needs to begin an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Todo {
    /// Which delivery.
    pub slot: Slot,
    /// Where its event stands now.
    pub at: Place,
    /// The event's id.
    pub event: EventId,
    /// Attempts made so far.
    pub attempts: u16,
    /// Those of them that its schedule does not count.
    pub forgiven: u16,
    /// The deliveries that it must keep its order with.
    pub group: Option<Group>,
    /// When it is due, in milliseconds of Unix time; 0 is at once.
    pub due_ms: u64,
}

impl Todo {
    /// Whether it stands in line, and so goes with the lane until it is settled for good. Any other goes
    /// when it is due, and comes back with each failure.
    pub fn is_in_line(&self) -> bool {
        self.group.is_some() || self.due_ms == 0
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    overlay: Overlay,
    backlog: Backlog,
    /// Deleted subscriptions whose deliveries are still being removed.
    gone: Vec<SubscriptionId>,
    directory: Directory,
    table: MatchTable,
    meta: Meta,
    troubles: HashMap<SubscriptionId, Trouble>,
    /// Where the last event of the sparse index stands.
    indexed_at: Option<u64>,
    first_wait_ms: u64,
    /// Nothing but snapshots was applied: the directory has no past.
    blank: bool,
}

impl Ledger {
    /// A ledger of nothing, to which a log from `start` on is to be applied. `first_wait_ms` is the
    /// wait before the first attempt where a subscription has no schedule of its own.
    pub fn blank(state: Arc<State>, store_id: [u8; 16], start: u64, first_wait_ms: u64) -> Self {
        let applied = Place {
            position: start,
            index: 0,
        };
        Self {
            overlay: Overlay::new(state),
            backlog: Backlog::default(),
            gone: Vec::new(),
            directory: Directory::default(),
            table: MatchTable::default(),
            meta: Meta {
                store_id,
                applied,
                last_event: None,
                started_at: start,
                retired: 0,
            },
            troubles: HashMap::new(),
            indexed_at: None,
            first_wait_ms,
            blank: true,
        }
    }

    /// The ledger of the last checkpoint. `None` when there is none, or it is another store's.
    pub fn load(
        state: &Arc<State>,
        store_id: [u8; 16],
        first_wait_ms: u64,
    ) -> Result<Option<Self>, StoreError> {
        let Some(meta) = state.get(rows::META)? else {
            return Ok(None);
        };
        let meta: Meta = rows::decode("the checkpoint", &meta)?;
        if meta.store_id != store_id {
            return Ok(None);
        }
        let mut ledger = Self::blank(Arc::clone(state), store_id, 0, first_wait_ms);
        for prefix in *b"AIKST" {
            for row in state.range(rows::all(prefix)) {
                let change = rows::decode("a directory record", &row?.1)?;
                ledger.directory.apply(&change);
            }
        }
        let last_indexed = state.range(rows::all(b'x')).next_back().transpose()?;
        if let Some((_, position)) = last_indexed {
            ledger.indexed_at = Some(rows::decode("an index row", &position)?);
        }
        ledger.backlog = Backlog::load(state)?;
        ledger.troubles = trouble::load(state)?;
        let open = ledger.backlog.subscriptions();
        let gone = open.filter(|id| ledger.directory.subscription(*id).is_none());
        ledger.gone = gone.collect();
        ledger.meta = meta;
        ledger.blank = false;
        Ok(Some(ledger))
    }

    /// Everything before this place is applied.
    pub fn applied(&self) -> Place {
        self.meta.applied
    }

    /// The directory as of [`Self::applied`].
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The id of the last event that was applied.
    pub fn last_event(&self) -> Option<EventId> {
        self.meta.last_event
    }

    /// Segments before this position may be gone.
    pub fn retired(&self) -> u64 {
        self.meta.retired
    }

    /// Applies a record, or as much of it as one turn should, and adds what that means to `effects`.
    /// Says whether the record is done.
    pub fn apply(
        &mut self,
        record: &LogRecord,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, StoreError> {
        if record.position != self.meta.applied.position {
            self.meta.applied = Place {
                position: record.position,
                index: 0,
            };
        }
        match &record.entry {
            Some(Entry::Accepted(events)) => {
                let start = self.meta.applied.index as usize;
                for event in events.iter().skip(start) {
                    self.accept(event, effects)?;
                    self.meta.applied.index += 1;
                    if effects.len() >= MAX_EFFECTS
                        && (self.meta.applied.index as usize) < events.len()
                    {
                        return Ok(false);
                    }
                }
            }
            Some(Entry::Settled(attempts)) => {
                for attempt in attempts {
                    self.settle(attempt, effects)?;
                }
            }
            Some(Entry::Directory(changes)) => {
                for change in changes {
                    self.change(change, effects)?;
                }
            }
            Some(Entry::Snapshot(changes)) if self.blank => {
                for change in changes {
                    self.change(change, effects)?;
                }
            }
            Some(Entry::Carried(events)) => {
                for (index, carried) in (0..).zip(events) {
                    let position = record.position;
                    self.carry(carried, Place { position, index })?;
                }
            }
            Some(Entry::Keys(keys)) => {
                for (index, key) in (0..).zip(keys) {
                    let position = record.position;
                    self.carry_key(key, Place { position, index })?;
                }
            }
            Some(Entry::Retired(retired)) => {
                self.meta.retired = self.meta.retired.max(retired.before);
                self.meta.last_event = self.meta.last_event.max(retired.last_event);
            }
            Some(Entry::Snapshot(_)) | None => {}
        }
        self.blank &= matches!(record.entry, Some(Entry::Snapshot(_)));
        self.meta.applied = Place {
            position: record.next,
            index: 0,
        };
        Ok(true)
    }

    fn accept(&mut self, event: &Event, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        let meta = &event.meta;
        let place = self.meta.applied;
        let due = self.indexed_at.is_none_or(|last| {
            place.index == 0 && place.position >= last.saturating_add(INDEX_EVERY_BYTES)
        });
        if due {
            self.indexed_at = Some(place.position);
            self.overlay
                .put_new(rows::indexed(meta.id), rows::encode(&place.position)?);
        }
        self.meta.last_event = Some(meta.id);
        if let Some(mark) = meta.idempotency {
            let row = KeyedRequest::of(&mark, meta, place);
            self.put_key(&mark.scope, &row)?;
        }
        let matching = self.table.matching(&self.directory, meta);
        let mut body = Body::of(event);
        for &id in matching.iter() {
            let Some(subscription) = self.directory.subscription(id) else {
                continue;
            };
            if !subscription.filter_wants(&mut body) {
                continue;
            }
            let wait_ms = self.first_wait_ms(subscription);
            let due_ms = (wait_ms > 0).then(|| meta.accepted_at_ms.saturating_add(wait_ms));
            let state = due_ms.map_or(OpenState::Waiting, |due_ms| OpenState::Retrying { due_ms });
            let delivery = OpenDelivery {
                group: subscription.ordering.group(&mut body),
                state,
                ..OpenDelivery::waiting(meta.id)
            };
            self.create(id, place, delivery, effects)?;
        }
        Ok(())
    }

    /// A first delivery of the event that is accepted at a place.
    fn create(
        &mut self,
        subscription: SubscriptionId,
        place: Place,
        delivery: OpenDelivery,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let slot = Slot {
            place,
            generation: 0,
        };
        let at = place;
        let entry = backlog::Entry { slot, at, delivery };
        self.backlog.put(&self.overlay, subscription, entry)?;
        effects.push(Effect::Created(subscription, entry.into()));
        Ok(())
    }

    fn first_wait_ms(&self, subscription: &Subscription) -> u64 {
        let own = subscription.retry_schedule.as_ref();
        own.map_or(self.first_wait_ms, Schedule::first_wait_ms)
    }

    fn put_key(&mut self, scope: &[u8; 16], row: &KeyedRequest) -> Result<(), StoreError> {
        self.overlay.put(rows::keyed(scope), rows::encode(row)?);
        self.overlay
            .put(rows::keyed_expiry(row.expires_at_ms, scope), Vec::new());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
