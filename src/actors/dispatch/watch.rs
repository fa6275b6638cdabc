//! What the dispatcher sees of subscriptions that are not well: what operators are to be told, and which
//! of them are to be paused.
//!
//! It finds out and says so; telling and pausing are somebody else's. That it has told of an old backlog
//! is forgotten with the process, and told again at most once: the telling has an idempotency key.

use std::collections::HashMap;

use crate::domain::ids::{EventId, SubscriptionId};
use crate::domain::news::News;
use crate::store::ledger::{Effect, Ledger, Trouble};

/// Attempts that must have failed before a subscription is paused for it, however long it has failed.
pub const DISABLE_MIN_ATTEMPTS: u32 = 10;

/// When a subscription is not well.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After so long of nothing but failures it is paused.
    pub disable_after_ms: u64,
    /// What has waited for so long is told of.
    pub old_backlog_ms: u64,
}

/// Something to be done about a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// It is to be paused, for this reason.
    Pause(SubscriptionId, String),
    /// Operators are to hear of it. The number tells the same news apart from other news.
    Tell(SubscriptionId, News, u64),
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    patience: Patience,
    tellings: Vec<Telling>,
    /// Whose backlog is old, and the event that was told of.
    old: HashMap<SubscriptionId, EventId>,
}

impl Watch {
    /// With so much patience.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            tellings: Vec::new(),
            old: HashMap::new(),
        }
    }

    /// Takes note of what a record at a position meant.
    pub fn note(&mut self, effect: Effect, position: u64) {
        match effect {
            Effect::Failed {
                subscription,
                trouble,
                at_ms,
            } => self.failed(subscription, trouble, at_ms),
            Effect::News(subscription, news) => {
                self.tellings
                    .push(Telling::Tell(subscription, news, position));
            }
            Effect::Unsubscribed(subscription) => {
                self.old.remove(&subscription);
            }
            Effect::Created(..) | Effect::Settled { .. } | Effect::Hurried(..) => {}
        }
    }

    fn failed(&mut self, subscription: SubscriptionId, trouble: Trouble, at_ms: u64) {
        let failing_ms = at_ms.saturating_sub(trouble.since_ms);
        if trouble.failures >= DISABLE_MIN_ATTEMPTS && failing_ms >= self.patience.disable_after_ms
        {
            let hours = failing_ms / 3_600_000;
            let attempts = trouble.failures;
            let reason = format!("nothing but failures for {hours} hours, in {attempts} attempts");
            self.tellings.push(Telling::Pause(subscription, reason));
        }
    }

    /// Looks at the backlogs. Says how long the oldest delivery has waited whose subscription is not paused.
    pub fn look(&mut self, ledger: &Ledger, now_ms: u64) -> u64 {
        let mut oldest_ms = 0;
        for id in ledger.backlogged() {
            let oldest = ledger.oldest_pending(id);
            let waited_ms = oldest.map_or(0, |event| now_ms.saturating_sub(event.unix_ms()));
            if ledger.directory().is_going(id) {
                oldest_ms = oldest_ms.max(waited_ms);
            }
            let known = self.old.contains_key(&id);
            match oldest.filter(|_| waited_ms >= self.patience.old_backlog_ms) {
                Some(event) if !known => {
                    self.old.insert(id, event);
                    let number = event.unix_ms();
                    let news = News::OldBacklog { event };
                    self.tellings.push(Telling::Tell(id, news, number));
                }
                Some(_) => {}
                None => self.caught_up(id),
            }
        }
        let gone: Vec<_> = self.old.keys().copied().collect();
        for id in gone {
            if ledger.oldest_pending(id).is_none() {
                self.caught_up(id);
            }
        }
        oldest_ms
    }

    fn caught_up(&mut self, subscription: SubscriptionId) {
        if let Some(event) = self.old.remove(&subscription) {
            let news = News::CaughtUp;
            self.tellings
                .push(Telling::Tell(subscription, news, event.unix_ms()));
        }
    }

    /// What is to be done, once.
    pub fn tellings(&mut self) -> Vec<Telling> {
        std::mem::take(&mut self.tellings)
    }
}
