//! Questions to the backlog. None of them keeps a page in memory that was not there before.
//!
//! Every answer is bounded by the caller, but for the deliveries of one event, which are bounded by
//! the number of subscriptions.

use std::collections::BTreeMap;

use super::{Backlog, Counts, Entry, Page, Summary};
use crate::domain::delivery::OpenState;
use crate::domain::event::Place;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::error::StoreError;
use crate::store::state::overlay::Overlay;
use crate::store::state::rows::Slot;

/// Open deliveries by the events that they are of: where an event stands, and for whom it is open.
pub type Located = BTreeMap<Place, Vec<(SubscriptionId, Entry)>>;

/// How an open delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No attempt was made, or is to be counted.
    Waiting,
    /// It is due at some time.
    Retrying,
    /// No attempt is left.
    Dead,
}

impl Status {
    fn of(state: OpenState) -> Self {
        match state {
            OpenState::Waiting => Self::Waiting,
            OpenState::Retrying { .. } => Self::Retrying,
            OpenState::Dead => Self::Dead,
        }
    }

    fn count(self, summary: &Summary) -> usize {
        Counts::from(summary).of(self)
    }
}

impl From<&Summary> for Counts {
    fn from(summary: &Summary) -> Self {
        Self {
            waiting: summary.waiting,
            retrying: summary.count - summary.waiting - summary.dead,
            dead: summary.dead,
        }
    }
}

impl From<&Entry> for Counts {
    fn from(entry: &Entry) -> Self {
        let status = Status::of(entry.delivery.state);
        Self {
            waiting: usize::from(status == Status::Waiting),
            retrying: usize::from(status == Status::Retrying),
            dead: usize::from(status == Status::Dead),
        }
    }
}

/// When an entry is due that is tried again outside of the line.
fn retry_ms(entry: &Entry) -> Option<u64> {
    match entry.delivery.state {
        OpenState::Retrying { due_ms } if entry.delivery.group.is_none() => Some(due_ms),
        _ => None,
    }
}

impl Backlog {
    /// How the deliveries of a subscription stand.
    pub fn counts(&self, subscription: SubscriptionId) -> Counts {
        self.tally.of(subscription)
    }

    /// How all deliveries stand.
    pub fn counts_of_all(&self) -> Counts {
        self.tally.all
    }

    /// What stands in line after `after`, in order.
    pub fn in_line(
        &self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        after: Option<Slot>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for (first, page) in self.from(subscription, after.unwrap_or(Slot::FIRST)) {
            if found.len() >= limit {
                break;
            }
            if page.summary.in_line > 0 {
                let entries = page.look(overlay, (subscription, first))?;
                let in_line = entries.iter().filter(|entry| {
                    entry.delivery.is_in_line() && after.is_none_or(|after| entry.slot > after)
                });
                found.extend(in_line.take(limit - found.len()));
            }
        }
        Ok(found)
    }

    /// What is due again by now and stands outside of the line, the longest due first.
    pub fn due(
        &self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let pages = self.lanes.get(&subscription).into_iter().flatten();
        let mut pages: Vec<_> = pages
            .filter_map(|(first, page)| Some((page.summary.next_due_ms?, *first, page)))
            .filter(|(due_ms, ..)| *due_ms <= now_ms)
            .collect();
        pages.sort_unstable_by_key(|(due_ms, first, _)| (*due_ms, *first));
        let mut found: Vec<(u64, Entry)> = Vec::new();
        for (page_due_ms, first, page) in pages {
            // A later page has nothing that is due before its first.
            if found.len() >= limit && found.last().is_none_or(|(due_ms, _)| *due_ms < page_due_ms)
            {
                break;
            }
            let entries = page.look(overlay, (subscription, first))?;
            let due = entries
                .iter()
                .filter_map(|entry| Some((retry_ms(entry)?, *entry)));
            found.extend(due.filter(|(due_ms, _)| *due_ms <= now_ms));
            found.sort_unstable_by_key(|(due_ms, entry)| (*due_ms, entry.slot));
            found.truncate(limit);
        }
        Ok(found.into_iter().map(|(_, entry)| entry).collect())
    }

