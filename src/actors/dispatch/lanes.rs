//! The dispatcher's books on the lanes: what each was offered, what it still has room for, and when it
//! is to be looked at again.
//!
//! A lane is offered what it has room for and no more; the rest waits in the ledger and is fetched
//! from there as room comes back. A retry is offered when it is due, and stays listed in the ledger
//! until it is settled, so the books remember which ones are out.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::ids::SubscriptionId;
use crate::store::error::StoreError;
use crate::store::ledger::{Effect, Ledger, Todo};
use crate::store::state::rows::Slot;

/// Deliveries that all lanes together may have been offered before their windows shrink: 14 MiB of
/// them.
pub const MAX_OFFERED: usize = 256 << 10;
/// What each lane may have been offered even then.
pub const MIN_WINDOW: usize = 64;

/// How offers get to lanes.
pub trait Outlet {
    /// Offers deliveries to a lane, which comes to be with its first offer. What comes back is to be
    /// offered again: the lane could not take it yet.
    fn offer(&mut self, subscription: SubscriptionId, todos: Vec<Todo>) -> Option<Vec<Todo>>;

    /// The subscription is gone, and its lane with it.
    fn stop(&mut self, subscription: SubscriptionId);
}

#[derive(Debug, Default)]
struct Lane {
    /// Deliveries that it was offered and that are not settled.
    offered: usize,
    /// The last delivery that it was offered for the first time.
    cursor: Option<Slot>,
    /// Deliveries after the cursor wait in the ledger.
    behind: bool,
    /// Retries that it was offered.
    retries: HashSet<Slot>,
    /// Retries are due that it had no room for.
    starved: bool,
    /// When it is to be looked at again because a retry is due.
    alarm_ms: Option<u64>,
    /// Collected for its next offer.
    outgoing: Vec<Todo>,
}

/// See the module.
#[derive(Debug)]
pub struct Lanes<O> {
    by_id: HashMap<SubscriptionId, Lane>,
    alarms: BTreeSet<(u64, SubscriptionId)>,
    /// Lanes for which something was collected.
    unsent: Vec<SubscriptionId>,
    /// Lanes whose room should be filled from the ledger.
    hungry: Vec<SubscriptionId>,
    outlet: O,
    window: usize,
    /// Deliveries that all of them were offered and that are not settled.
    offered: usize,
}

