//! What the values of options mean in the API's JSON.
//!
//! Only notation is looked at here, so that a slip is told before anything is asked; what is allowed
//! is the relay's to say, in its own words. No error repeats what was typed.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::config::Limit;
use crate::domain::duration::parse_duration;
use crate::domain::time as times;

/// The text is not a value of this option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a rate limit.
    #[error("a rate limit is requests/duration, such as 1000/1m, or `default`")]
    RateLimit,
    /// Not whole seconds.
    #[error("a duration is whole seconds with a unit, such as 90s, 5m, 2h or 30d")]
    Seconds,
    /// Not JSON.
    #[error("JSON is wanted, such as '{{\"data.total\": {{\"$gte\": 100}}}}', or `none`")]
    Json,
    /// Not a header.
    #[error("a header is NAME: VALUE")]
    Header,
    /// Not an order.
    #[error("an order is none, strict, or by:PATH, such as by:data.order_id")]
    Ordering,
    /// Not a time.
    #[error("a time is 2030-01-31T12:00:00Z, or how long ago it is, such as 90s, 10m or 7d")]
    Moment,
    /// Not a count.
    #[error("a whole number is wanted, or `default`")]
    Number,
}

/// `1000/1m`, or `default`: the relay's own.
pub fn rate_limit(text: &str) -> Result<Value, ValueError> {
    if text == "default" {
        return Ok(Value::Null);
    }
    match text.parse() {
        Ok(Limit::Window { limit, window }) => {
            Ok(json!({ "limit": limit, "window_seconds": window.as_secs() }))
        }
        Ok(Limit::Off) | Err(_) => Err(ValueError::RateLimit),
    }
}

/// A duration in whole seconds.
pub fn seconds(text: &str) -> Result<u64, ValueError> {
    let duration = parse_duration(text).map_err(|_| ValueError::Seconds)?;
    let is_whole = duration.subsec_nanos() == 0;
    is_whole
        .then_some(duration.as_secs())
        .ok_or(ValueError::Seconds)
}

/// A count, or `default`: the relay's own.
pub fn number(text: &str) -> Result<Value, ValueError> {
    if text == "default" {
        return Ok(Value::Null);
    }
    let number = text.parse::<u32>().map_err(|_| ValueError::Number)?;
    Ok(json!(number))
}

/// JSON, or `none`.
pub fn json_or_none(text: &str) -> Result<Value, ValueError> {
    if text == "none" {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|_| ValueError::Json)
}

/// `NAME: VALUE`, or `none`.
pub fn header(text: &str) -> Result<Option<(String, String)>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    let (name, value) = text.split_once(':').ok_or(ValueError::Header)?;
    Ok(Some((name.trim().to_owned(), value.trim().to_owned())))
}

/// In which order events go out: `none`, `strict`, or `by:` and a path.
pub fn ordering(text: &str) -> Result<Value, ValueError> {
    match (text, text.strip_prefix("by:")) {
        ("none" | "strict", _) => Ok(json!(text)),
        (_, Some(path)) if !path.is_empty() => Ok(json!({ "by": path })),
        _ => Err(ValueError::Ordering),
    }
}

/// A time, or how long ago it is.
pub fn moment(text: &str) -> Result<String, ValueError> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(times::rfc3339(before_now(ago)));
    }
    let is_time = times::parse(text).is_some();
    is_time.then(|| text.to_owned()).ok_or(ValueError::Moment)
}

/// In milliseconds of Unix time.
fn before_now(ago: Duration) -> u64 {
    let then = SystemTime::now().checked_sub(ago);
    let since = then.and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let since = since.unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// A time as it was typed, or `never`.
pub fn time(text: &str) -> Value {
    if text == "never" {
        Value::Null
    } else {
        json!(text)
    }
}

/// A text; an empty one takes back what was there.
pub fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        json!(text)
    }
}

/// Several texts; nothing, where there are none.
pub fn texts(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| json!(texts))
}

/// The same; `default` alone is the relay's own.
pub fn texts_or_default(given: &[String]) -> Option<Value> {
    match given {
        [text] if text == "default" => Some(Value::Null),
        given => texts(given),
    }
}

/// A body of the fields that were given.
pub fn object(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_a_number_in_a_window() {
        let limit = rate_limit("1000/1m").unwrap();
        assert_eq!(limit, json!({ "limit": 1000, "window_seconds": 60 }));
        assert_eq!(rate_limit("default"), Ok(Value::Null));
        for text in ["", "off", "1000", "1000/", "1000/500ms", "-1/1m"] {
            assert_eq!(rate_limit(text), Err(ValueError::RateLimit), "{text:?}");
        }
    }

    #[test]
    fn headers_and_filters_are_read_or_taken_back() {
        let read = header("Authorization: Bearer a:b").unwrap();
        assert_eq!(
            read,
            Some(("Authorization".to_owned(), "Bearer a:b".to_owned()))
        );
        assert_eq!(header("none"), Ok(None));
        assert_eq!(header("Authorization"), Err(ValueError::Header));
        assert_eq!(json_or_none(r#"{"a": 1}"#), Ok(json!({ "a": 1 })));
        assert_eq!(json_or_none("none"), Ok(Value::Null));
        assert_eq!(json_or_none("{a: 1}"), Err(ValueError::Json));
    }

    #[test]
    fn durations_become_whole_seconds() {
        assert_eq!(seconds("1h"), Ok(3600));
        for text in ["", "1", "500ms", "1500ms", "h"] {
            assert_eq!(seconds(text), Err(ValueError::Seconds), "{text:?}");
        }
    }

    #[test]
    fn an_order_is_typed_in_one_word() {
        assert_eq!(ordering("none"), Ok(json!("none")));
        assert_eq!(ordering("strict"), Ok(json!("strict")));
        assert_eq!(ordering("by:data.id"), Ok(json!({ "by": "data.id" })));
        for text in ["", "by:", "by", "data.id", "Strict"] {
            assert_eq!(ordering(text), Err(ValueError::Ordering), "{text:?}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let typed = "2030-01-31T12:00:00Z";
        assert_eq!(moment(typed), Ok(typed.to_owned()));
        let hour_ago = times::parse(&moment("1h").unwrap()).unwrap();
        let now = before_now(Duration::ZERO);
        assert!((3_600_000..3_700_000).contains(&(now - hour_ago)));
        assert_eq!(
            moment("99999999d"),
            Ok("1970-01-01T00:00:00.000Z".to_owned())
        );
        for text in ["", "yesterday", "10", "2030-01-31"] {
            assert_eq!(moment(text), Err(ValueError::Moment), "{text:?}");
        }
    }

    #[test]
    fn only_what_was_given_is_sent() {
        let default = ["default".to_owned()];
        let schedule = texts_or_default(&default);
        let body = object([
            ("name", Some(json!("x"))),
            ("events", None),
            ("s", schedule),
        ]);
        assert_eq!(body, json!({ "name": "x", "s": null }));
        assert_eq!((texts(&[]), texts_or_default(&[])), (None, None));
        assert_eq!(
            texts(&default),
            Some(json!(["default"])),
            "a type's name, too"
        );
        assert_eq!(number("4"), Ok(json!(4)));
        assert_eq!(number("four"), Err(ValueError::Number));
        assert_eq!(time("never"), Value::Null);
        assert_eq!((text(""), text("x")), (Value::Null, json!("x")));
    }
}