    /// When the first outside of the line is due that is not due by now.
    pub fn next_due_ms(
        &self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        now_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let mut next: Option<u64> = None;
        for (first, page) in self.lanes.get(&subscription).into_iter().flatten() {
            let due_ms = match page.summary.next_due_ms {
                Some(due_ms) if due_ms <= now_ms => {
                    let entries = page.look(overlay, (subscription, *first))?;
                    let later = entries.iter().filter_map(retry_ms);
                    later.filter(|due_ms| *due_ms > now_ms).min()
                }
                due_ms => due_ms,
            };
            next = next.into_iter().chain(due_ms).min();
        }
        Ok(next)
    }

    /// When the first outside of the line is or was due.
    pub fn earliest_due_ms(&self, subscription: SubscriptionId) -> Option<u64> {
        let pages = self.lanes.get(&subscription).into_iter().flatten();
        pages.filter_map(|(_, page)| page.summary.next_due_ms).min()
    }

    /// The deliveries of the event that was accepted at a place.
    pub fn of_event(
        &self,
        overlay: &Overlay,
        place: Place,
    ) -> Result<Vec<(SubscriptionId, Entry)>, StoreError> {
        let slot = |generation| Slot { place, generation };
        let mut found = Vec::new();
        for &subscription in self.lanes.keys() {
            for (first, page) in self.from(subscription, slot(0)) {
                if first > slot(u16::MAX) {
                    break;
                }
                let entries = page.look(overlay, (subscription, first))?;
                let start = entries.partition_point(|entry| entry.slot < slot(0));
                let own = entries[start..]
                    .iter()
                    .take_while(|it| it.slot.place == place);
                found.extend(own.map(|entry| (subscription, *entry)));
            }
        }
        found.sort_unstable_by_key(|(subscription, entry)| (*subscription, entry.slot));
        Ok(found)
    }

    /// An open delivery of the event of this id, for one of these subscriptions.
    pub fn of_id(
        &self,
        overlay: &Overlay,
        among: &[SubscriptionId],
        id: EventId,
    ) -> Result<Option<Entry>, StoreError> {
        for subscription in among {
            let pages = self.lanes.get(subscription).into_iter().flatten();
            // Ids grow in the order of slots.
            let page = pages
                .take_while(|(_, page)| page.summary.first_event.is_none_or(|first| first <= id))
                .last();
            if let Some((&first, page)) = page {
                let entries = page.look(overlay, (*subscription, first))?;
                if let Ok(at) = entries.binary_search_by(|entry| entry.delivery.event.cmp(&id)) {
                    return Ok(Some(entries[at]));
                }
            }
        }
        Ok(None)
    }

