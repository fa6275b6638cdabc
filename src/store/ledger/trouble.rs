//! Subscriptions that only fail: since when, and what was told of it.
//!
//! It is part of what the log adds up to, so that days of failures are days of failures across restarts.
//! One success ends it, and so does everything that gives a subscription a new beginning: that it is
//! resumed, or gets another URL.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Effect, Ledger};
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::domain::ids::SubscriptionId;
use crate::domain::news::News;
use crate::store::error::StoreError;
use crate::store::state::State;
use crate::store::state::rows;

/// Nothing but failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When the first failed attempt began, in milliseconds of Unix time.
    pub since_ms: u64,
    /// Attempts that failed since.
    pub failures: u32,
    /// A delivery died meanwhile, and that was told.
    pub dead_letters: bool,
}

/// The troubles of the last checkpoint.
pub(super) fn load(state: &State) -> Result<HashMap<SubscriptionId, Trouble>, StoreError> {
    let mut troubles = HashMap::new();
    for row in state.range(rows::all(b'f')) {
        let (key, value) = row?;
        if let Some(subscription) = rows::read_trouble(&key) {
            troubles.insert(subscription, rows::decode("a trouble", &value)?);
        }
    }
    Ok(troubles)
}

impl Ledger {
    /// The failures of a subscription since its last success.
    pub fn trouble(&self, subscription: SubscriptionId) -> Option<Trouble> {
        self.troubles.get(&subscription).copied()
    }

    /// Takes note of how a delivery that was open fared.
    pub(super) fn note_trouble(
        &mut self,
        attempt: &Attempt,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        match attempt.outcome {
            Outcome::Cancelled => Ok(()),
            Outcome::Delivered => {
                self.end_trouble(attempt.subscription, effects);
                Ok(())
            }
            Outcome::Retry { .. } | Outcome::Dead => self.add_trouble(attempt, effects),
        }
    }

    fn add_trouble(
        &mut self,
        attempt: &Attempt,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let subscription = attempt.subscription;
        let (at_ms, was_made) = (attempt.started_at_ms, attempt.was_made());
        let trouble = self.troubles.entry(subscription).or_insert(Trouble {
            since_ms: at_ms,
            failures: 0,
            dead_letters: false,
        });
        trouble.failures = trouble.failures.saturating_add(u32::from(was_made));
        if attempt.outcome == Outcome::Dead && !trouble.dead_letters {
            trouble.dead_letters = true;
            let news = News::DeadLetters {
                event: attempt.event,
                attempts: attempt.number,
            };
            effects.push(Effect::News(subscription, news));
        }
        let trouble = *trouble;
        self.overlay
            .put(rows::trouble(subscription), rows::encode(&trouble)?);
        if was_made {
            effects.push(Effect::Failed {
                subscription,
                trouble,
                at_ms,
            });
        }
        Ok(())
    }

    fn end_trouble(&mut self, subscription: SubscriptionId, effects: &mut Vec<Effect>) {
        if let Some(trouble) = self.forget_trouble(subscription)
            && trouble.dead_letters
        {
            let news = News::Recovered {
                failing_since_ms: trouble.since_ms,
                failures: trouble.failures,
            };
            effects.push(Effect::News(subscription, news));
        }
    }

    pub(super) fn forget_trouble(&mut self, subscription: SubscriptionId) -> Option<Trouble> {
        let trouble = self.troubles.remove(&subscription)?;
        self.overlay.remove(rows::trouble(subscription));
        Some(trouble)
    }

    /// A subscription is about to be as in `new`.
    pub(super) fn note_change(&mut self, new: &Subscription, effects: &mut Vec<Effect>) {
        let Some(old) = self.directory.subscription(new.id) else {
            return;
        };
        let is_new_beginning = old.url != new.url
            || (old.status != new.status && new.status == SubscriptionStatus::Active);
        if let SubscriptionStatus::Paused { reason } = &new.status
            && old.status == SubscriptionStatus::Active
        {
            let reason = reason.clone();
            effects.push(Effect::News(new.id, News::Paused { reason }));
        }
        if is_new_beginning {
            self.forget_trouble(new.id);
        }
    }
}
