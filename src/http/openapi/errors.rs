//! What refused requests are answered with: the relay's own words, from where it says them.

use serde_json::{Map, Value, json};

use crate::actors::auth::AuthError;
use crate::http::body::MAX_MANAGE_BYTES;
use crate::http::error::{ApiError, Dialect};

/// 2030-01-31T12:00:00Z.
const SAID_AT_MS: u64 = 1_896_091_200_000;

/// One kind of refusal: its status, what it means, and examples by their names.
type Refusal = (u16, &'static str, Vec<(&'static str, ApiError)>);

/// The name of a dialect's answer.
pub fn name(dialect: Dialect, status: u16) -> String {
    match dialect {
        Dialect::Ingest => format!("Ingest{status}"),
        Dialect::Manage => format!("Manage{status}"),
    }
}

/// Every refusal of a dialect, by its status.
pub fn all(dialect: Dialect) -> Map<String, Value> {
    let answers = refusals(dialect).into_iter();
    let answers = answers.map(|(status, description, examples)| {
        let answer = answer(dialect, status, description, &examples);
        (status.to_string(), answer)
    });
    answers.collect()
}

/// An answer in a dialect.
pub fn answer(
    dialect: Dialect,
    status: u16,
    description: &str,
    examples: &[(&str, ApiError)],
) -> Value {
    let schema = match dialect {
        Dialect::Ingest => "#/components/schemas/IngestError",
        Dialect::Manage => "#/components/schemas/Error",
    };
    let examples = examples.iter().filter_map(|(name, error)| {
        let (_, body) = error.example(dialect, SAID_AT_MS).ok()?;
        Some(((*name).to_owned(), json!({ "value": body })))
    });
    let examples: Map<String, Value> = examples.collect();
    let mut answer = json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": schema }, "examples": examples } },
    });
    if [429, 503].contains(&status) {
        answer["headers"] =
            json!({ "Retry-After": { "$ref": "#/components/headers/Retry-After" } });
    }
    answer
}

/// What differs between the two prefixes in what their errors say.
struct Words {
    wrong: &'static str,
    media_type: &'static str,
    malformed: &'static str,
    too_large: &'static str,
    limit_bytes: usize,
}

const OF_INGEST: Words = Words {
    wrong: "The field `event` is missing",
    media_type: "Content-Type must be application/json or application/cloudevents+json",
    malformed: "The body is not valid JSON: expected a value at byte 0",
    too_large: "The body, or an event in it, is larger than the operator allows.",
    limit_bytes: 256 << 10,
};

const OF_MANAGEMENT: Words = Words {
    wrong: "limit: must be a whole number from 1 to 100",
    media_type: "Content-Type must be application/json",
    malformed: "The body is not valid JSON: EOF while parsing an object at line 1 column 1",
    too_large: "The body is larger than 64 KiB.",
    limit_bytes: MAX_MANAGE_BYTES,
};

fn refusals(dialect: Dialect) -> Vec<Refusal> {
    let is_ingest = dialect == Dialect::Ingest;
    let mut unauthorized = vec![
        ("missing", ApiError::Auth(AuthError::Missing)),
        ("invalid", ApiError::Auth(AuthError::Invalid)),
    ];
    let mut forbidden = vec![("permission", ApiError::Forbidden)];
    if is_ingest {
        forbidden.push(("disabled", ApiError::Disabled));
    } else {
        unauthorized.push(("format", ApiError::Auth(AuthError::Format)));
    }
    let Words {
        wrong,
        media_type,
        malformed,
        too_large,
        limit_bytes,
    } = if is_ingest { OF_INGEST } else { OF_MANAGEMENT };
    let retry_after_seconds = 42;
    vec![
        (
            400,
            "The body is not JSON.",
            vec![("malformed", ApiError::Malformed(malformed.to_owned()))],
        ),
        (
            401,
            "There is no key, or it is none, not any more, or no longer good.",
            unauthorized,
        ),
        (403, "The key may not do this.", forbidden),
        (
            404,
            "There is no such thing, or it is another account's.",
            vec![(
                "unknown",
                ApiError::NotFound(if is_ingest {
                    "Integration"
                } else {
                    "Subscription"
                }),
            )],
        ),
        (
            408,
            "The body did not arrive in time.",
            vec![("slow", ApiError::BodyTimeout)],
        ),
        (
            413,
            too_large,
            vec![("large", ApiError::too_large("The body", limit_bytes))],
        ),
        (
            415,
            "The body's media type or encoding is not read here.",
            vec![("type", ApiError::MediaType(media_type.to_owned()))],
        ),
        (
            422,
            "It is well formed but wrong; the message names the member.",
            vec![("wrong", ApiError::Invalid(wrong.to_owned()))],
        ),
        (
            429,
            "The rate limit of the key is used up, or too many keys that are none came from this address.",
            vec![(
                "limit",
                ApiError::RateLimited {
                    retry_after_seconds,
                },
            )],
        ),
        (
            500,
            "The relay failed; the cause is in its log.",
            vec![("failed", ApiError::Internal)],
        ),
        (
            503,
            "The relay cannot take it now: too much waits, the disk is full, or the store is being recovered.",
            vec![("overloaded", ApiError::Overloaded)],
        ),
    ]
}

/// An example of a refusal that an operation describes itself.
pub fn example(status: u16, description: &str) -> Vec<(&'static str, ApiError)> {
    let error = match status {
        404 if description.contains("integration") => ApiError::NotFound("Integration"),
        404 => ApiError::NotFound("Subscription"),
        _ => ApiError::Conflict(description.trim_end_matches('.').to_owned()),
    };
    vec![("refused", error)]
}
