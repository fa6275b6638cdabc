//! The end of a history: everything that is in the way is taken away, and once all is at rest, what is
//! left is held against what was promised.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::process::{Process, UNJOURNALLED};
use super::world::World;
use crate::domain::delivery::OpenState;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::ledger::Open;
use crate::store::opening;

/// Rounds in which everything has to come to rest.
const MAX_ROUNDS: usize = 20_000;

impl World {
    /// Takes away everything that is in the way, waits until all is at rest, and looks at what is left.
    pub fn finish(mut self) -> Self {
        if self.is_failing {
            self.end();
        }
        self.disk.keep_power();
        self.disk.set_free_bytes(u64::MAX);
        self.failing_percent = self.random.below(2) * 30;
        self.come_to_rest();
        let open = self.open();
        let waiting = open
            .iter()
            .filter(|(_, it)| it.delivery.state != OpenState::Dead);
        assert_eq!(waiting.count(), 0, "forgotten: {open:?}");
        let dead: BTreeSet<(EventId, SubscriptionId, u16)> = open
            .iter()
            .map(|(of, it)| (it.delivery.event, *of, it.slot.generation))
            .collect();
        self.witness.check(&dead);
        self.read_log();
        self.rebuild(&open);
        let most = self.counts.ends * UNJOURNALLED as u64;
        assert!(
            self.witness.repeats <= most,
            "{} repeats",
            self.witness.repeats
        );
        self
    }

    fn come_to_rest(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let busy = self.round().expect("nothing is in the way");
            if busy {
                continue;
            }
            let held = self.pump();
            let held_ms = held.map(|held| u64::try_from(held.as_millis()).unwrap() + 1);
            let alarm_ms = self.process().dispatch.next_alarm_ms();
            let alarm_ms = alarm_ms.map(|due_ms| due_ms.saturating_sub(self.now_ms));
            let Some(wait_ms) = [held_ms, alarm_ms].into_iter().flatten().min() else {
                return;
            };
            self.pass(wait_ms);
            let now_ms = self.now_ms;
            self.process().dispatch.ring(now_ms).unwrap();
        }
        panic!("it does not come to rest");
    }

    /// Everything that can happen without time passing. Says whether anything did.
    fn round(&mut self) -> Result<bool, StoreError> {
        let now_ms = self.now_ms;
        let process = self.process();
        process.dispatch.outlet().are_busy = false;
        process.look_for_space(now_ms);
        let mut busy = process.commit(true, now_ms);
        let written = process.write_commit();
        if let Some(written) = written {
            self.witness.committed(&written);
            busy = true;
        }
        let process = self.process();
        busy |= process.end_commit(now_ms);
        busy |= process.turn(now_ms)?;
        process.dispatch.send_offers(now_ms)?;
        busy |= process.go_on_saving()?;
        self.hear();
        self.pump();
        while let Some(last) = self.process().running.len().checked_sub(1) {
            busy = true;
            self.go_on(last)?;
            self.hear();
            if self.process().changing.is_some() {
                break;
            }
        }
        if self.process().changing.is_none() {
            let view_ids: Vec<_> = {
                let view = self.process().view.read();
                view.subscriptions().map(|it| it.id).collect()
            };
            let process = self.process();
            let resumed = view_ids
                .into_iter()
                .find_map(|id| process.with_status(id, true));
            if let Some(change) = resumed {
                process.change(vec![change]);
                busy = true;
            }
        }
        let at_end =
            self.process().dispatch.ledger().applied().position >= self.process().log.end();
        Ok(busy || !at_end)
    }

    fn open(&mut self) -> Vec<Open> {
        let ledger = self.process().dispatch.ledger();
        let ids: Vec<_> = ledger.directory().subscriptions().map(|it| it.id).collect();
        ledger.open_before(&ids, None, None, usize::MAX).unwrap()
    }

    /// Ids grow in the order of the log.
    fn read_log(&mut self) {
        let log = Arc::clone(&self.process().log);
        let mut position = log.start();
        let mut ids: Vec<EventId> = Vec::new();
        while let Some(record) = log.next(position).unwrap() {
            position = record.next;
            if let Some(Entry::Accepted(events)) = &record.entry {
                ids.extend(events.iter().map(|event| event.meta.id));
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "ids do not grow: {ids:?}");
        if log.journal().layout().segment_of(log.start()) == 0 {
            self.witness.check_log(&ids.into_iter().collect());
        }
    }

    /// The journal alone leads to the same state.
    fn rebuild(&mut self, open: &[Open]) {
        let directory = self.process().dispatch.ledger().directory().clone();
        self.process = None;
        self.disk.kill();
        self.engine.lose();
        let rebuilt = opening::open(&self.options).unwrap();
        assert_eq!(*rebuilt.ledger.directory(), directory);
        self.process = Some(Process::start(rebuilt, self.schedule.clone()));
        assert_eq!(self.open(), open);
    }
}
