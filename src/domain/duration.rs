//! How durations are written, in settings and in the API alike: `500ms`, `15s`, `5m`, `2h`, `30d`.

use std::time::Duration;

/// Units of the duration notation with their length in milliseconds, longest first.
const UNITS_MS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number and its unit, such as 500ms, 15s, 5m, 2h or 30d")]
pub struct DurationError;

/// Reads `500ms`, `15s`, `5m`, `2h` or `30d`: digits and one unit, nothing between or around.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let amount: u64 = amount.parse().map_err(|_| DurationError)?;
    let (_, unit_ms) = UNITS_MS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(DurationError)?;
    amount
        .checked_mul(*unit_ms)
        .map(Duration::from_millis)
        .ok_or(DurationError)
}

/// Writes a duration in the longest unit that divides it: `90s`, `2h`, `1500ms`.
/// What is below a millisecond is dropped.
pub fn format_duration(duration: Duration) -> String {
    let total_ms = duration.as_millis();
    if total_ms == 0 {
        return "0s".to_owned();
    }
    UNITS_MS
        .iter()
        .find(|(_, unit_ms)| total_ms.is_multiple_of(u128::from(*unit_ms)))
        .map_or_else(
            || format!("{total_ms}ms"),
            |(unit, unit_ms)| format!("{}{unit}", total_ms / u128::from(*unit_ms)),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("15s", 15_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_exactly_a_number_and_a_unit_is_no_duration() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "5 s",
            " 5s",
            "5s ",
            "5S",
            "5m30s",
            "5w",
            "٥s",
            "18446744073709551616ms",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_in_the_longest_unit_that_fits() {
        for text in ["0s", "1ms", "1500ms", "90s", "5m", "36h", "30d"] {
            assert_eq!(
                parse_duration(text).map(format_duration).as_deref(),
                Ok(text)
            );
        }
        assert_eq!(format_duration(Duration::from_hours(24)), "1d");
        assert_eq!(format_duration(Duration::from_micros(10)), "0s");
        assert!(format_duration(Duration::MAX).ends_with("ms"));
    }
}
