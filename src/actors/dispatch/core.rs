//! The dispatcher without its mailbox: reads the log through the ledger, tells the lanes what that
//! means for them, and says when there is something to be checkpointed or told.
//!
//! Time is an argument; timers, and writing checkpoints, are somebody else's. After an error nothing
//! here may be used any more: the process ends.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::lanes::{Lanes, Outlet};
use super::watch::{Telling, Watch};
use crate::store::error::StoreError;
use crate::store::ledger::{Effect, Ledger};
use crate::store::log::Log;
use crate::store::state::State;
use crate::store::state::checkpoint::MAX_CHECKPOINT_BYTES;
use crate::store::state::overlay::Frozen;

/// Rows removed by one sweep.
const SWEEP_ROWS: usize = 1000;

/// How much is done and kept at a time.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Deliveries that one lane may have been offered and not settled.
    pub window: usize,
    /// Records applied before others get their turn.
    pub records_a_turn: usize,
    /// Memory that changes may take before they are checkpointed.
    pub unsaved_bytes: usize,
}

impl Bounds {
    /// For lanes with windows of this size.
    pub fn with_window(window: usize) -> Self {
        Self {
            window,
            records_a_turn: 32,
            unsaved_bytes: MAX_CHECKPOINT_BYTES,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Core<O> {
    log: Arc<Log>,
    ledger: Ledger,
    lanes: Lanes<O>,
    state: Arc<State>,
    bounds: Bounds,
    watch: Watch,
    savers: Vec<oneshot::Sender<()>>,
}

/// A checkpoint to be written. Until [`Core::saved`] there is no other.
#[derive(Debug)]
pub struct Checkpoint {
    /// What to write.
    pub rows: Arc<Frozen>,
    position: u64,
    savers: Vec<oneshot::Sender<()>>,
}

/// What a turn came to.
#[derive(Debug)]
pub struct Turn {
    /// There is more to read at once.
    pub more: bool,
    /// To be written before much more can be read.
    pub checkpoint: Option<Checkpoint>,
}

impl<O: Outlet> Core<O> {
    /// Goes on from where the ledger stands, with what it holds for the subscriptions there are.
    pub fn new(
        log: Arc<Log>,
        ledger: Ledger,
        state: Arc<State>,
        outlet: O,
        bounds: Bounds,
        watch: Watch,
    ) -> Self {
        let mut lanes = Lanes::new(outlet, bounds.window);
        for subscription in ledger.directory().subscriptions() {
            lanes.resume(subscription.id);
        }
        Self {
            log,
            ledger,
            lanes,
            state,
            bounds,
            watch,
            savers: Vec::new(),
        }
    }

    /// What the log adds up to, as far as it was read.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where the last checkpoint stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where offers go.
    pub fn outlet(&mut self) -> &mut O {
        self.lanes.outlet()
    }

    /// Reads on in the log, for a bounded while, and sends what that makes to be offered.
    pub fn turn(&mut self, now_ms: u64) -> Result<Turn, StoreError> {
        let mut checkpoint = None;
        let mut more = true;
        let mut effects = Vec::new();
        for _ in 0..self.bounds.records_a_turn {
            if self.is_full() && checkpoint.is_none() {
                checkpoint = self.save()?;
            }
            // The end of the checkpoint that is under way brings us back.
            more = !self.is_full() && self.step(&mut effects)?;
            if !more {
                break;
            }
        }
        self.send_offers(now_ms)?;
        Ok(Turn { more, checkpoint })
    }

    /// Applies the next record and takes note of what it means. `false` at the end of the log.
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<bool, StoreError> {
        let Some(record) = self.log.next(self.ledger.applied().position)? else {
            return Ok(false);
        };
        self.ledger.apply(&record, effects)?;
        for effect in effects.drain(..) {
            self.lanes.note(&effect);
            self.watch.note(effect, record.position);
        }
        Ok(true)
    }

    /// Memory is bounded by two checkpoints: one that is being written, one that fills.
    pub fn is_full(&self) -> bool {
        self.ledger.unsaved_bytes() >= self.bounds.unsaved_bytes
    }

    /// Fills the lanes' room, and sends all offers, also those that were not taken before.
    pub fn send_offers(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.lanes.send_offers(&self.ledger, now_ms)
    }

    /// Whether an offer was not taken and is to be sent again shortly.
    pub fn has_unsent(&self) -> bool {
        self.lanes.has_unsent()
    }

    /// When the next retry is due.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        self.lanes.next_alarm_ms()
    }

    /// Offers what has come due.
    pub fn ring(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.lanes.ring(now_ms);
        self.send_offers(now_ms)
    }

    /// What is to be told, or done about subscriptions that only fail, since this was asked last.
    pub fn tellings(&mut self) -> Vec<Telling> {
        self.watch.tellings()
    }

    /// Looks for subscriptions whose backlog has waited for long. Says how long the oldest has that is not
    /// paused.
    pub fn look_for_old_backlogs(&mut self, now_ms: u64) -> u64 {
        self.watch.look(&self.ledger, now_ms)
    }

    /// Removes rows that nobody needs, a few at a time. Says whether there are more. Does nothing while
    /// memory is full.
    pub fn sweep(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        if self.is_full() {
            return Ok(false);
        }
        self.ledger.sweep(now_ms, self.log.start(), SWEEP_ROWS)
    }

    /// Who hears when everything that is read by now is checkpointed.
    pub fn tell_when_saved(&mut self, saver: oneshot::Sender<()>) {
        self.savers.push(saver);
    }

    /// Begins a checkpoint, unless one is under way or there is nothing to save.
    pub fn save(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        if self.ledger.is_saving() {
            return Ok(None);
        }
        let position = self.ledger.applied().position;
        if position == self.state.saved_to() && self.ledger.unsaved_bytes() == 0 {
            tell(std::mem::take(&mut self.savers));
            return Ok(None);
        }
        Ok(Some(Checkpoint {
            rows: self.ledger.freeze()?,
            position,
            savers: std::mem::take(&mut self.savers),
        }))
    }

    /// The checkpoint is synced.
    pub fn saved(&mut self, checkpoint: Checkpoint) {
        self.ledger.thaw();
        self.state.note_saved(checkpoint.position);
        tell(checkpoint.savers);
    }
}

fn tell(savers: Vec<oneshot::Sender<()>>) {
    for saver in savers {
        // Whoever asked may have stopped waiting.
        let _ = saver.send(());
    }
}