impl<O: Outlet> Lanes<O> {
    /// No lane yet. A lane is offered at most `window` deliveries at a time.
    pub fn new(outlet: O, window: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            alarms: BTreeSet::new(),
            unsent: Vec::new(),
            hungry: Vec::new(),
            outlet,
            window,
            offered: 0,
        }
    }

    /// What a lane may be offered in all.
    fn window(&self) -> usize {
        if self.offered < MAX_OFFERED {
            self.window
        } else {
            self.window.min(MIN_WINDOW)
        }
    }

    /// Where offers go.
    pub fn outlet(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// A subscription that the ledger may hold deliveries of, from an earlier process.
    pub fn resume(&mut self, subscription: SubscriptionId) {
        self.by_id.insert(
            subscription,
            Lane {
                behind: true,
                ..Lane::default()
            },
        );
        self.hungry.push(subscription);
    }

    /// Takes note of what applying a record meant.
    pub fn note(&mut self, effect: &Effect) {
        match *effect {
            Effect::Created {
                subscription,
                slot,
                event,
                due_ms,
            } => {
                let window = self.window();
                let lane = self.by_id.entry(subscription).or_default();
                if let Some(due_ms) = due_ms {
                    self.set_alarm(subscription, due_ms);
                } else if lane.behind || lane.offered >= window {
                    lane.behind = true;
                } else {
                    lane.cursor = Some(slot);
                    self.give(
                        subscription,
                        Todo {
                            slot,
                            at: slot.place,
                            event,
                            attempts: 0,
                        },
                    );
                }
            }
            Effect::Settled {
                subscription,
                slot,
                due_ms,
            } => {
                if let Some(lane) = self.by_id.get_mut(&subscription) {
                    let settled = lane.offered.min(1);
                    lane.offered -= settled;
                    self.offered -= settled;
                    lane.retries.remove(&slot);
                    if lane.behind || lane.starved {
                        self.hungry.push(subscription);
                    }
                }
                if let Some(due_ms) = due_ms {
                    self.set_alarm(subscription, due_ms);
                }
            }
            Effect::Unsubscribed(subscription) => self.remove(subscription),
        }
    }

    fn remove(&mut self, subscription: SubscriptionId) {
        let Some(lane) = self.by_id.remove(&subscription) else {
            return;
        };
        self.offered -= lane.offered;
        self.outlet.stop(subscription);
        if let Some(alarm_ms) = lane.alarm_ms {
            self.alarms.remove(&(alarm_ms, subscription));
        }
    }

    /// Fills the room of the lanes that something was noted for, and sends all offers.
    pub fn send_offers(&mut self, ledger: &Ledger, now_ms: u64) -> Result<(), StoreError> {
        let mut hungry = std::mem::take(&mut self.hungry);
        hungry.sort_unstable();
        hungry.dedup();
        for subscription in hungry.drain(..) {
            self.feed(subscription, ledger, now_ms)?;
        }
        self.hungry = hungry;
        for subscription in std::mem::take(&mut self.unsent) {
            self.send(subscription);
        }
        Ok(())
    }

    /// Gives a lane what it has room for: retries that are due, then what waits.
    fn feed(
        &mut self,
        subscription: SubscriptionId,
        ledger: &Ledger,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let window = self.window();
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return Ok(());
        };
        let room = window.saturating_sub(lane.offered);
        let mut todos = ledger.due(subscription, now_ms, lane.retries.len() + room + 1)?;
        todos.retain(|todo| !lane.retries.contains(&todo.slot));
        let starved = todos.len() > room;
        lane.starved = starved;
        todos.truncate(room);
        lane.retries.extend(todos.iter().map(|todo| todo.slot));
        let room = room - todos.len();
        if lane.behind && room > 0 {
            let waiting = ledger.waiting(subscription, lane.cursor, room)?;
            lane.behind = waiting.len() == room;
            lane.cursor = waiting.last().map(|todo| todo.slot).or(lane.cursor);
            todos.extend(waiting);
        }
        for todo in todos {
            self.give(subscription, todo);
        }
        // While more is due than there is room for, room brings the lane back, and no alarm is needed.
        if !starved && let Some(due_ms) = ledger.next_due_ms(subscription, now_ms)? {
            self.set_alarm(subscription, due_ms);
        }
        Ok(())
    }

    fn give(&mut self, subscription: SubscriptionId, todo: Todo) {
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return;
        };
        if lane.outgoing.is_empty() {
            self.unsent.push(subscription);
        }
        lane.offered += 1;
        self.offered += 1;
        lane.outgoing.push(todo);
    }

    fn send(&mut self, subscription: SubscriptionId) {
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return;
        };
        let todos = std::mem::take(&mut lane.outgoing);
        if let Some(refused) = self.outlet.offer(subscription, todos) {
            lane.outgoing = refused;
            self.unsent.push(subscription);
        }
    }

    fn set_alarm(&mut self, subscription: SubscriptionId, due_ms: u64) {
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return;
        };
        if lane.alarm_ms.is_none_or(|alarm_ms| due_ms < alarm_ms) {
            if let Some(alarm_ms) = lane.alarm_ms.replace(due_ms) {
                self.alarms.remove(&(alarm_ms, subscription));
            }
            self.alarms.insert((due_ms, subscription));
        }
    }

    /// Whether an offer was not taken and is to be sent again shortly.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// When the next retry is due.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        self.alarms.first().map(|(due_ms, _)| *due_ms)
    }

    /// Has the lanes looked at whose retries have come due.
    pub fn ring(&mut self, now_ms: u64) {
        while let Some(&(due_ms, subscription)) = self.alarms.first() {
            if due_ms > now_ms {
                break;
            }
            self.alarms.pop_first();
            if let Some(lane) = self.by_id.get_mut(&subscription) {
                lane.alarm_ms = None;
            }
            self.hungry.push(subscription);
        }
    }
}
