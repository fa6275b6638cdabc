//! The `CloudEvents` handshake: whether a receiver wants to be sent to, and by whom.
//!
//! A sender names itself in an `OPTIONS` request; the receiver consents by naming it back, or everybody
//! with `*`, and says how many requests a minute it takes. The status code says nothing. Pure: what is
//! asked, and what an answer means. Source: `CloudEvents` "HTTP 1.1 Web Hooks for Event Delivery", version
//! 1.0.2, section 4.
//!
//! Nothing here changes what is delivered. Consent is shown to whoever asked for it, and he decides.

use std::fmt;
use std::str::FromStr;

/// Who asks.
pub const REQUEST_ORIGIN: &str = "webhook-request-origin";
/// How many requests a minute it would like to send.
pub const REQUEST_RATE: &str = "webhook-request-rate";
/// Who may send.
pub const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
/// How many requests a minute.
pub const ALLOWED_RATE: &str = "webhook-allowed-rate";
/// Everybody, or any number.
const ANY: &str = "*";
/// The longest name of the domain name system, in bytes (RFC 1035, section 2.3.4).
pub const MAX_ORIGIN_BYTES: usize = 253;

/// The name that a sender gives itself, such as `relay.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text names no sender.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "must be a host name, such as relay.example.com: at most {MAX_ORIGIN_BYTES} letters, digits, `.` and `-`"
)]
pub struct OriginError;

/// How many requests a receiver takes in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As many as there are.
    Any,
    /// So many.
    PerMinute(u32),
}

/// What a receiver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// It wants to be sent to by who asked.
    pub given: bool,
    /// How much; `None` where it does not say, or not in a way that is defined.
    pub rate: Option<Rate>,
}

impl Origin {
    /// As it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let is_label = |label: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty() && label.bytes().all(is_known)
        };
        if text.len() > MAX_ORIGIN_BYTES || !text.split('.').all(is_label) {
            return Err(OriginError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads what a receiver says to this sender: the values of [`ALLOWED_ORIGIN`] and [`ALLOWED_RATE`].
pub fn consent(
    origin: &Origin,
    allowed_origin: Option<&str>,
    allowed_rate: Option<&str>,
) -> Consent {
    let named = allowed_origin.map(str::trim);
    // Names of hosts are the same in any case.
    let given = named.is_some_and(|it| it == ANY || it.eq_ignore_ascii_case(origin.as_str()));
    Consent {
        given,
        rate: allowed_rate.map(str::trim).and_then(rate),
    }
}

fn rate(text: &str) -> Option<Rate> {
    if text == ANY {
        return Some(Rate::Any);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let per_minute = text.parse().ok().filter(|rate| *rate > 0 && is_number)?;
    Some(Rate::PerMinute(per_minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_name_is_an_origin() {
        for text in ["postrider", "relay.example.com", "10.0.0.1", "x--y.example"] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), text);
        }
        let long = "a".repeat(MAX_ORIGIN_BYTES + 1);
        for text in [
            "",
            ".",
            "a..b",
            "a.",
            "a b",
            "a\r\nb: c",
            "*",
            "https://a",
            "ä",
            &long,
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError), "{text}");
        }
    }

    #[test]
    fn consent_names_the_sender_or_everybody() {
        let origin: Origin = "relay.example.com".parse().unwrap();
        for (allowed, given) in [
            (Some("relay.example.com"), true),
            (Some(" Relay.Example.com "), true),
            (Some("*"), true),
            (Some("example.com"), false),
            (Some("relay.example.com.evil"), false),
            (Some("**"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(consent(&origin, allowed, None).given, given, "{allowed:?}");
        }
    }

    #[test]
    fn a_rate_is_a_number_above_zero_or_any() {
        let origin: Origin = "postrider".parse().unwrap();
        for (said, rate) in [
            (Some("120"), Some(Rate::PerMinute(120))),
            (Some("*"), Some(Rate::Any)),
            (Some("0"), None),
            (Some("+5"), None),
            (Some("-5"), None),
            (Some("soon"), None),
            (Some("99999999999999"), None),
            (None, None),
        ] {
            assert_eq!(consent(&origin, Some("*"), said).rate, rate, "{said:?}");
        }
    }
}
