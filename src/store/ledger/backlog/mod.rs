//! The backlog: every delivery that is not settled for good, by subscription, on pages.
//!
//! A row for each would make a dead receiver's backlog cost hundreds of bytes of memory and disk per
//! event. So deliveries stand on pages of up to 128 in the order of their events; of a page that
//! nobody works on only its summary is in memory. Pages that changed are written with the next
//! checkpoint; one that comes and goes between two checkpoints never reaches the disk, which is what
//! makes the common case, an event delivered at once, cost sled nothing.
//!
//! Invariants:
//! - A page is known by the slot that it was begun with, which is not above its first entry, and it
//!   ends before the slot of the next page.
//! - Every change dirties its page, so what is in memory is bounded by what a checkpoint may take, and
//!   by `MAX_LOADED_ENTRIES`.

mod counts;
mod page;
mod search;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use self::counts::Counts;
use self::counts::Tally;
use self::page::{ENTRY_BYTES, Summary};
pub use self::page::{Entry, MAX_ENTRIES};
pub use self::search::{Located, Status};
use crate::domain::ids::SubscriptionId;
use crate::store::error::StoreError;
use crate::store::state::State;
use crate::store::state::overlay::Overlay;
use crate::store::state::rows::{self, Slot};

/// What a page takes beside its entries, in memory and in a checkpoint; an estimate.
const PAGE_BYTES: usize = 96;
/// Entries that may stay in memory after a checkpoint: 8 MiB of them.
const MAX_LOADED_ENTRIES: usize = 128 << 10;
/// A page with fewer entries joins the one before it if they fit on one.
const SMALL_PAGE: usize = MAX_ENTRIES / 4;

#[derive(Debug)]
struct Page {
    summary: Summary,
    /// `None` when it is only on disk.
    entries: Option<Vec<Entry>>,
    /// A row of the state, or of the checkpoint under way, holds it as it once was.
    stored: bool,
    dirty: bool,
}

impl Page {
    fn of(entries: Vec<Entry>) -> Self {
        Self {
            summary: Summary::of(&entries),
            entries: Some(entries),
            stored: false,
            dirty: false,
        }
    }

    fn load(
        &mut self,
        overlay: &Overlay,
        id: (SubscriptionId, Slot),
    ) -> Result<&mut Vec<Entry>, StoreError> {
        if self.entries.is_none() {
            self.entries = Some(read(overlay, id)?);
        }
        Ok(self.entries.get_or_insert_default())
    }

    /// The entries, without keeping them in memory.
    fn look(
        &self,
        overlay: &Overlay,
        id: (SubscriptionId, Slot),
    ) -> Result<Cow<'_, [Entry]>, StoreError> {
        match &self.entries {
            Some(entries) => Ok(Cow::Borrowed(entries)),
            None => Ok(Cow::Owned(read(overlay, id)?)),
        }
    }
}

fn read(overlay: &Overlay, (of, first): (SubscriptionId, Slot)) -> Result<Vec<Entry>, StoreError> {
    let row = overlay.get(&rows::page(of, first))?;
    page::decode(&row.unwrap_or_default())
}

type Lane = BTreeMap<Slot, Page>;

/// See the module.
#[derive(Debug, Default)]
pub struct Backlog {
    lanes: HashMap<SubscriptionId, Lane>,
    tally: Tally,
    dirty: BTreeSet<(SubscriptionId, Slot)>,
    dirty_bytes: usize,
}

impl Backlog {
    /// The backlog of the last checkpoint.
    pub fn load(state: &State) -> Result<Self, StoreError> {
        let mut backlog = Self::default();
        for row in state.range(rows::all(b'o')) {
            let (key, value) = row?;
            let Some((subscription, first)) = rows::read_page(&key) else {
                continue;
            };
            let page = Page {
                summary: Summary::of(&page::decode(&value)?),
                entries: None,
                stored: true,
                dirty: false,
            };
            backlog.tally.add(subscription, &page.summary);
            let lane = backlog.lanes.entry(subscription).or_default();
            lane.insert(first, page);
        }
        Ok(backlog)
    }

