//! Which subscriptions want an event.
//!
//! Asked with the directory as it stood at the event's own place in the journal, it gives the same
//! answer however often it is asked. Answers are remembered per integration and type: real traffic has
//! few of those, and a change of any subscription forgets them all.

use std::collections::HashMap;
use std::sync::Arc;

use super::directory::Directory;
use super::event::EventMeta;
use super::event_type::EventType;
use super::ids::{AccountId, IntegrationId, SubscriptionId};

/// How many answers are remembered before all are forgotten. Senders choose their types, so that there
/// may be any number of them.
const MAX_REMEMBERED: usize = 4096;
/// How many subscriptions all the answers may name together before all are forgotten: 8 MiB. With ten
/// thousand subscriptions that want everything, the bound on answers alone would be 300 MiB.
const MAX_NAMED: usize = 1 << 20;

/// Answers which subscriptions want an event.
#[derive(Debug, Default)]
pub struct MatchTable {
    remembered: HashMap<(AccountId, IntegrationId, EventType), Arc<[SubscriptionId]>>,
    /// Subscriptions that the answers name, together.
    named: usize,
}

impl MatchTable {
    /// To be called with every change of a subscription: what is remembered no longer holds.
    pub fn forget(&mut self) {
        self.remembered.clear();
        self.named = 0;
    }

    /// The subscriptions that want the event, in the order of their ids.
    pub fn matching(&mut self, directory: &Directory, event: &EventMeta) -> Arc<[SubscriptionId]> {
        let question = (event.account, event.integration, event.event_type.clone());
        if let Some(answer) = self.remembered.get(&question) {
            return Arc::clone(answer);
        }
        let answer: Arc<[SubscriptionId]> = directory
            .subscriptions()
            .filter(|subscription| subscription.may_want(event))
            .map(|subscription| subscription.id)
            .collect();
        if self.remembered.len() >= MAX_REMEMBERED || self.named + answer.len() > MAX_NAMED {
            self.forget();
        }
        self.named += answer.len();
        self.remembered.insert(question, Arc::clone(&answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::Change;
    use crate::domain::directory::fixtures::subscription;
    use crate::domain::event::Content;
    use crate::domain::ids::EventId;

    fn event(account: u64, integration: u64, event_type: &str) -> EventMeta {
        EventMeta {
            id: EventId(uuid::Uuid::nil()),
            account: AccountId::from_bits(account),
            integration: IntegrationId::from_bits(integration),
            event_type: event_type.parse().unwrap(),
            content: Content::Json,
            accepted_at_ms: 0,
            idempotency: None,
            body_bytes: 0,
        }
    }

    #[test]
    fn an_event_goes_to_its_own_account_and_integration_and_type_only() {
        let mut directory = Directory::default();
        let mut table = MatchTable::default();
        let mut narrow = subscription(1, 10, &["order.*"]);
        narrow.integration = Some(IntegrationId::from_bits(100));
        for subscription in [
            narrow,
            subscription(2, 10, &["**"]),
            subscription(3, 20, &["**"]),
        ] {
            directory.apply(&Change::PutSubscription(subscription.into()));
        }
        let mut ids = |event: EventMeta| -> Vec<u64> {
            table
                .matching(&directory, &event)
                .iter()
                .map(|id| id.to_bits())
                .collect()
        };
        assert_eq!(ids(event(10, 100, "order.paid")), [1, 2]);
        assert_eq!(ids(event(10, 101, "order.paid")), [2]);
        assert_eq!(ids(event(10, 100, "user.created")), [2]);
        assert_eq!(ids(event(20, 100, "order.paid")), [3]);
        assert_eq!(ids(event(30, 100, "order.paid")), [0_u64; 0]);
    }

    #[test]
    fn answers_are_forgotten_before_they_name_too_many() {
        let mut directory = Directory::default();
        for id in 0..1000 {
            directory.apply(&Change::PutSubscription(
                subscription(id, 1, &["**"]).into(),
            ));
        }
        let mut table = MatchTable::default();
        for n in 0..MAX_REMEMBERED {
            let matching = table.matching(&directory, &event(1, 1, &format!("t.{n}")));
            assert_eq!(matching.len(), 1000);
            let kept: usize = table.remembered.values().map(|ids| ids.len()).sum();
            assert_eq!(kept, table.named);
            assert!(kept <= MAX_NAMED);
        }
    }

    #[test]
    fn a_forgotten_answer_is_found_anew() {
        let mut directory = Directory::default();
        let mut table = MatchTable::default();
        assert!(table.matching(&directory, &event(1, 1, "a")).is_empty());
        directory.apply(&Change::PutSubscription(subscription(5, 1, &["a"]).into()));
        table.forget();
        assert_eq!(table.matching(&directory, &event(1, 1, "a")).len(), 1);
    }
}
