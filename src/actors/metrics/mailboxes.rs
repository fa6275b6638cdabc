//! What waits in actors' mailboxes, and what they had no room for.

use prometheus::{IntCounter, IntGauge};

use super::{Maker, MetricsError};

/// An actor that others send messages to.
#[derive(Debug, Clone, Copy)]
pub enum Mailed {
    /// Commits.
    Queue,
    /// Knows what is open.
    Dispatch,
    /// Decides on changes.
    Directory,
    /// Sends to a receiver; all lanes are counted together.
    Lane,
    /// Does things with many deliveries.
    Tasks,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mailboxes([MailboxMeter; 5]);

/// Counts the messages to an actor.
#[derive(Debug, Clone)]
pub struct MailboxMeter {
    waiting: IntGauge,
    refused: IntCounter,
}

/// A message that waits; it does not any more when this is dropped.
#[derive(Debug)]
pub struct Waits(IntGauge);

impl Mailboxes {
    pub fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        let meter = |actor| {
            let actor = [("actor", actor)];
            Ok::<_, MetricsError>(MailboxMeter {
                waiting: maker.labelled_gauge(
                    "postrider_mailbox_messages",
                    "Messages that an actor has not begun to handle.",
                    &actor,
                )?,
                refused: maker.labelled(
                    "postrider_mailbox_refused_total",
                    "Messages that an actor had no room for.",
                    &actor,
                )?,
            })
        };
        Ok(Self([
            meter("queue")?,
            meter("dispatch")?,
            meter("directory")?,
            meter("lane")?,
            meter("tasks")?,
        ]))
    }

    pub fn of(&self, actor: Mailed) -> MailboxMeter {
        let [queue, dispatch, directory, lane, tasks] = &self.0;
        let meter = match actor {
            Mailed::Queue => queue,
            Mailed::Dispatch => dispatch,
            Mailed::Directory => directory,
            Mailed::Lane => lane,
            Mailed::Tasks => tasks,
        };
        meter.clone()
    }
}

impl MailboxMeter {
    /// One more message waits.
    pub fn waits(&self) -> Waits {
        self.waiting.inc();
        Waits(self.waiting.clone())
    }

    /// How many wait, and how many there was no room for.
    #[cfg(test)]
    pub fn counts(&self) -> (i64, u64) {
        (self.waiting.get(), self.refused.get())
    }

    /// There was no room for one.
    pub fn refused(&self) {
        self.refused.inc();
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.dec();
    }
}
