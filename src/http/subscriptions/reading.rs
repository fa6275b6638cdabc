//! Reading what a caller wants of a subscription. Every mistake names its member.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::actors::delivery::{MAX_IN_FLIGHT, MAX_RATE};
use crate::actors::vault::Vault;
use crate::domain::directory::{CustomHeader, MAX_NAME_BYTES, MAX_PATTERNS, listener};
use crate::domain::duration::parse_duration;
use crate::domain::event_type::TypePattern;
use crate::domain::filter::Filter;
use crate::domain::format::{Format, NAMES};
use crate::domain::ids::SubscriptionId;
use crate::domain::ordering::{KeyPath, Ordering};
use crate::domain::retry::Schedule;
use crate::domain::signature::{SigningKey, SigningSecret};
use crate::http::body::Whole;
use crate::http::error::ApiError;
use crate::outbound::{Guard, UrlRefused};

/// Random bytes in a secret that is made here.
const SECRET_BYTES: usize = 32;
/// The most headers of its own that a subscription sends.
pub const MAX_HEADERS: usize = 32;
/// The longest value of one.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Stands where a header's value is not shown.
pub const HIDDEN: &str = "***";
/// Headers that say how a message is sent, or that are the relay's own.
pub const OWN_HEADERS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// The same by what they begin with.
pub const OWN_PREFIXES: [&str; 3] = ["webhook-", "x-postrider-", "ce-"];

pub fn invalid(field: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::Invalid(format!("{field}: {error}"))
}

/// A URL that may be sent to.
pub fn url(guard: &Guard, text: &str) -> Result<String, ApiError> {
    if listener(text).is_some() {
        return Ok(text.to_owned());
    }
    let url = url::Url::parse(text).map_err(|error| invalid("url", &error))?;
    guard.check_url(&url).map_err(|error| match error {
        UrlRefused::Address => ApiError::Invalid(
            "url: address not allowed (the operator may allow it with outbound.allow)".to_owned(),
        ),
        other => invalid("url", &other),
    })?;
    Ok(url.into())
}

pub fn description(text: String) -> Result<String, ApiError> {
    if text.len() <= MAX_NAME_BYTES {
        Ok(text)
    } else {
        let message = format!("description must be at most {MAX_NAME_BYTES} bytes");
        Err(ApiError::Invalid(message))
    }
}

pub fn in_flight(Whole(limit): Whole<u16>) -> Result<u16, ApiError> {
    if (1..=MAX_IN_FLIGHT).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("max_in_flight must be from 1 to {MAX_IN_FLIGHT}");
        Err(ApiError::Invalid(message))
    }
}

/// Attempts a second.
pub fn rate(Whole(limit): Whole<u32>) -> Result<u32, ApiError> {
    if (1..=MAX_RATE).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("rate_limit must be from 1 to {MAX_RATE} a second");
        Err(ApiError::Invalid(message))
    }
}

pub fn patterns(texts: &[String]) -> Result<Vec<TypePattern>, ApiError> {
    if !(1..=MAX_PATTERNS).contains(&texts.len()) {
        return Err(ApiError::Invalid(format!(
            "events must list 1 to {MAX_PATTERNS} type patterns"
        )));
    }
    let parse = |(index, text): (usize, &String)| {
        text.parse()
            .map_err(|error| ApiError::Invalid(format!("events[{index}]: {error}")))
    };
    texts.iter().enumerate().map(parse).collect()
}

pub fn filter(source: Value) -> Result<Filter, ApiError> {
    Filter::new(source).map_err(|error| ApiError::Invalid(error.to_string()))
}

pub fn format(name: &str) -> Result<Format, ApiError> {
    let known = NAMES.map(|(_, name)| name).join(", ");
    Format::parse(name).ok_or_else(|| ApiError::Invalid(format!("format must be one of {known}")))
}

pub fn ordering(wanted: &Value) -> Result<Ordering, ApiError> {
    let by = match wanted {
        Value::String(name) if name == "none" => return Ok(Ordering::None),
        Value::String(name) if name == "strict" => return Ok(Ordering::Strict),
        Value::Object(members) if members.len() == 1 => members.get("by"),
        _ => None,
    };
    let Some(path) = by.and_then(Value::as_str) else {
        let message = r#"ordering must be "none", "strict" or {"by": a path into the event}"#;
        return Err(ApiError::Invalid(message.to_owned()));
    };
    let path = KeyPath::parse(path).map_err(|error| invalid("ordering.by", &error))?;
    Ok(Ordering::By(path))
}

pub fn schedule(texts: &[String]) -> Result<Schedule, ApiError> {
    let parse = |(index, text): (usize, &String)| {
        let wait = parse_duration(text)
            .map_err(|error| ApiError::Invalid(format!("retry_schedule[{index}]: {error}")))?;
        Ok(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    };
    let waits_ms = texts
        .iter()
        .enumerate()
        .map(parse)
        .collect::<Result<_, ApiError>>()?;
    Schedule::new(waits_ms).map_err(|error| ApiError::Invalid(format!("retry_schedule {error}")))
}

/// The signing key that is given, or a new shared one.
pub fn key(given: Option<&str>) -> Result<SigningKey, ApiError> {
    if let Some(text) = given {
        return SigningKey::parse(text).map_err(|error| invalid("secret", &error));
    }
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    let secret = SigningSecret::from_bytes(&bytes);
    secret
        .map(SigningKey::Shared)
        .map_err(|error| invalid("secret", &error))
}

/// Headers to be sent along, sealed. None may take the place of one of ours.
pub fn headers(
    wanted: &BTreeMap<String, String>,
    vault: &Vault,
    owner: SubscriptionId,
) -> Result<Vec<CustomHeader>, ApiError> {
    if wanted.len() > MAX_HEADERS {
        let message = format!("headers must be at most {MAX_HEADERS}");
        return Err(ApiError::Invalid(message));
    }
    let mut headers = Vec::<CustomHeader>::with_capacity(wanted.len());
    for (name, value) in wanted {
        let known = header_name(name)?;
        if headers.iter().any(|header| header.name == known) {
            return Err(invalid(&format!("headers.{name}"), &"it is there twice"));
        }
        header_value(name, value)?;
        headers.push(vault.seal_header(known, value.as_bytes(), owner)?);
    }
    Ok(headers)
}

fn header_name(name: &str) -> Result<String, ApiError> {
    let wrong = |what: &str| invalid(&format!("headers.{name}"), &what);
    let known = HeaderName::try_from(name).map_err(|_| wrong("is no header name"))?;
    let known = known.as_str();
    let is_own =
        OWN_HEADERS.contains(&known) || OWN_PREFIXES.iter().any(|prefix| known.starts_with(prefix));
    if is_own {
        return Err(wrong("is set by the relay"));
    }
    Ok(known.to_owned())
}

fn header_value(name: &str, value: &str) -> Result<(), ApiError> {
    let wrong = |what: String| invalid(&format!("headers.{name}"), &what);
    if value == HIDDEN {
        let what = format!("`{HIDDEN}` only stands for what is not shown: give the value itself");
        return Err(wrong(what));
    }
    let fits = value.len() <= MAX_HEADER_BYTES && value.is_ascii();
    if !fits || HeaderValue::from_str(value).is_err() {
        let what = format!("must be at most {MAX_HEADER_BYTES} visible ASCII characters");
        return Err(wrong(what));
    }
    Ok(())
}