    /// What a checkpoint would have to write; an estimate from above.
    pub fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// Puts an open delivery, in the place of what is known by its slot.
    pub fn put(
        &mut self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        entry: Entry,
    ) -> Result<(), StoreError> {
        self.tally.add(subscription, &entry);
        let lane = self.lanes.entry(subscription).or_default();
        let Some((&first, page)) = lane.range_mut(..=entry.slot).next_back() else {
            lane.insert(entry.slot, Page::of(vec![entry]));
            self.note_dirty(subscription, entry.slot);
            return Ok(());
        };
        let entries = page.load(overlay, (subscription, first))?;
        match entries.binary_search_by(|it| it.slot.cmp(&entry.slot)) {
            Ok(at) => {
                self.tally.take(subscription, &entries[at]);
                entries[at] = entry;
                page.summary = Summary::of(entries);
            }
            Err(MAX_ENTRIES..) => {
                lane.insert(entry.slot, Page::of(vec![entry]));
                self.note_dirty(subscription, entry.slot);
                return Ok(());
            }
            Err(at) if at == entries.len() => {
                entries.push(entry);
                page.summary.add(&entry);
            }
            Err(at) => {
                entries.insert(at, entry);
                let rest =
                    (entries.len() > MAX_ENTRIES).then(|| entries.split_off(entries.len() / 2));
                page.summary = Summary::of(entries);
                if let Some(rest) = rest {
                    let middle = rest[0].slot;
                    lane.insert(middle, Page::of(rest));
                    self.note_dirty(subscription, middle);
                }
            }
        }
        self.dirty_bytes += ENTRY_BYTES;
        self.note_dirty(subscription, first);
        Ok(())
    }

    /// Changes an open delivery, or removes it where `change` gives `None`. `false` if there is none.
    pub fn change(
        &mut self,
        overlay: &mut Overlay,
        subscription: SubscriptionId,
        slot: Slot,
        change: impl FnOnce(Entry) -> Option<Entry>,
    ) -> Result<bool, StoreError> {
        let Some(lane) = self.lanes.get_mut(&subscription) else {
            return Ok(false);
        };
        let Some((&first, page)) = lane.range_mut(..=slot).next_back() else {
            return Ok(false);
        };
        let entries = page.load(overlay, (subscription, first))?;
        let Ok(at) = entries.binary_search_by(|it| it.slot.cmp(&slot)) else {
            return Ok(false);
        };
        self.tally.take(subscription, &entries[at]);
        match change(entries[at]) {
            Some(changed) => {
                self.tally.add(subscription, &changed);
                entries[at] = changed;
            }
            None => {
                entries.remove(at);
            }
        }
        page.summary = Summary::of(entries);
        if page.summary.count == 0 {
            self.remove_page(overlay, subscription, first);
        } else {
            self.note_dirty(subscription, first);
        }
        Ok(true)
    }

    /// An open delivery.
    pub fn get(
        &self,
        overlay: &Overlay,
        subscription: SubscriptionId,
        slot: Slot,
    ) -> Result<Option<Entry>, StoreError> {
        let lane = self.lanes.get(&subscription);
        let Some((&first, page)) = lane.and_then(|lane| lane.range(..=slot).next_back()) else {
            return Ok(None);
        };
        let entries = page.look(overlay, (subscription, first))?;
        let at = entries.binary_search_by(|it| it.slot.cmp(&slot));
        Ok(at.ok().map(|at| entries[at]))
    }

