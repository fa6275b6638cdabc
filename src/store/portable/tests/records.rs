//! A directory with something of everything.

use serde_json::json;

use super::*;
use crate::domain::directory::{Account, CustomHeader, Integration, LiveKey, SubscriptionStatus};
use crate::domain::filter::Filter;
use crate::domain::format::Format;
use crate::domain::retry::Schedule;
use crate::domain::signature::{PrivateKey, SigningKey};

/// An account, its door, its keys and its subscriptions.
pub fn directory() -> Vec<Change> {
    let account = Account {
        id: AccountId::from_bits(1),
        name: "shop \"one\"\n".to_owned(),
        suspended: true,
        created_at_ms: 1,
    };
    let integration = Integration {
        id: IntegrationId::from_bits(1),
        account: account.id,
        name: "door".to_owned(),
        ingest_key: "in_door".to_owned(),
        enabled: false,
        created_at_ms: 2,
    };
    let mut bound = key(1, 1);
    bound.integration = Some(integration.id);
    bound.expires_at_ms = Some(99_000);
    let mut paused = subscription(7, 1, &["a", "b.**"]);
    paused.status = SubscriptionStatus::Paused {
        reason: "gone".to_owned(),
    };
    paused.retry_schedule = Some(Schedule::new(vec![0, 1_500]).unwrap());
    paused.integration = Some(integration.id);
    paused.filter =
        Some(Filter::new(json!({ "$not": { "data.absent": { "$exist": true } } })).unwrap());
    paused.format = Format::Standard;
    paused.rate_limit = Some(9);
    let sealed = ring().seal_bytes(b"Bearer x", paused.id.to_bits(), [4; 24]);
    paused.headers = vec![CustomHeader {
        name: "authorization".to_owned(),
        value: sealed.unwrap(),
    }];
    let old = SigningKey::Private(PrivateKey::from_seed(&[5; 32]).unwrap());
    paused.keys.push(LiveKey {
        secret: ring().seal(&old, paused.id.to_bits(), [6; 24]).unwrap(),
        ends_at_ms: Some(77_000),
    });
    vec![
        Change::PutAccount(account.into()),
        Change::PutIntegration(integration.into()),
        Change::PutKey(bound.into()),
        Change::PutKey(key(2, 1).into()),
        Change::DeleteKey(KeyId::from_bits(2)),
        Change::PutSubscription(paused.into()),
        Change::PutSubscription(subscription(8, 1, &["**"]).into()),
    ]
}
