//! What operations refer to: refusals, headers, and how a caller is recognised.

use serde_json::{Map, Value, json};

use super::errors;
use crate::domain::idempotency::MAX_BYTES as MAX_KEY_BYTES;
use crate::http::error::Dialect;

/// Those that tell of a window, on every answer to a key that has one.
const OF_WINDOWS: [&str; 5] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
];

/// Everything that has a name.
pub fn all(schemas: &Map<String, Value>) -> Value {
    json!({
        "schemas": schemas,
        "responses": responses(),
        "parameters": { "IdempotencyKey": idempotency_key() },
        "headers": headers(),
        "securitySchemes": { "ApiKey": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "An API key, `lwa.sk_live_…` or `lwa.sk_test_…`, nowhere but in this header.",
        } },
    })
}

fn responses() -> Map<String, Value> {
    let mut responses = Map::new();
    for dialect in [Dialect::Ingest, Dialect::Manage] {
        for (status, mut answer) in errors::all(dialect) {
            // Whoever is nobody has no window.
            if status != "401" {
                for (name, header) in of_windows() {
                    answer["headers"][name] = header;
                }
            }
            let status = status.parse().unwrap_or_default();
            responses.insert(errors::name(dialect, status), answer);
        }
    }
    responses
}

/// References to the headers that tell of a window.
pub fn of_windows() -> impl Iterator<Item = (&'static str, Value)> {
    let reference = |name| json!({ "$ref": format!("#/components/headers/{name}") });
    OF_WINDOWS
        .into_iter()
        .map(move |name| (name, reference(name)))
}

fn headers() -> Value {
    let number = json!({ "type": "integer", "minimum": 0 });
    let text = json!({ "type": "string" });
    let header = |description: &str, schema: &Value, example: Value| json!({ "description": description, "schema": schema, "example": example });
    let mut headers = json!({
        "X-RateLimit-Limit": header("Requests in a window. Absent where there is no limit.", &number, 100.into()),
        "X-RateLimit-Remaining": header("Requests that are left in this window.", &number, 95.into()),
        "X-RateLimit-Reset": header("When the window ends, in seconds of Unix time.", &number, 1_896_091_200.into()),
        "RateLimit-Policy": header("The same as the IETF's draft has it: quota and window.", &text, "\"manage\";q=100;w=900".into()),
        "RateLimit": header("What is left, and for how many seconds.", &text, "\"manage\";r=95;t=612".into()),
        "Retry-After": header("When to ask again, in seconds.", &number, 1.into()),
        "Idempotent-Replayed": header(
            "`true` where an earlier request with this `Idempotency-Key` was answered so.",
            &json!({ "const": "true" }), "true".into(),
        ),
    });
    headers["Retry-After"]["required"] = true.into();
    headers
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": format!("Makes a repeated request safe: within 24 hours one with the same key and body is \
            answered with the first one's uuids, and makes no second event. With another body it is refused with 422. \
            Quoted or bare, at most {MAX_KEY_BYTES} characters."),
        "schema": { "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": "^[!#-~]+$" },
        "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
    })
}
