//! A random history of a store: commits, checkpoints and crashes, the same for the same seed; on the
//! real disk, or on a simulated one ([`cuts`]), where any step can fail.

pub mod cuts;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use self::cuts::Asked;
use super::model::Model;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::directory::fixtures::{key, subscription};
use crate::domain::directory::{Change, Steer, Steered};
use crate::domain::event::{Event, Place};
use crate::domain::ids::{AccountId, DeliveryId, KeyId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::retry::Schedule;
use crate::store::committer::Commit;
use crate::store::disk::real::RealDisk;
use crate::store::error::StoreError;
use crate::store::fixtures::{Random, attempt, copy_dir, event, options, scratch};
use crate::store::journal::Layout;
use crate::store::journal::segment::store_id_of;
use crate::store::opening::{self, Opened};
use crate::store::state::checkpoint;
use crate::store::state::overlay::Frozen;
use crate::store::{Options, Report};

/// The most subscriptions and keys at a time: a snapshot of them fits into a small segment.
const MAX_RECORDS: usize = 12;
/// Times are below this.
const HORIZON_MS: u64 = 100_000;

pub struct History {
    pub random: Random,
    model: Model,
    dir: TempDir,
    store: Option<Opened>,
    pub options: Options,
    /// A checkpoint that is taken but not written.
    saving: Option<Arc<Frozen>>,
    next_id: u64,
    /// A commit that failed: whatever of it is found later, it is the beginning.
    unsure: Option<Asked>,
}

/// A journal as it once was, and what it added up to.
pub struct Older {
    journal: TempDir,
    model: Model,
}

impl History {
    pub fn new(seed: u64) -> Self {
        let dir = scratch();
        let options = options(dir.path());
        let mut history = Self::with(seed, dir, options);
        history.reopen();
        history.checkpoint().unwrap();
        history
    }

    /// One that is still to be opened.
    pub fn with(seed: u64, dir: TempDir, options: Options) -> Self {
        let mut random = Random(seed);
        let options = Options {
            first_wait_ms: random.below(2) * 500,
            ..options
        };
        Self {
            random,
            model: Model::default(),
            dir,
            store: None,
            options,
            saving: None,
            next_id: 1,
            unsure: None,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn layout(&self) -> Layout {
        let journal = self.dir().join("journal");
        let segments = std::fs::read_dir(&journal).unwrap();
        let mut segments = segments.map(|entry| entry.unwrap().path());
        let ids = segments.find_map(|path| store_id_of(&RealDisk, &path).unwrap_or(None));
        Layout {
            dir: journal,
            store_id: ids.unwrap(),
            segment_bytes: self.options.segment_bytes,
            min_free_bytes: self.options.min_free_bytes,
            disk: Arc::clone(&self.options.machine.disk),
            background: self.options.machine.background,
        }
    }

    pub fn store(&mut self) -> &mut Opened {
        self.store.as_mut().unwrap()
    }

    /// Lets go of the store as the end of a process does.
    pub fn close(&mut self) {
        self.store = None;
        self.saving = None;
    }

    /// So many steps: mostly a commit, which may be applied at once or later, now and then a
    /// checkpoint.
    pub fn run(&mut self, steps: usize) -> Result<(), StoreError> {
        for _ in 0..steps {
            self.commit()?;
            if self.random.chance(70) {
                self.apply_all()?;
            }
            if self.random.chance(10) {
                self.store().ledger.sweep(0, 0, 3)?;
            }
            match self.random.below(12) {
                0 => self.checkpoint()?,
                1 if self.saving.is_none() => {
                    self.saving = Some(self.store().ledger.freeze()?);
                }
                2 => self.finish_saving()?,
                _ => {}
            }
        }
        Ok(())
    }

    pub fn apply_all(&mut self) -> Result<(), StoreError> {
        let Opened { log, ledger, .. } = self.store();
        let mut effects = Vec::new();
        while let Some(record) = log.next(ledger.applied().position)? {
            while !ledger.apply(&record, &mut effects)? {}
        }
        Ok(())
    }

    fn finish_saving(&mut self) -> Result<(), StoreError> {
        if let Some(rows) = self.saving.take() {
            checkpoint::write(&self.store().state, &rows)?;
            self.store().ledger.thaw();
        }
        Ok(())
    }

    /// A checkpoint of everything that is committed.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.finish_saving()?;
        self.apply_all()?;
        self.saving = Some(self.store().ledger.freeze()?);
        self.finish_saving()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let before = self.model.clone();
        let changes = self.some_changes();
        let attempts = self.some_attempts();
        let asked = Asked {
            changes,
            attempts,
            events: self.some_events(),
            after: self.store().log.end(),
        };
        let commit = Commit {
            at_ms: 1,
            changes: asked.changes.clone(),
            attempts: asked.attempts.clone(),
            events: asked.events.clone(),
            ..Commit::default()
        };
        self.model = before;
        let done = match self.store().work.commit(commit) {
            Ok(done) => done,
            Err(error) if error.is_refusal() => return Ok(()),
            Err(error) => {
                self.unsure = Some(asked);
                return Err(error);
            }
        };
        self.changed(&asked.changes);
        self.settled(&asked.attempts);
        self.accepted(&asked.events, done.events_at);
        Ok(())
    }

    fn changed(&mut self, changes: &[Change]) {
        for change in changes {
            self.model.change(change);
        }
    }

    fn settled(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.model.settle(attempt);
        }
    }

    fn accepted(&mut self, events: &[Event], position: Option<u64>) {
        for (index, event) in (0..).zip(events) {
            let position = position.unwrap();
            let place = Place { position, index };
            self.model.accept(event, place, self.options.first_wait_ms);
        }
    }

    fn some_events(&mut self) -> Vec<Event> {
        let count = self.random.below(5);
        let one = |_| {
            self.next_id += 1;
            let size = usize::try_from(self.random.below(600)).unwrap();
            let mut event = event(self.next_id, size);
            event.meta.account = AccountId::from_bits(1 + self.random.below(2));
            event.meta.event_type = ["a", "a.b", "c"]
                [usize::try_from(self.random.below(3)).unwrap()]
            .parse()
            .unwrap();
            event.meta.accepted_at_ms = self.random.below(HORIZON_MS);
            event
        };
        (0..count).map(one).collect()
    }

    fn some_changes(&mut self) -> Vec<Change> {
        let count = self.random.below(3);
        let decided = |_| {
            let change = self.a_change()?;
            self.model.change(&change);
            Some(change)
        };
        (0..count).filter_map(decided).collect()
    }

    fn a_change(&mut self) -> Option<Change> {
        let directory = &self.model.directory;
        let subscriptions: Vec<SubscriptionId> =
            directory.subscriptions().map(|it| it.id).collect();
        let keys: Vec<KeyId> = directory.keys().map(|it| it.id).collect();
        let random = &mut self.random;
        match random.below(10) {
            0..=3 if subscriptions.len() < MAX_RECORDS => {
                self.next_id += 1;
                Some(self.a_subscription(self.next_id))
            }
            4 => {
                let id = *random.pick(&subscriptions)?;
                Some(self.a_subscription(id.to_bits()))
            }
            5 => random
                .pick(&subscriptions)
                .map(|id| Change::DeleteSubscription(*id)),
            6 if keys.len() < MAX_RECORDS => {
                self.next_id += 1;
                Some(Change::PutKey(key(self.next_id, 1).into()))
            }
            7 => random.pick(&keys).map(|id| Change::DeleteKey(*id)),
            8 => {
                let at_ms = random.below(HORIZON_MS);
                let used = random.pick(&keys).map(|id| (*id, at_ms))?;
                Some(Change::KeysUsed(vec![used]))
            }
            _ => self.a_wish(),
        }
    }

    /// Somebody wants an open delivery attempted, or given up.
    fn a_wish(&mut self) -> Option<Change> {
        let open: Vec<_> = self.model.open.iter().collect();
        let ((place, of), open) = self.random.pick(&open)?;
        if self.random.chance(30) {
            let (number, outcome) = (open.attempts, Outcome::Cancelled);
            let cancelled = attempt(open.event, *place, *of, number, outcome);
            return Some(Change::Cancelled([cancelled].into()));
        }
        let steered = Steered {
            delivery: DeliveryId {
                event: open.event,
                subscription: *of,
                generation: 0,
            },
            place: *place,
            at_ms: 1 + self.random.below(HORIZON_MS),
            steer: Steer::Retry,
        };
        Some(Change::Steered([steered].into()))
    }

    fn a_subscription(&mut self, id: u64) -> Change {
        let pattern = ["**", "a", "a.*", "c"][usize::try_from(self.random.below(4)).unwrap()];
        let mut made = subscription(id, 1 + id % 2, &[pattern]);
        if self.random.chance(30) {
            made.ordering = Ordering::Strict;
        }
        if self.random.chance(30) {
            let waits = vec![self.random.below(2) * 700, 5_000];
            made.retry_schedule = Some(Schedule::new(waits).unwrap());
        }
        Change::PutSubscription(made.into())
    }

    /// Attempts for what is open, each delivery once, and for what was open when its subscription
    /// went.
    fn some_attempts(&mut self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for ((place, of), open) in &self.model.open {
            if self.random.chance(85) || attempts.len() == 8 {
                continue;
            }
            let outcome = match self.random.below(10) {
                0..=4 => Outcome::Delivered,
                5..=7 => Outcome::Retry {
                    // At no time at all is at once, and stands in line.
                    due_ms: self.random.below(HORIZON_MS).max(1),
                },
                8 => Outcome::Dead,
                _ => Outcome::Cancelled,
            };
            let number = open.attempts + 1;
            attempts.push(attempt(open.event, *place, *of, number, outcome));
        }
        if self.random.chance(50)
            && let Some((place, of, event)) = self.model.gone.pop()
        {
            let outcome = match self.random.below(3) {
                0 => Outcome::Retry { due_ms: 1 },
                1 => Outcome::Dead,
                _ => Outcome::Cancelled,
            };
            attempts.push(attempt(event, place, of, 1, outcome));
        }
        attempts
    }

    /// Leaves the store as a crash would: sometimes with everything still open.
    pub fn crash(&mut self) {
        if self.random.chance(50) {
            self.store = None;
        }
        let left = scratch();
        copy_dir(self.dir.path(), left.path());
        self.store = None;
        self.saving = None;
        self.options.dir = left.path().to_owned();
        self.dir = left;
    }

    pub fn reopen(&mut self) -> Report {
        self.try_reopen().unwrap()
    }

    pub fn try_reopen(&mut self) -> Result<Report, StoreError> {
        let store = opening::open(&self.options)?;
        let report = store.report;
        self.store = Some(store);
        Ok(report)
    }

    pub fn keep_journal(&self) -> Older {
        let journal = scratch();
        copy_dir(&self.dir.path().join("journal"), journal.path());
        Older {
            journal,
            model: self.model.clone(),
        }
    }

    pub fn restore_journal(&mut self, older: Older) {
        let journal = self.dir.path().join("journal");
        std::fs::remove_dir_all(&journal).unwrap();
        copy_dir(older.journal.path(), &journal);
        self.model = older.model;
    }

    /// The store says what the model says, once nothing is left to apply and to sweep.
    pub fn check(&mut self) {
        self.apply_all().unwrap();
        while self.store().ledger.sweep(0, 0, 5).unwrap() {}
        let now_ms = self.random.below(HORIZON_MS);
        self.model.check(self.store.as_ref().unwrap(), now_ms);
    }
}
