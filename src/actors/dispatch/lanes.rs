//! The dispatcher's books on the lanes: what each was offered, what it still has room for, and when it
//! is to be looked at again.
//!
//! A lane is offered what it has room for and no more; the rest waits in the ledger and is fetched
//! from there as room comes back. What stands in line is offered in its order, once, and stays with the
//! lane until it is settled for good. What failed and keeps no order is offered when it is due, and comes
//! back with each failure. All of it stays listed in the ledger, so the books remember what is out.

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

/// What a lane is told, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// To attempt a delivery.
    Attempt(Todo),
    /// To attempt one earlier that it has, if it has it still.
    Hurry(Todo),
    /// Not to attempt one any more that it may have.
    LetBe(Slot),
}

impl Instruction {
    /// Whether somebody asks for the attempt, and would not wait.
    pub fn is_asked_for(&self) -> bool {
        match self {
            Self::Attempt(todo) => {
                todo.slot.generation > 0 && todo.attempts == 0
                    || todo.forgiven > 0 && todo.forgiven == todo.attempts
            }
            Self::Hurry(_) => true,
            Self::LetBe(_) => false,
        }
    }
}

/// How offers get to lanes.
pub trait Outlet {
    /// Tells a lane what to do, which comes to be with the first time. What comes back is to be told again:
    /// the lane could not take it yet.
    fn tell(
        &mut self,
        subscription: SubscriptionId,
        instructions: Vec<Instruction>,
    ) -> Option<Vec<Instruction>>;

    /// The subscription is gone, and its lane with it.
    fn stop(&mut self, subscription: SubscriptionId);
}

#[derive(Debug, Default)]
struct Lane {
    /// What it was offered in line and is not settled.
    in_line: HashSet<Slot>,
    /// The last delivery that it was offered in line.
    cursor: Option<Slot>,
    /// Deliveries after the cursor wait in the ledger.
    behind: bool,
    /// Retries outside of the line that it was offered.
    retries: HashSet<Slot>,
    /// Retries are due that it had no room for.
    starved: bool,
    /// When it is to be looked at again because a retry is due.
    alarm_ms: Option<u64>,
    /// What it is to be told next.
    outgoing: Vec<Instruction>,
    /// It is listed among those for which something was collected.
    is_unsent: bool,
}

impl Lane {
    fn offered(&self) -> usize {
        self.in_line.len() + self.retries.len()
    }
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
            Effect::Created(subscription, todo) => self.created(subscription, todo),
            Effect::Settled {
                subscription,
                slot,
                next,
                unasked,
            } => self.settled(subscription, slot, next, unasked),
            Effect::Hurried(subscription, todo) => self.hurried(subscription, todo),
            Effect::Unsubscribed(subscription) => self.remove(subscription),
            Effect::Failed { .. } | Effect::News(..) => {}
        }
    }

    fn created(&mut self, subscription: SubscriptionId, todo: Todo) {
        let window = self.window();
        let lane = self.by_id.entry(subscription).or_default();
        if !todo.is_in_line() {
            self.set_alarm(subscription, todo.due_ms);
        } else if lane.behind || lane.offered() >= window {
            lane.behind = true;
        } else {
            lane.cursor = Some(todo.slot);
            self.give(subscription, todo);
        }
    }

    fn settled(
        &mut self,
        subscription: SubscriptionId,
        slot: Slot,
        next: Option<Todo>,
        unasked: bool,
    ) {
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return;
        };
        // What failed in line stays with the lane.
        let in_line = next.is_some_and(|todo| todo.is_in_line());
        let came_back = lane.retries.remove(&slot) || (!in_line && lane.in_line.remove(&slot));
        self.offered -= usize::from(came_back);
        if lane.behind || lane.starved {
            self.hungry.push(subscription);
        }
        if unasked && came_back {
            lane.outgoing.push(Instruction::LetBe(slot));
            self.list_unsent(subscription);
        }
        if let Some(todo) = next.filter(|_| !in_line) {
            self.set_alarm(subscription, todo.due_ms);
        }
    }

    fn hurried(&mut self, subscription: SubscriptionId, todo: Todo) {
        let lane = self.by_id.entry(subscription).or_default();
        if lane.in_line.contains(&todo.slot) {
            lane.outgoing.push(Instruction::Hurry(todo));
            self.list_unsent(subscription);
        } else if !todo.is_in_line() && !lane.retries.contains(&todo.slot) {
            self.set_alarm(subscription, todo.due_ms);
        }
    }

    fn remove(&mut self, subscription: SubscriptionId) {
        let Some(lane) = self.by_id.remove(&subscription) else {
            return;
        };
        self.offered -= lane.offered();
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

    /// Gives a lane what it has room for: retries that are due, then what stands in line. Neither takes all
    /// the room while the other has something: of a quarter retries are sure, however long the line is
    /// blocked, and half is the line's, however much is replayed.
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
        let room = window.saturating_sub(lane.offered());
        let share = if lane.behind { room / 2 } else { room };
        let sure = (window / 4).max(1).saturating_sub(lane.retries.len());
        let share = share.max(sure);
        let mut todos = ledger.due(subscription, now_ms, lane.retries.len() + share + 1)?;
        todos.retain(|todo| !lane.retries.contains(&todo.slot));
        let starved = todos.len() > share;
        lane.starved = starved;
        todos.truncate(share);
        let room = room.saturating_sub(todos.len());
        if lane.behind && room > 0 {
            let waiting = ledger.in_line(subscription, lane.cursor, room)?;
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
        if todo.is_in_line() {
            lane.in_line.insert(todo.slot);
        } else {
            lane.retries.insert(todo.slot);
        }
        self.offered += 1;
        lane.outgoing.push(Instruction::Attempt(todo));
        self.list_unsent(subscription);
    }

    fn list_unsent(&mut self, subscription: SubscriptionId) {
        if let Some(lane) = self.by_id.get_mut(&subscription)
            && !std::mem::replace(&mut lane.is_unsent, true)
        {
            self.unsent.push(subscription);
        }
    }

    fn send(&mut self, subscription: SubscriptionId) {
        let Some(lane) = self.by_id.get_mut(&subscription) else {
            return;
        };
        lane.is_unsent = false;
        let instructions = std::mem::take(&mut lane.outgoing);
        if let Some(refused) = self.outlet.tell(subscription, instructions) {
            lane.outgoing = refused;
            self.list_unsent(subscription);
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
