//! Events with their open deliveries, and idempotency keys, as lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::text::{Hex, Time};
use crate::domain::delivery::{OpenDelivery, OpenState};
use crate::domain::event::{Content, Event, EventMeta, Place};
use crate::domain::event_type::EventType;
use crate::domain::ids::{AccountId, EventId, IntegrationId, SubscriptionId};
use crate::domain::ordering::Group;
use crate::store::carried::{CarriedDelivery, CarriedEvent, CarriedKey};
use crate::store::ledger::Open;
use crate::store::state::rows::KeyedRequest;

/// An event: exactly one of `body` and `body_base64`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    pub uuid: EventId,
    accepted_at: Time,
    pub account_id: AccountId,
    integration_id: IntegrationId,
    r#type: EventType,
    content: ContentLine,
    /// The bytes, if they are UTF-8: as they came, and never parsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    pub deliveries: Vec<DeliveryLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ContentLine {
    /// An object with `event` and `data`.
    Json,
    /// A `CloudEvents` event in structured mode.
    CloudeventStructured,
    /// A `CloudEvents` event in binary mode.
    CloudeventBinary {
        content_type: Option<String>,
        attributes: Vec<(String, String)>,
    },
}

/// A delivery that is not settled.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryLine {
    pub subscription_id: SubscriptionId,
    pub generation: u16,
    attempts: u16,
    /// Attempts that its schedule does not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    forgiven: u16,
    /// What it keeps its order with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    state: StateLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Time>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateLine {
    Waiting,
    Retrying,
    Dead,
}

/// An idempotency key and its answer. The key itself is in no store: `scope` is the first half of the
/// SHA-256 of account, integration and key, `body` that of the request's body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyLine {
    scope: Hex<16>,
    body: Hex<16>,
    uuids: Vec<EventId>,
    expires_at: Time,
}

/// Left out where it says nothing.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl EventLine {
    /// An event and its open deliveries as a line.
    pub fn of(event: &Event, open: &[Open]) -> Self {
        let EventMeta {
            id,
            account,
            integration,
            event_type,
            content,
            accepted_at_ms,
            // Has a line of its own.
            idempotency: _,
            body_bytes: _,
        } = &event.meta;
        let body = String::from_utf8(event.body.to_vec()).ok();
        let base64 = body.is_none().then(|| STANDARD.encode(&event.body));
        Self {
            uuid: *id,
            accepted_at: Time(*accepted_at_ms),
            account_id: *account,
            integration_id: *integration,
            r#type: event_type.clone(),
            content: ContentLine::of(content),
            body,
            body_base64: base64,
            deliveries: open.iter().map(DeliveryLine::of).collect(),
        }
    }

    /// The event, named by a place, and its open deliveries; an error names the member.
    pub fn carried(self, place: Place) -> Result<CarriedEvent, String> {
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(base64)) => {
                let decoded = STANDARD.decode(base64);
                Bytes::from(decoded.map_err(|error| format!("body_base64: {error}"))?)
            }
            _ => return Err("exactly one of body and body_base64 must be there".to_owned()),
        };
        let uuid = self.uuid;
        let open = self.deliveries.into_iter().map(|it| it.carried(uuid));
        let open = open.collect::<Result<_, _>>()?;
        let meta = EventMeta {
            id: uuid,
            account: self.account_id,
            integration: self.integration_id,
            event_type: self.r#type,
            content: self.content.content(),
            accepted_at_ms: self.accepted_at.0,
            idempotency: None,
            body_bytes: u32::try_from(body.len()).map_err(|_| "body is too large".to_owned())?,
        };
        let event = Event { meta, body };
        Ok(CarriedEvent { place, event, open })
    }
}

impl ContentLine {
    fn of(content: &Content) -> Self {
        match content {
            Content::Json => Self::Json,
            Content::Structured => Self::CloudeventStructured,
            Content::Binary {
                content_type,
                attributes,
            } => Self::CloudeventBinary {
                content_type: content_type.clone(),
                attributes: attributes.clone(),
            },
        }
    }

    fn content(self) -> Content {
        match self {
            Self::Json => Content::Json,
            Self::CloudeventStructured => Content::Structured,
            Self::CloudeventBinary {
                content_type,
                attributes,
            } => Content::Binary {
                content_type,
                attributes,
            },
        }
    }
}

impl DeliveryLine {
    fn of((subscription, entry): &Open) -> Self {
        let (state, due_at) = match entry.delivery.state {
            OpenState::Waiting => (StateLine::Waiting, None),
            OpenState::Retrying { due_ms } => (StateLine::Retrying, Some(Time(due_ms))),
            OpenState::Dead => (StateLine::Dead, None),
        };
        Self {
            subscription_id: *subscription,
            generation: entry.slot.generation,
            attempts: entry.delivery.attempts,
            forgiven: entry.delivery.forgiven,
            group: entry.delivery.group,
            state,
            due_at,
        }
    }

    fn carried(self, event: EventId) -> Result<CarriedDelivery, String> {
        let state = match (self.state, self.due_at) {
            (StateLine::Waiting, None) => OpenState::Waiting,
            (StateLine::Retrying, Some(due)) => OpenState::Retrying { due_ms: due.0 },
            (StateLine::Dead, None) => OpenState::Dead,
            _ => return Err("due_at belongs to a delivery that is retrying".to_owned()),
        };
        Ok(CarriedDelivery {
            subscription: self.subscription_id,
            generation: self.generation,
            delivery: OpenDelivery {
                event,
                attempts: self.attempts,
                forgiven: self.forgiven,
                group: self.group,
                state,
            },
        })
    }
}

impl IdempotencyLine {
    /// A key as a line.
    pub fn of(scope: [u8; 16], request: &KeyedRequest, uuids: Vec<EventId>) -> Self {
        Self {
            scope: Hex(scope),
            body: Hex(request.body),
            uuids,
            expires_at: Time(request.expires_at_ms),
        }
    }

    /// The key; an error names the member.
    pub fn carried(self) -> Result<CarriedKey, String> {
        let first = self.uuids.first().ok_or("uuids must name at least one")?;
        let events = u32::try_from(self.uuids.len()).map_err(|_| "uuids are too many")?;
        let request = KeyedRequest {
            body: self.body.0,
            first: *first,
            // Its place is that of the record it is written to.
            place: Place {
                position: 0,
                index: 0,
            },
            events,
            expires_at_ms: self.expires_at.0,
        };
        Ok(CarriedKey {
            scope: self.scope.0,
            request,
            ids: self.uuids,
        })
    }
}
