//! What the rest of the relay sees of the dispatch actor: questions to the ledger.

use std::time::Duration;

use actix::Addr;
use tokio::sync::oneshot;

use super::Dispatch;
use crate::actors::Unavailable;
use crate::actors::mailbox::Mailbox;
use crate::actors::metrics::MailboxMeter;
use crate::domain::audit::Deed;
use crate::domain::event::Place;
use crate::domain::ids::{AccountId, EventId, SubscriptionId};
use crate::store::error::StoreError;
use crate::store::ledger::backlog::{Counts, Entry, Located, Status};
use crate::store::ledger::{Ledger, Open, Standing};
use crate::store::log::Log;
use crate::store::state::rows::Slot;

/// How soon the dispatcher is asked again whether it has caught up.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(2);

/// Asks the dispatcher.
#[derive(Debug, Clone)]
pub struct DispatchHandle {
    mailbox: Mailbox<Dispatch>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The actor does not take more questions, or has stopped.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DispatchHandle {
    pub(super) fn new(addr: Addr<Dispatch>, meter: MailboxMeter) -> Self {
        let mailbox = Mailbox::new(addr, meter);
        Self { mailbox }
    }

    /// The deliveries of an event that are not settled for good.
    pub async fn open_of(&self, place: Place) -> Result<Vec<Open>, DispatchError> {
        self.ask(move |ledger| ledger.open_of(place)).await
    }

    /// Deliveries for these subscriptions that are not settled for good, those of the newest event
    /// first, strictly before a delivery.
    pub async fn open_before(
        &self,
        among: Vec<SubscriptionId>,
        status: Option<Status>,
        before: Option<(SubscriptionId, Slot)>,
        limit: usize,
    ) -> Result<Vec<Open>, DispatchError> {
        self.ask(move |ledger| ledger.open_before(&among, status, before, limit))
            .await
    }

    /// A delivery of the event of this id, for one of these subscriptions, that is not settled for good.
    pub async fn open_of_id(
        &self,
        among: Vec<SubscriptionId>,
        id: EventId,
    ) -> Result<Option<Entry>, DispatchError> {
        self.ask(move |ledger| ledger.open_of_id(&among, id)).await
    }

    /// The deliveries of a subscription that are not settled for good, after one of them, in order: a few
    /// pages of them, and none only where there are no more.
    pub async fn open_some(
        &self,
        subscription: SubscriptionId,
        after: Option<Slot>,
        pages: usize,
    ) -> Result<Vec<Entry>, DispatchError> {
        self.ask(move |ledger| ledger.open_some(subscription, after, pages))
            .await
    }

    /// How a subscription stands.
    pub async fn standing(&self, subscription: SubscriptionId) -> Result<Standing, DispatchError> {
        self.ask(move |ledger| ledger.standing(subscription)).await
    }

    /// How many deliveries of these subscriptions are not settled for good.
    pub async fn count_open(&self, among: Vec<SubscriptionId>) -> Result<u64, DispatchError> {
        self.ask(move |ledger| Ok(among.iter().map(|id| ledger.count_open(*id)).sum()))
            .await
    }

    /// How the deliveries of some subscriptions stand, each, and how those of all these stand together.
    pub async fn counts(
        &self,
        some: Vec<SubscriptionId>,
        all: Vec<SubscriptionId>,
    ) -> Result<(Vec<Counts>, Counts), DispatchError> {
        self.ask(move |ledger| {
            let mut sum = Counts::default();
            for id in all {
                sum.add(ledger.counts(id));
            }
            Ok((some.iter().map(|id| ledger.counts(*id)).collect(), sum))
        })
        .await
    }

    /// Returns when everything that is in the log by now has been applied.
    pub async fn caught_up(&self, log: &Log) -> Result<(), DispatchError> {
        let end = log.end();
        while self.applied().await? < end {
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
        Ok(())
    }

    /// Where an open delivery's event stands now; `None` when it is settled for good.
    pub async fn place_of(
        &self,
        subscription: SubscriptionId,
        slot: Slot,
    ) -> Result<Option<Place>, DispatchError> {
        self.ask(move |ledger| ledger.place_of(subscription, slot))
            .await
    }

    /// The first events that stand before a position and are open for anybody, at most `limit` of them,
    /// and the position up to which the log says so.
    pub async fn located_before(
        &self,
        position: u64,
        limit: usize,
    ) -> Result<(u64, Located), DispatchError> {
        self.ask(move |ledger| {
            let as_of = ledger.applied().position;
            Ok((as_of, ledger.located_before(position, limit)?))
        })
        .await
    }

    /// Everything before this position has been applied.
    pub async fn applied(&self) -> Result<u64, DispatchError> {
        self.ask(|ledger| Ok(ledger.applied().position)).await
    }

    /// A position at or before the record that holds an event, near it.
    pub async fn near(&self, event: EventId) -> Result<Option<u64>, DispatchError> {
        self.ask(move |ledger| ledger.near(event)).await
    }

    /// What was done to an account, the latest first, before a number: at most `limit` of it, each with
    /// its number.
    pub async fn deeds(
        &self,
        account: AccountId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Deed)>, DispatchError> {
        self.ask(move |ledger| ledger.deeds(account, before, limit))
            .await
    }

    /// Writes a last checkpoint, so that the next start has nothing to replay.
    pub async fn save(&self) -> Result<(), DispatchError> {
        let (reply, saved) = oneshot::channel();
        self.mailbox
            .post(Save { reply })
            .map_err(Unavailable::from)?;
        saved.await.map_err(|_| Unavailable::Stopped.into())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ledger) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, DispatchError> {
        let (reply, answer) = oneshot::channel();
        let answer_with = Box::new(move |ledger: &Ledger| {
            let _ = reply.send(question(ledger));
        });
        self.mailbox
            .post(Ask { answer_with })
            .map_err(Unavailable::from)?;
        Ok(answer.await.map_err(|_| Unavailable::Stopped)??)
    }
}

pub(super) struct Ask {
    pub(super) answer_with: Box<dyn FnOnce(&Ledger) + Send>,
}

pub(super) struct Save {
    pub(super) reply: oneshot::Sender<()>,
}
