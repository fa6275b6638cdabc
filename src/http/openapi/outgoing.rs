//! What the relay sends itself: the delivery of an event, described as a webhook.

use serde_json::{Value, json};

use super::shapes::EVENT_UUID;
use crate::domain::retry::MAX_RETRY_AFTER_MS;
use crate::outbound::{KEPT_RESPONSE_BYTES, MAX_RESPONSE_BYTES};

/// The delivery of an event to a subscription.
pub fn webhooks() -> Value {
    json!({ "event": { "post": {
        "operationId": "receiveEvent",
        "tags": ["subscriptions"],
        "summary": "An event is delivered",
        "description": "What the relay sends to a subscription's `url`. Any library of Standard Webhooks verifies it: \
            the signed bytes are `webhook-id`, `webhook-timestamp` and the body, dots between them.\n\n\
            Delivery is at least once: `webhook-id` is the same on every attempt, and what was seen is to be left \
            alone. A delivery that fails is tried again on its schedule, each wait varied by up to a fifth, and is \
            dead after its last attempt. Redirects are never followed.\n\n\
            The whole exchange has 15 seconds (the operator's `delivery.timeout`). At most 16 KiB of an answer are \
            read, never decompressed, and of a failure 4 KiB are kept.\n\n\
            The relay's own events, `postrider.*`, come in the same way, to those who ask for them by name.",
        "x-postrider-limits": {
            "response_bytes": MAX_RESPONSE_BYTES,
            "kept_response_bytes": KEPT_RESPONSE_BYTES,
            "retry_after_seconds": MAX_RETRY_AFTER_MS / 1000,
        },
        "security": [],
        "parameters": headers(),
        "requestBody": body(),
        "responses": responses(),
    } } })
}

fn headers() -> Value {
    let header = |name: &str, description: &str, schema: Value, example: Value| {
        json!({
            "name": name, "in": "header", "required": true, "description": description, "schema": schema,
            "example": example,
        })
    };
    let text = || json!({ "type": "string" });
    json!([
        header(
            "webhook-id",
            "The event's uuid, the same on every attempt and replay.",
            json!({ "$ref": "#/components/schemas/EventUuid" }),
            EVENT_UUID.into(),
        ),
        header(
            "webhook-timestamp",
            "When this attempt was made, in seconds of Unix time. Refuse what is old.",
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
            "1896091200".into(),
        ),
        header(
            "webhook-signature",
            "`v1` (HMAC-SHA256) or `v1a` (ed25519), a comma, and the signature in base64. During \
                a rotation several, a space between them: one that is right is enough.",
            json!({ "type": "string", "pattern": "^v1a?,[A-Za-z0-9+/]+={0,2}( v1a?,[A-Za-z0-9+/]+={0,2})*$" }),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".into(),
        ),
        header(
            "x-postrider-event",
            "The event's type.",
            json!({ "$ref": "#/components/schemas/EventType" }),
            "order.completed".into(),
        ),
        header(
            "x-postrider-attempt",
            "Which attempt this is; 1 for the first.",
            json!({ "type": "integer", "minimum": 1 }),
            1.into(),
        ),
        header(
            "user-agent",
            "`Postrider` and its version.",
            text(),
            concat!("Postrider/", env!("CARGO_PKG_VERSION")).into(),
        ),
    ])
}

fn body() -> Value {
    let data = json!({ "order_id": 67890, "total": 99.99 });
    let time = "2030-01-31T12:00:00.042Z";
    let kind = "order.completed";
    json!({
        "required": true,
        "description": "By the subscription's `format`.",
        "content": {
            "application/json": {
                "schema": { "oneOf": [
                    { "$ref": "#/components/schemas/Event" },
                    {
                        "type": "object", "required": ["type", "timestamp", "data"],
                        "properties": {
                            "type": { "$ref": "#/components/schemas/EventType" },
                            "timestamp": { "$ref": "#/components/schemas/Time" },
                            "data": { "description": "The event's data, as it came." },
                        },
                    },
                ] },
                "examples": {
                    "raw": {
                        "summary": "raw: the bytes that came in",
                        "value": { "event": kind, "data": data },
                    },
                    "standard": {
                        "summary": "standard",
                        "value": { "type": kind, "timestamp": time, "data": data },
                    },
                },
            },
            "application/cloudevents+json": {
                "schema": {
                    "type": "object", "required": ["specversion", "id", "source", "type"],
                    "properties": {
                        "specversion": { "const": "1.0" },
                        "id": { "type": "string", "minLength": 1 },
                        "source": { "type": "string", "minLength": 1 },
                        "type": { "$ref": "#/components/schemas/EventType" },
                        "time": { "$ref": "#/components/schemas/Time" },
                        "data": { "description": "The event's data, as it came." },
                    },
                },
                "example": {
                    "specversion": "1.0", "id": EVENT_UUID, "source": "/integrations/int_5Tc9Rw1Bx",
                    "type": kind, "time": time, "datacontenttype": "application/json", "data": data,
                },
            },
            "*/*": {
                "schema": {},
                "x-postrider-format": "raw, of a CloudEvents event in binary mode: its data, and its `ce-` headers",
            },
        },
    })
}

fn responses() -> Value {
    let retry_after = json!({ "Retry-After": {
        "description": "Seconds, or a date. It is obeyed within bounds: a delivery waits a day at most.",
        "schema": { "type": "string" }, "example": "120",
    } });
    json!({
        "2XX": { "description": "The event was received: this delivery is done." },
        "3XX": { "description": "A failure. Redirects are never followed." },
        "410": { "description": "It is not wanted any more: the subscription is paused, and its events wait." },
        "429": {
            "description": "A failure, and too much: everything for this subscription waits.",
            "headers": retry_after,
        },
        "502": { "description": "The same, where a proxy cannot reach the receiver." },
        "503": { "description": "The same, for as long as `Retry-After` says.", "headers": retry_after },
        "504": { "description": "The same, where a proxy waited too long." },
        "default": { "description": "A failure: the delivery is tried again on its schedule." },
    })
}
