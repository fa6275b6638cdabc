//! Times as callers see them: RFC 3339, UTC, `Z`.

use chrono::{DateTime, SecondsFormat, Utc};

/// With milliseconds.
pub fn rfc3339(unix_ms: u64) -> String {
    at(unix_ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// In whole seconds.
pub fn rfc3339_seconds(unix_ms: u64) -> String {
    at(unix_ms).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a time, as milliseconds of Unix time. Nothing here is older than that, so what is before it counts
/// as its beginning.
pub fn parse(text: &str) -> Option<u64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(u64::try_from(time.timestamp_millis()).unwrap_or(0))
}

fn at(unix_ms: u64) -> DateTime<Utc> {
    i64::try_from(unix_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_a_z() {
        assert_eq!(rfc3339(1_737_367_800_042), "2025-01-20T10:10:00.042Z");
        assert_eq!(rfc3339_seconds(1_737_367_800_999), "2025-01-20T10:10:00Z");
        assert_eq!(
            parse("2025-01-20T11:10:00.042+01:00"),
            Some(1_737_367_800_042)
        );
        assert_eq!(parse("1969-12-31T23:59:59Z"), Some(0));
        assert_eq!(parse("yesterday"), None);
    }
}
