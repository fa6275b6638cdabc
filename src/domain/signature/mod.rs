//! Signing what is delivered: Standard Webhooks 1.0.0, schemes `v1` and `v1a`.
//!
//! The signed bytes are `{id}.{timestamp}.{body}`, the body being the bytes that are sent. A key is
//! either shared with the receiver ([`SigningSecret`], `whsec_…`) or private to the relay ([`PrivateKey`], `whsk_…`),
//! who then knows its public half. While a key is being replaced both sign, in one header.

mod private;
mod shared;

use std::fmt;

pub use self::private::PrivateKey;
pub use self::shared::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, SecretError, SigningSecret};

/// The most keys that sign for one subscription at a time.
pub const MAX_LIVE_KEYS: usize = 10;

/// The text is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `whsec_` followed by the base64 of 24 to 64 random bytes, or `whsk_` followed by the base64 of \
     the 64 bytes of an ed25519 key pair"
)]
pub struct KeyError;

/// What signs.
#[derive(Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// A secret that both sides know.
    Shared(SigningSecret),
    /// A key that nobody else knows.
    Private(PrivateKey),
}

impl SigningKey {
    /// Reads `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(private::PREFIX) {
            return PrivateKey::parse(text).map(Self::Private);
        }
        let shared = SigningSecret::parse(text).map(Self::Shared);
        shared.map_err(|_| KeyError)
    }

    /// What its owner is told when it is made, and nowhere else: of a private key, the key itself.
    pub fn reveal(&self) -> String {
        match self {
            Self::Shared(secret) => secret.reveal(),
            Self::Private(key) => key.reveal(),
        }
    }

    /// What the receiver verifies with, if that may be known to anybody: `whpk_…`.
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Shared(_) => None,
            Self::Private(key) => Some(key.public()),
        }
    }

    /// One signature of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        match self {
            Self::Shared(secret) => secret.sign(id, timestamp_seconds, body),
            Self::Private(key) => key.sign(id, timestamp_seconds, body),
        }
    }
}

/// The value of `webhook-signature`: one signature by each key, newest first, one space between them.
pub fn sign_all<'a>(
    keys: impl Iterator<Item = &'a SigningKey>,
    id: &str,
    timestamp_seconds: u64,
    body: &[u8],
) -> String {
    let signatures = keys.map(|key| key.sign(id, timestamp_seconds, body));
    signatures.collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_a_rotation_both_keys_sign_in_one_header() {
        let shared = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let private = SigningKey::parse(private::tests::VECTOR_KEY).unwrap();
        let both = [private.clone(), shared.clone()];
        let signed = sign_all(both.iter(), "id", 1, b"body");
        let parts: Vec<&str> = signed.split(' ').collect();
        let expected = [private, shared].map(|key| key.sign("id", 1, b"body"));
        assert_eq!(parts, expected);
        assert!(parts[0].starts_with("v1a,") && parts[1].starts_with("v1,"));
    }

    #[test]
    fn a_key_survives_being_shown_and_read_and_its_debug_form_shows_nothing() {
        for text in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            private::tests::VECTOR_KEY,
        ] {
            let key = SigningKey::parse(text).unwrap();
            assert_eq!(key.reveal(), text);
            assert_eq!(format!("{key:?}"), "SigningKey(…)");
        }
        for text in [
            "",
            "whsk_",
            "whsk_AAAA",
            "whpk_AAAA",
            "whsec_AAAA",
            "secret",
        ] {
            assert_eq!(SigningKey::parse(text), Err(KeyError), "{text:?}");
        }
    }
}
