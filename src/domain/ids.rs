//! Identifiers, as integrators see them and as the store keeps them.
//!
//! Ids of records carry a prefix that says what they name (`acct_`, `int_`, `key_`, `sub_`, `task_`) and
//! nine base62 digits. On disk they are the bare number. An event's id is a version 7 uuid; a delivery's
//! id is made of the event, the subscription and the generation it belongs to, so that it can be
//! looked up without an index of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The digits of a record's id, after its prefix.
pub const RECORD_DIGITS: usize = 9;
const UUID_DIGITS: usize = 22;

/// How many different record ids there are: 62⁹.
const RECORD_IDS: u64 = 62_u64.pow(9);

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with `{prefix}`")]
pub struct IdError {
    prefix: &'static str,
}

/// Appends `value` in base62, padded with zeros to `digits`.
pub(crate) fn push_base62(out: &mut String, mut value: u128, digits: usize) {
    let start = out.len();
    for _ in 0..digits {
        let digit = usize::try_from(value % 62).unwrap_or(0);
        out.insert(start, char::from(ALPHABET[digit]));
        value /= 62;
    }
}

fn parse_base62(text: &str) -> Option<u128> {
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        value = value.checked_mul(62)?.checked_add(digit as u128)?;
    }
    Some(value)
}

macro_rules! record_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// What the written form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// The id that a random number stands for.
            pub fn from_random(random: u64) -> Self {
                Self(random % RECORD_IDS)
            }

            /// The bare number, as keys on disk hold it.
            pub fn to_bits(self) -> u64 {
                self.0
            }

            /// The id with this bare number.
            pub fn from_bits(bits: u64) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::from($prefix);
                push_base62(&mut text, u128::from(self.0), RECORD_DIGITS);
                f.write_str(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == RECORD_DIGITS)
                    .and_then(parse_base62)
                    .and_then(|value| u64::try_from(value).ok())
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    u64::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

record_id!(
    /// Names an account.
    AccountId, "acct_"
);
record_id!(
    /// Names an integration: a door through which events of one account come in.
    IntegrationId, "int_"
);
impl IntegrationId {
    /// The door of the relay's own events, which nobody can open.
    pub const RELAY: Self = Self(0);
}

record_id!(
    /// Names an API key. It is not the key and gives no access.
    KeyId, "key_"
);
record_id!(
    /// Names a subscription.
    SubscriptionId, "sub_"
);

record_id!(
    /// Names a task: something that is done with many deliveries.
    TaskId, "task_"
);

/// Names an event: a version 7 uuid. Ids grow in the order in which events were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
    /// One that no event has, less than those of all events from this time on, in milliseconds of Unix time.
    pub fn first_of(unix_ms: u64) -> Self {
        Self(Builder::from_unix_timestamp_millis(unix_ms, &[0; 10]).into_uuid())
    }

    /// When it was given, in milliseconds of Unix time (RFC 9562, section 5.7); never before the one before.
    pub fn unix_ms(&self) -> u64 {
        self.0.as_u64_pair().0 >> 16
    }

    /// The sixteen bytes; their order is the order of the ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names one delivery: an event on its way to a subscription. A replay is a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The event that is delivered.
    pub event: EventId,
    /// To whom.
    pub subscription: SubscriptionId,
    /// 0 for the first time, one more for each replay.
    pub generation: u16,
}

impl DeliveryId {
    /// What the written form starts with.
    pub const PREFIX: &'static str = "dlv_";
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from(Self::PREFIX);
        push_base62(&mut text, self.event.0.as_u128(), UUID_DIGITS);
        push_base62(
            &mut text,
            u128::from(self.subscription.to_bits()),
            RECORD_DIGITS,
        );
        push_base62(&mut text, u128::from(self.generation), 3);
        f.write_str(&text)
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError {
            prefix: Self::PREFIX,
        };
        let digits = text
            .strip_prefix(Self::PREFIX)
            .filter(|digits| digits.is_ascii() && digits.len() == UUID_DIGITS + RECORD_DIGITS + 3)
            .ok_or_else(|| error.clone())?;
        let (event, rest) = digits.split_at(UUID_DIGITS);
        let (subscription, generation) = rest.split_at(RECORD_DIGITS);
        let parsed = || {
            Some(Self {
                event: EventId(Uuid::from_u128(parse_base62(event)?)),
                subscription: SubscriptionId(u64::try_from(parse_base62(subscription)?).ok()?),
                generation: u16::try_from(parse_base62(generation)?).ok()?,
            })
        };
        parsed().ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_id_survives_being_written_and_read() {
        for random in [0, 1, 61, 62, RECORD_IDS - 1, RECORD_IDS, u64::MAX] {
            let id = SubscriptionId::from_random(random);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), "sub_".len() + RECORD_DIGITS);
        }
    }

    #[test]
    fn an_id_of_another_kind_or_shape_is_refused() {
        let id = KeyId::from_random(7).to_string();
        assert!(id.parse::<SubscriptionId>().is_err());
        for text in [
            "",
            "key_",
            "key_12345678",
            "key_1234567890",
            "key_12345678é",
            "key_12345678 ",
        ] {
            assert!(
                text.parse::<KeyId>().is_err(),
                "{text:?} was taken for a key id"
            );
        }
    }

    #[test]
    fn a_delivery_id_says_event_subscription_and_generation() {
        for generation in [0, 1, u16::MAX] {
            let id = DeliveryId {
                event: EventId(Uuid::from_u128(u128::MAX - 5)),
                subscription: SubscriptionId::from_random(RECORD_IDS - 1),
                generation,
            };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!(
            "dlv_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
                .parse::<DeliveryId>()
                .is_err()
        );
    }
}
