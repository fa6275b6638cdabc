//! How values are written: the schemas of everything that has a form of its own.
//!
//! The types of the domain know nothing of descriptions, so each form has a name here, which the views
//! and requests refer to. Bounds come from the constants that the relay checks with.

use serde_json::{Value, json};

use crate::domain::directory::{MAX_NAME_BYTES, MAX_PATTERNS};
use crate::domain::event_type::{EventType as Type, OPERATIONAL};
use crate::domain::ids::{self, RECORD_DIGITS};
use crate::domain::permission::NAMES as PERMISSIONS;
use crate::http::cursor::MAX_CHARS;
use crate::http::keys::MAX_OVERLAP_SECONDS as MAX_KEY_OVERLAP;
use crate::http::keys::{MAX_LIMIT as MAX_QUOTA, MAX_WINDOW_SECONDS};
use crate::http::page::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::http::tail::MAX_TEXT_BYTES;

/// An event that examples tell of.
pub const EVENT_UUID: &str = "01a1ff79-3ae3-7000-9f23-e12f1c0d9d8c";
/// One of its deliveries.
const DELIVERY: &str = "dlv_0351aNnI9rj7SF0dcTCGWS8Yx9Kj2Mn000";
const MOMENT: &str = "2030-01-31T12:00:00.042Z";
const WHOLE_SECOND: &str = "2030-01-31T12:00:00Z";

macro_rules! shapes {
    ($($name:ident = $schema:expr;)+) => {
        $(
            #[doc = concat!("How a value of the kind `", stringify!($name), "` is written.")]
            #[derive(Debug)]
            pub enum $name {}

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                    // Its place is kept until the document is finished.
                    utoipa::openapi::Object::new().into()
                }
            }

            impl utoipa::ToSchema for $name {
                fn name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+

        /// Every form of this file by its name.
        pub(super) fn of_this_file() -> Vec<(&'static str, Value)> {
            vec![$((stringify!($name), $schema)),+]
        }
    };
}

mod events;
mod wishes;

pub use self::events::{CloudEvent, CloudEvents, Event, EventLines, Events};
pub use self::wishes::{
    AllowedRate, AttemptRate, Condition, Filter, Format, Headers, HiddenHeaders, MaxInFlight,
    Ordering, PublicKey, RetrySchedule, Secret, SecretOverlap, ShownSecret, SubscriptionStatus,
    Trial, Url, Wait, Wanted,
};

/// Every form by its name.
pub fn all() -> Vec<(&'static str, Value)> {
    let mut all = of_this_file();
    all.extend(events::of_this_file());
    all.extend(wishes::of_this_file());
    all
}

