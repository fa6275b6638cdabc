//! What an API key may do.
//!
//! A set of named rights. A key can never grant what it does not hold itself; `*` is every right
//! there is, today and later.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Permission {
    /// Send events in.
    EventsWrite = 1,
    /// Read events, deliveries and the tail.
    EventsRead = 1 << 1,
    /// Retry and replay.
    DeliveriesWrite = 1 << 2,
    /// Read subscriptions.
    SubscriptionsRead = 1 << 3,
    /// Create, change and delete subscriptions.
    SubscriptionsWrite = 1 << 4,
    /// Read integrations.
    IntegrationsRead = 1 << 5,
    /// Create, change and delete integrations.
    IntegrationsWrite = 1 << 6,
    /// Read the metadata of keys.
    KeysRead = 1 << 7,
    /// Create, change and delete keys.
    KeysWrite = 1 << 8,
    /// Read metrics.
    MetricsRead = 1 << 9,
}

/// Every right by its name.
pub const NAMES: [(Permission, &str); 10] = [
    (Permission::EventsWrite, "events:write"),
    (Permission::EventsRead, "events:read"),
    (Permission::DeliveriesWrite, "deliveries:write"),
    (Permission::SubscriptionsRead, "subscriptions:read"),
    (Permission::SubscriptionsWrite, "subscriptions:write"),
    (Permission::IntegrationsRead, "integrations:read"),
    (Permission::IntegrationsWrite, "integrations:write"),
    (Permission::KeysRead, "keys:read"),
    (Permission::KeysWrite, "keys:write"),
    (Permission::MetricsRead, "metrics:read"),
];

/// There is no right of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a permission; allowed are {known}", known = known())]
pub struct UnknownPermission(String);

fn known() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
    format!("{} and *", names.join(", "))
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(u16);

impl Permissions {
    /// Every right, written `*`.
    pub const ALL: Self = Self(u16::MAX);

    /// The set of exactly these rights.
    pub fn of(rights: &[Permission]) -> Self {
        Self(rights.iter().fold(0, |bits, right| bits | *right as u16))
    }

    /// Whether the right is in the set.
    pub fn allow(self, right: Permission) -> bool {
        self.0 & right as u16 != 0
    }

    /// Whether every right of `other` is in this set.
    pub fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads a list of names.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownPermission> {
        names.iter().try_fold(Self(0), |set, name| {
            Ok(Self(set.0 | name.as_ref().parse::<Self>()?.0))
        })
    }

    /// The names of the rights in the set, `*` for all.
    pub fn names(self) -> Vec<&'static str> {
        if self == Self::ALL {
            return vec!["*"];
        }
        NAMES
            .iter()
            .filter(|(right, _)| self.allow(*right))
            .map(|(_, name)| *name)
            .collect()
    }
}

impl FromStr for Permissions {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        if name == "*" {
            return Ok(Self::ALL);
        }
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(right, _)| Self(*right as u16))
            .ok_or_else(|| UnknownPermission(name.chars().take(64).collect()))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u16::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_has_a_name_and_a_bit_of_its_own() {
        let mut seen = 0;
        for (right, name) in NAMES {
            assert_eq!(seen & right as u16, 0, "{name} shares a bit");
            seen |= right as u16;
            assert_eq!(name.parse::<Permissions>().unwrap().names(), vec![name]);
        }
    }

    #[test]
    fn a_set_includes_only_what_it_holds() {
        let sender = Permissions::of(&[Permission::EventsWrite]);
        assert!(Permissions::ALL.include(sender));
        assert!(!sender.include(Permissions::ALL));
        assert!(!sender.allow(Permission::KeysWrite));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = Permissions::parse(&["events:write", "root"]).unwrap_err();
        assert!(error.to_string().contains("`root`") && error.to_string().contains("keys:read"));
    }
}
