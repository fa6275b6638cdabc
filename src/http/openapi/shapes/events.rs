//! How events are sent in.

use serde_json::{Value, json};

use crate::http::content::MAX_BATCH_EVENTS;

shapes! {
    Event = json!({
        "type": "object", "required": ["event", "data"],
        "properties": {
            "event": { "$ref": "#/components/schemas/SentEventType" },
            "data": { "description": "Anything. It is delivered as it came: numbers and order stay." },
        },
        "examples": [{ "event": "order.completed", "data": { "order_id": 67890, "total": 99.99 } }],
        "description": "An event. Further members are kept and delivered, too.",
    });
    Events = json!({
        "type": "object", "required": ["events"],
        "properties": {
            "events": {
                "type": "array", "items": { "$ref": "#/components/schemas/Event" },
                "minItems": 1, "maxItems": MAX_BATCH_EVENTS,
            },
        },
        "examples": [{ "events": [
            { "event": "order.completed", "data": { "order_id": 67890 } },
            { "event": "order.shipped", "data": { "order_id": 67890 } },
        ] }],
        "description": "Events, all of which are accepted, or none.",
    });
    EventLines = json!({
        "type": "array", "items": { "$ref": "#/components/schemas/Event" },
        "minItems": 1, "maxItems": MAX_BATCH_EVENTS,
        "description": "Events, one on each line, with nothing between them but the line's end.",
    });
    CloudEvent = json!({
        "type": "object", "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1 },
            "type": { "$ref": "#/components/schemas/SentEventType" },
            "data": { "description": "Anything." },
            "data_base64": { "type": ["string"], "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$" },
        },
        "propertyNames": { "pattern": "^([a-z0-9]+|data_base64)$" },
        "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        "not": { "required": ["data", "data_base64"] },
        "examples": [{
            "specversion": "1.0", "id": "A234-1234-1234", "source": "/shop",
            "type": "order.completed", "data": { "order_id": 67890 },
        }],
        "description": "A CloudEvents 1.0 event in the JSON format, either with `data` or with `data_base64`.",
    });
    CloudEvents = json!({
        "type": "array", "items": { "$ref": "#/components/schemas/CloudEvent" },
        "minItems": 1, "maxItems": MAX_BATCH_EVENTS,
        "description": "CloudEvents 1.0 events, all of which are accepted, or none.",
    });
}
