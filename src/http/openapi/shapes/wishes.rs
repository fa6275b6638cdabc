//! What is asked of a subscription.

use serde_json::{Value, json};

use crate::actors::delivery::{MAX_IN_FLIGHT, MAX_RATE};
use crate::domain::filter::{
    MAX_CONDITIONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_PATH_SEGMENTS,
};
use crate::domain::format::NAMES as FORMATS;
use crate::domain::handshake::MAX_ORIGIN_BYTES;
use crate::domain::ordering::MAX_KEY_PATH_BYTES;
use crate::domain::retry::{MAX_ATTEMPTS, MAX_WAIT_MS};
use crate::http::subscriptions::reading::{
    HIDDEN, MAX_HEADER_BYTES, MAX_HEADERS, OWN_HEADERS, OWN_PREFIXES,
};
use crate::http::subscriptions::rotation::{MAX_OVERLAP_SECONDS, OVERLAP_SECONDS};
use crate::outbound::MAX_URL_BYTES;

/// A name in a path: dots stand between names, and a dot in one is written `\.`.
const NAME_IN_PATH: &str = r"(?:[^.\\]|\\[\s\S])+";

shapes! {
    SecretOverlap = json!({
        "type": "integer", "minimum": 0, "maximum": MAX_OVERLAP_SECONDS, "default": OVERLAP_SECONDS,
        "examples": [3600], "description": "How long the old secret still signs, beside the new one.",
    });
    Url = json!({
        "type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^#]+$", "maxLength": MAX_URL_BYTES,
        "examples": ["https://example.com/hooks"],
        "description": "Where deliveries go: http or https, port 80, 443 or above 1023, no user and no fragment. \
                        An address that is not public is refused unless the operator allows it.",
    });
    Secret = json!({
        "type": "string", "pattern": "^wh(sec|sk)_[A-Za-z0-9+/]{32,88}={0,2}$", "writeOnly": true,
        "description": "What deliveries are signed with: `whsec_` and the base64 of 24 to 64 random bytes, or a \
                        private key, `whsk_` and the base64 of the 64 bytes of an ed25519 key pair.",
    });
    ShownSecret = json!({
        "type": "string", "pattern": "^wh(sec|sk)_[A-Za-z0-9+/]{32,88}={0,2}$", "readOnly": true,
        "examples": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA="],
        "description": "What deliveries are signed with. It is shown once, where it is made.",
    });
    PublicKey = json!({
        "type": "string", "pattern": "^whpk_[A-Za-z0-9+/]{43}=$",
        "examples": ["whpk_3nFw2bq8Jk0m9d4v6yQp1sR7tXcZaLhGfUoEiBnMWkA="],
        "description": "What receivers verify with, where the secret is a private key.",
    });
    Headers = json!({
        "type": "object", "maxProperties": MAX_HEADERS, "examples": [{ "authorization": "Bearer token" }],
        "propertyNames": { "pattern": header_name() },
        "additionalProperties": {
            "type": "string", "maxLength": MAX_HEADER_BYTES,
            "pattern": format!(r"^(?!{}$)[\t -~]*$", HIDDEN.replace('*', r"\*")),
        },
        "description": "Headers that are sent along, kept sealed and never shown. None may take the place of one \
                        that the relay sets, in whatever case.",
    });
    HiddenHeaders = json!({
        "type": "object", "additionalProperties": { "const": HIDDEN }, "examples": [{ "authorization": HIDDEN }],
        "description": "The names of the headers that are sent along; their values are never shown.",
    });
    Format = json!({
        "type": "string", "enum": FORMATS.map(|(_, name)| name), "default": "raw", "examples": ["raw"],
        "description": "How bodies are sent. `raw`: the bytes that came in. `standard`: `type`, `timestamp` and \
                        `data`. `cloudevents`: CloudEvents 1.0, structured.",
    });
    MaxInFlight = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_IN_FLIGHT, "examples": [4],
        "description": "Attempts that are under way at once.",
    });
    AttemptRate = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_RATE, "examples": [50],
        "description": "Attempts that may begin in a second.",
    });
    Ordering = json!({
        "oneOf": [
            { "type": "string", "enum": ["none", "strict"] },
            {
                "type": "object", "required": ["by"], "additionalProperties": false,
                "properties": {
                    "by": {
                        "type": "string", "minLength": 1, "maxLength": MAX_KEY_PATH_BYTES,
                        "pattern": format!("^{}$", path()), "examples": ["data.order_id"],
                    },
                },
            },
        ],
        "examples": ["none"],
        "description": "`strict`: one at a time, in the order of acceptance. `by`: in that order within the value at \
                        a path into the event.",
    });
    Wait = json!({
        "type": "string", "pattern": wait(), "examples": ["5m"],
        "description": "A whole number and its unit: `500ms`, `15s`, `5m`, `2h`, `30d`; at most 30 days.",
    });
    RetrySchedule = json!({
        "type": "array", "items": { "$ref": "#/components/schemas/Wait" }, "minItems": 1, "maxItems": MAX_ATTEMPTS,
        "examples": [["0s", "10s", "5m", "1h"]],
        "description": "The waits before each attempt. After the last a delivery is dead.",
    });
    Filter = json!({
        "type": "object", "minProperties": 1, "additionalProperties": false,
        "properties": {
            "$and": { "type": "array", "items": { "$ref": "#/components/schemas/Filter" }, "minItems": 1 },
            "$or": { "type": "array", "items": { "$ref": "#/components/schemas/Filter" }, "minItems": 1 },
            "$not": { "$ref": "#/components/schemas/Filter" },
        },
        "patternProperties": { (path_in_filter()): { "$ref": "#/components/schemas/Wanted" } },
        "examples": [{ "data.total": { "$gte": 100 }, "$or": [{ "data.vip": true }, { "data.tags": "gold" }] }],
        "description": format!("What must be in an event's body: paths into it, and what is wanted there. At most \
            {MAX_FILTER_BYTES} bytes, {MAX_CONDITIONS} conditions and {MAX_FILTER_DEPTH} levels."),
    });
    Wanted = json!({
        "anyOf": [
            { "type": ["string", "number", "boolean", "null", "array"] },
            { "$ref": "#/components/schemas/Condition" },
        ],
        "examples": [{ "$gte": 100 }],
        "description": "A value stands for itself; an object holds operators, or paths from here on.",
    });
    Condition = json!({
        "type": "object", "minProperties": 1, "additionalProperties": false,
        "properties": {
            "$eq": {}, "$neq": {}, "$contains": {},
            "$gt": { "type": ["number", "string"] }, "$gte": { "type": ["number", "string"] },
            "$lt": { "type": ["number", "string"] }, "$lte": { "type": ["number", "string"] },
            "$in": { "type": "array" }, "$nin": { "type": "array" }, "$exist": { "type": "boolean" },
            "$startsWith": { "type": "string" }, "$endsWith": { "type": "string" },
            "$and": { "type": "array", "items": { "$ref": "#/components/schemas/Wanted" }, "minItems": 1 },
            "$or": { "type": "array", "items": { "$ref": "#/components/schemas/Wanted" }, "minItems": 1 },
            "$not": { "$ref": "#/components/schemas/Wanted" },
        },
        "patternProperties": { (path_in_filter()): { "$ref": "#/components/schemas/Wanted" } },
        "examples": [{ "$gte": 100 }],
        "description": "What is wanted of the value at a path.",
    });
    SubscriptionStatus = json!({
        "type": "string", "enum": ["active", "paused"], "examples": ["active"],
        "description": "Whether deliveries are sent, or wait.",
    });
    Trial = json!({
        "oneOf": [
            {
                "type": "object", "additionalProperties": false,
                "properties": { "handshake": { "const": false } },
            },
            {
                "type": "object", "additionalProperties": false, "required": ["handshake"],
                "properties": {
                    "handshake": { "const": true },
                    "origin": {
                        "type": ["string", "null"], "minLength": 1, "maxLength": MAX_ORIGIN_BYTES,
                        "pattern": r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$", "examples": ["relay.example.com"],
                    },
                },
            },
        ],
        "examples": [{ "handshake": true, "origin": "relay.example.com" }],
        "description": "With `handshake` the endpoint is asked whether it wants to be sent to by `origin`, and gets \
                        no event.",
    });
    AllowedRate = json!({
        "oneOf": [
            { "type": "integer", "minimum": 1, "maximum": u32::MAX },
            { "const": "*" },
        ],
        "examples": [120], "description": "How many requests a minute an endpoint takes; `*` for any number.",
    });
}