    /// Deliveries for these subscriptions, those of the newest event first, strictly before a delivery.
    pub fn newest(
        &self,
        overlay: &Overlay,
        among: &[SubscriptionId],
        status: Option<Status>,
        before: Option<(SubscriptionId, Slot)>,
        limit: usize,
    ) -> Result<Vec<(SubscriptionId, Entry)>, StoreError> {
        let key = |of: SubscriptionId, slot: Slot| (slot.place, of, slot.generation);
        let before = before.map(|(of, slot)| key(of, slot));
        let mut found = BTreeMap::new();
        for &of in among {
            let pages = self.lanes.get(&of).into_iter().flatten();
            'lane: for (&first, page) in pages.rev() {
                let none = status.is_some_and(|status| status.count(&page.summary) == 0);
                if none || before.is_some_and(|before| key(of, first) >= before) {
                    continue;
                }
                for entry in page.look(overlay, (of, first))?.iter().rev() {
                    let key = key(of, entry.slot);
                    let wanted = before.is_none_or(|before| key < before)
                        && status.is_none_or(|it| it == Status::of(entry.delivery.state));
                    if !wanted {
                        continue;
                    }
                    if found.len() >= limit {
                        if found
                            .first_key_value()
                            .is_none_or(|(lowest, _)| key < *lowest)
                        {
                            break 'lane;
                        }
                        found.pop_first();
                    }
                    found.insert(key, (of, *entry));
                }
            }
        }
        Ok(found.into_values().rev().collect())
    }

    /// The first events after a place that are open for anybody, at most `limit` of them, by the places
    /// that they were accepted at, each with all its deliveries.
    pub fn after(
        &self,
        overlay: &Overlay,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Located, StoreError> {
        let mut found = Located::new();
        let start = after.map_or(Slot::FIRST, |place| Slot {
            place,
            generation: u16::MAX,
        });
        for &subscription in self.lanes.keys() {
            'lane: for (first, page) in self.from(subscription, start) {
                for entry in page.look(overlay, (subscription, first))?.iter() {
                    let place = entry.slot.place;
                    if after.is_some_and(|after| place <= after) {
                        continue;
                    }
                    let last = found.last_key_value().map(|(last, _)| *last);
                    if found.len() >= limit && last.is_some_and(|last| place > last) {
                        break 'lane;
                    }
                    let event = found.entry(place).or_default();
                    event.push((subscription, *entry));
                    if found.len() > limit {
                        found.pop_last();
                    }
                }
            }
        }
        Ok(found)
    }

    /// The first events that stand before a position and are open for anybody, at most `limit` of them,
    /// each with all its deliveries that stand there.
    pub fn located_before(
        &self,
        overlay: &Overlay,
        position: u64,
        limit: usize,
    ) -> Result<Located, StoreError> {
        let mut found = Located::new();
        for (&subscription, lane) in &self.lanes {
            for (&first, page) in lane {
                if page.summary.lowest >= position {
                    continue;
                }
                for entry in page.look(overlay, (subscription, first))?.iter() {
                    // One more than wanted is kept: what stands beyond it can't be among the first.
                    let last = found.last_key_value().filter(|_| found.len() > limit);
                    let beyond = last.is_some_and(|(last, _)| entry.at > *last);
                    if entry.at.position < position && !beyond {
                        let others = found.entry(entry.at).or_default();
                        others.push((subscription, *entry));
                    }
                    if found.len() > limit.saturating_add(1) {
                        found.pop_last();
                    }
                }
            }
        }
        if found.len() > limit {
            found.pop_last();
        }
        Ok(found)
    }

    /// The deliveries of a subscription after `after`, in order: a few pages of them.
    pub fn some(
        &self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        after: Option<Slot>,
        pages: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        let from = self.from(subscription, after.unwrap_or(Slot::FIRST));
        // The first page may hold nothing that is after.
        for (first, page) in from.take(pages + 1) {
            let entries = page.look(overlay, (subscription, first))?;
            let after = |entry: &&Entry| after.is_none_or(|after| entry.slot > after);
            found.extend(entries.iter().filter(after));
        }
        Ok(found)
    }

    /// The event of the first delivery of a subscription that is to be attempted, replays aside.
    pub fn oldest_pending(&self, subscription: SubscriptionId) -> Option<EventId> {
        let pages = self.lanes.get(&subscription).into_iter().flatten();
        let mut pending = pages.filter_map(|(_, page)| page.summary.first_pending);
        pending.next()
    }

    /// The pages of a subscription from the one on that a slot would be on.
    fn from(
        &self,
        subscription: SubscriptionId,
        slot: Slot,
    ) -> impl Iterator<Item = (Slot, &Page)> {
        let lane = self.lanes.get(&subscription);
        lane.into_iter().flat_map(move |lane| {
            let start = lane.range(..=slot).next_back();
            let start = start.map_or(slot, |(first, _)| *first);
            lane.range(start..).map(|(first, page)| (*first, page))
        })
    }
}