    /// Removes a subscription's deliveries, some pages of them. Says how many deliveries that were.
    pub fn forget(
        &mut self,
        overlay: &mut Overlay,
        subscription: SubscriptionId,
        pages: usize,
    ) -> usize {
        let lane = self.lanes.get(&subscription);
        let some = lane.into_iter().flatten().take(pages);
        let some: Vec<_> = some.map(|(first, page)| (*first, page.summary)).collect();
        for (first, summary) in &some {
            self.tally.take(subscription, summary);
            self.remove_page(overlay, subscription, *first);
        }
        some.iter().map(|(_, summary)| summary.count).sum()
    }

    /// The subscriptions that have something open.
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> {
        self.lanes.keys().copied()
    }

    fn remove_page(&mut self, overlay: &mut Overlay, subscription: SubscriptionId, first: Slot) {
        let Some(lane) = self.lanes.get_mut(&subscription) else {
            return;
        };
        if lane.remove(&first).is_some_and(|page| page.stored) {
            overlay.remove(rows::page(subscription, first));
        }
        if lane.is_empty() {
            self.lanes.remove(&subscription);
        }
        self.dirty.remove(&(subscription, first));
    }

    fn note_dirty(&mut self, subscription: SubscriptionId, first: Slot) {
        let lane = self.lanes.get_mut(&subscription);
        if let Some(page) = lane.and_then(|lane| lane.get_mut(&first))
            && !page.dirty
        {
            page.dirty = true;
            self.dirty_bytes += PAGE_BYTES + page.summary.count * ENTRY_BYTES;
            self.dirty.insert((subscription, first));
        }
    }

    /// Hands what changed to the overlay, for the checkpoint that is about to be taken.
    pub fn save(&mut self, overlay: &mut Overlay) -> Result<(), StoreError> {
        let dirty = self.dirty.clone();
        for (subscription, first) in dirty {
            self.join_if_small(overlay, subscription, first)?;
        }
        for (subscription, first) in std::mem::take(&mut self.dirty) {
            let lane = self.lanes.get_mut(&subscription);
            if let Some(page) = lane.and_then(|lane| lane.get_mut(&first)) {
                let entries = page.load(overlay, (subscription, first))?;
                overlay.put(rows::page(subscription, first), page::encode(entries)?);
                page.stored = true;
                page.dirty = false;
            }
        }
        self.dirty_bytes = 0;
        self.drop_if_many();
        Ok(())
    }

    /// Has a small page join the one before it, so that what stays behind of many pages does not take a
    /// row each.
    fn join_if_small(
        &mut self,
        overlay: &mut Overlay,
        subscription: SubscriptionId,
        first: Slot,
    ) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.get_mut(&subscription) else {
            return Ok(());
        };
        let fits = |count: usize| count <= MAX_ENTRIES - SMALL_PAGE;
        let small = lane
            .get(&first)
            .is_some_and(|page| page.summary.count < SMALL_PAGE);
        let before = lane.range(..first).next_back();
        let before = before.filter(|(_, page)| small && fits(page.summary.count));
        let Some(before) = before.map(|(before, _)| *before) else {
            return Ok(());
        };
        let mut joining = match lane.get_mut(&first) {
            Some(page) => std::mem::take(page.load(overlay, (subscription, first))?),
            None => return Ok(()),
        };
        if let Some(page) = lane.get_mut(&before) {
            let entries = page.load(overlay, (subscription, before))?;
            entries.append(&mut joining);
            page.summary = Summary::of(entries);
        }
        self.remove_page(overlay, subscription, first);
        self.note_dirty(subscription, before);
        Ok(())
    }

    /// Everything is in the checkpoint, so nothing has to be in memory.
    fn drop_if_many(&mut self) {
        let loaded = |page: &Page| page.entries.as_ref().map_or(0, Vec::len);
        let pages = || self.lanes.values().flat_map(BTreeMap::values);
        if pages().map(loaded).sum::<usize>() > MAX_LOADED_ENTRIES {
            for page in self.lanes.values_mut().flat_map(BTreeMap::values_mut) {
                page.entries = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