shapes! {
    AccountId = id(ids::AccountId::PREFIX, "3Fk8Lm2Qz", "Names an account.");
    IntegrationId = id(ids::IntegrationId::PREFIX, "5Tc9Rw1Bx", "Names an integration.");
    KeyId = id(ids::KeyId::PREFIX, "6Vw4Ig8Kl", "Names an API key. It is not the key and gives no access.");
    SubscriptionId = id(ids::SubscriptionId::PREFIX, "8Yx9Kj2Mn", "Names a subscription.");
    TaskId = id(ids::TaskId::PREFIX, "1Gd7Hs4Vp", "Names a task.");
    DeliveryId = json!({
        "type": "string", "pattern": format!("^{}[0-9A-Za-z]{{34}}$", ids::DeliveryId::PREFIX),
        "description": "Names a delivery: an event on its way to a subscription.",
        "examples": [DELIVERY],
    });
    EventUuid = json!({
        "type": "string", "format": "uuid", "examples": [EVENT_UUID],
        "description": "Names an event: a version 7 UUID. Ids grow in the order of acceptance.",
    });
    IntegrationKey = json!({
        "type": "string", "pattern": "^[0-9A-Za-z]{26}$", "examples": ["7hVq0bWm2RzK4cYt9LsX1dNfGp"],
        "description": "The part of an ingest URL that names its integration, as hard to guess as a key.",
    });
    ApiKey = json!({
        "type": "string", "pattern": "^lwa\\.sk_(live|test)_[0-9A-Za-z]{32}$",
        "examples": ["lwa.sk_live_abcdef1234567890abcdef1234567890"],
        "description": "An API key. It is shown once, where it is made.",
    });
    Time = json!({
        "type": "string", "format": "date-time", "examples": [MOMENT],
        "description": "A time, RFC 3339. Answers have it in UTC with `Z`.",
    });
    KeyTime = json!({
        "type": "string", "format": "date-time", "examples": [WHOLE_SECOND],
        "description": "A time, RFC 3339, in whole seconds. Answers have it in UTC with `Z`.",
    });
    EventType = json!({
        "type": "string", "minLength": 1, "maxLength": Type::MAX_BYTES,
        "pattern": r"^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$", "examples": ["order.completed"],
        "description": "The name of a kind of event: names of a-z, A-Z, 0-9, `_` and `-`, dots between them.",
    });
    SentEventType = json!({
        "type": "string", "minLength": 1, "maxLength": Type::MAX_BYTES,
        "pattern": format!(r"^(?!{OPERATIONAL}(\.|$))[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$"),
        "examples": ["order.completed"],
        "description": format!("The name of a kind of event: names of a-z, A-Z, 0-9, `_` and `-`, dots between \
                                them. Those that begin with `{OPERATIONAL}.` are the relay's own."),
    });
    TypePattern = json!({
        "type": "string", "minLength": 1, "maxLength": Type::MAX_BYTES,
        "pattern": r"^(\*{1,2}|[a-zA-Z0-9_-]+)(\.(\*{1,2}|[a-zA-Z0-9_-]+))*$", "examples": ["order.*"],
        "description": format!("Selects event types: `*` stands for one name, `**` for any number of them. Neither \
                                stands for the relay's own first name, `{OPERATIONAL}`."),
    });
    TypePatterns = json!({
        "type": "array", "items": { "$ref": "#/components/schemas/TypePattern" },
        "minItems": 1, "maxItems": MAX_PATTERNS, "examples": [["order.*"]],
        "description": "The types of the events that are wanted.",
    });
    Name = json!({
        "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "examples": ["Production Server"],
        "pattern": "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$",
        "description": format!("A name that people can read: at most {MAX_NAME_BYTES} bytes of UTF-8, no control \
                                characters, not only spaces. Spaces around it go."),
    });
    Description = json!({
        "type": "string", "maxLength": MAX_NAME_BYTES, "examples": ["The warehouse"],
        "description": format!("At most {MAX_NAME_BYTES} bytes of UTF-8."),
    });
    Permissions = json!({
        "type": "array", "minItems": 1, "examples": [["events:write"]],
        "items": { "type": "string", "enum": permissions() },
        "description": "What a key may do; `*` is everything, today and later.",
    });
    Environment = json!({
        "type": "string", "enum": ["live", "test"], "examples": ["live"],
        "description": "What a key is meant for: a label, with no power of its own.",
    });
    KeyRateLimit = json!({
        "type": "object", "required": ["limit", "window_seconds"], "additionalProperties": false,
        "properties": {
            "limit": between(1, MAX_QUOTA, "Requests in a window."),
            "window_seconds": between(1, MAX_WINDOW_SECONDS, "How long a window is."),
        },
        "examples": [{ "limit": 1000, "window_seconds": 60 }],
        "description": "A key's own limit, which counts instead of the relay's.",
    });
    KeyOverlap = json!({
        "type": "integer", "minimum": 0, "maximum": MAX_KEY_OVERLAP, "default": 0, "examples": [3600],
        "description": "How long the old secret still opens.",
    });
    Limit = json!({
        "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT, "examples": [20],
    });
    Cursor = json!({
        "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": MAX_CHARS,
        "description": "Where a page ended: the `next_cursor` of an earlier page of this very list.",
    });
    DeliveryStatus = status(&["pending", "retrying", "delivered", "dead", "cancelled"]);
    TriedStatus = status(&["retrying", "delivered", "dead", "cancelled"]);
    UnsettledStatus = status(&["pending", "retrying", "dead"]);
    SearchText = json!({
        "type": "string", "maxLength": MAX_TEXT_BYTES, "examples": ["67890"],
        "description": format!("A text in an event's body or in what is told of it: at most {MAX_TEXT_BYTES} bytes."),
    });
}

fn id(prefix: &str, digits: &str, description: &str) -> Value {
    json!({
        "type": "string", "pattern": format!("^{prefix}[0-9A-Za-z]{{{RECORD_DIGITS}}}$"),
        "examples": [format!("{prefix}{digits}")], "description": description,
    })
}

fn between(least: u32, most: impl Into<Value>, description: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most.into(), "description": description })
}

fn status(names: &[&str]) -> Value {
    let example = names.iter().find(|name| **name == "delivered");
    json!({
        "type": "string", "enum": names, "examples": [example.or(names.last())],
        "description": "How a delivery stands: `pending` before its first attempt, `retrying` after one that failed, \
                        `delivered`, `dead` after the last, `cancelled`.",
    })
}

fn permissions() -> Vec<&'static str> {
    let names = PERMISSIONS.iter().map(|(_, name)| *name);
    names.chain(["*"]).collect()
}