/// A path into an event.
fn path() -> String {
    let more = MAX_PATH_SEGMENTS - 1;
    format!(r"{NAME_IN_PATH}(?:\.{NAME_IN_PATH}){{0,{more}}}")
}

/// A member of a filter that is no operator.
fn path_in_filter() -> String {
    format!(r"^(?!\$[^.]){}$", path())
}

/// The name of a header that is not the relay's own; the relay looks at it in any case.
fn header_name() -> String {
    let own = OWN_HEADERS.join("|");
    let prefixes = OWN_PREFIXES.join("|");
    format!("^(?!({own})$)(?!{prefixes})[!#-'*+.^_`|~0-9A-Za-z-]+$")
}

/// A wait of at most [`MAX_WAIT_MS`], in each unit.
fn wait() -> String {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let each = units.map(|(unit, unit_ms)| format!("({}){unit}", at_most(MAX_WAIT_MS / unit_ms)));
    format!("^0*({})$", each.join("|"))
}

/// The decimal numbers up to this one, as a regular expression.
fn at_most(most: u64) -> String {
    let digits = most.to_string();
    let fewer = digits.len() - 1;
    let mut alternatives = vec![digits.clone()];
    if fewer > 0 {
        alternatives.push(format!("[0-9]{{1,{fewer}}}"));
    }
    for (at, digit) in digits.bytes().enumerate() {
        let least = if at == 0 { b'1' } else { b'0' };
        if digit > least {
            let (before, after) = (&digits[..at], fewer - at);
            let (least, below) = (char::from(least), char::from(digit - 1));
            alternatives.push(format!("{before}[{least}-{below}][0-9]{{{after}}}"));
        }
    }
    alternatives.join("|")
}
