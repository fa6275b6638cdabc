//! Secrets that both sides know: HMAC-SHA256 (RFC 2104), scheme `v1`.
//!
//! The key is the decoded secret, the signature `v1,` and its base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// The fewest bytes of key that the specification allows.
pub const MIN_SECRET_BYTES: usize = 24;
/// The most bytes of key that the specification allows.
pub const MAX_SECRET_BYTES: usize = 64;

/// The text is not a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `whsec_` followed by the base64 of 24 to 64 random bytes")]
pub struct SecretError;

/// A subscription's signing secret. Its debug form shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A secret of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&bytes.len()) {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        } else {
            Err(SecretError)
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads `whsec_…`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError)?);
        Self::from_bytes(&bytes)
    }

    /// The written form, `whsec_…`: shown to the owner when the secret is made, and nowhere else.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&*self.0))
    }

    /// One signature, `v1,…`.
    pub fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        // HMAC takes a key of any length, so there is no error to pass on; an empty signature would
        // fail every verifier.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp_seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let mut signature = String::from("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut signature);
        signature
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specification() {
        // Vectors: Standard Webhooks, the reference libraries' own tests.
        for (secret, id, timestamp, body, expected) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let secret = SigningSecret::parse(secret).unwrap();
            assert_eq!(secret.sign(id, timestamp, body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_secret_survives_being_shown_and_read() {
        let secret = SigningSecret::from_bytes(&[7; 32]).unwrap();
        assert_eq!(SigningSecret::parse(&secret.reveal()), Ok(secret));
    }

    #[test]
    fn a_secret_of_another_form_or_length_is_refused() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_***",
            "whsk_AAAA",
        ] {
            assert_eq!(SigningSecret::parse(text), Err(SecretError), "{text:?}");
        }
        assert!(SigningSecret::from_bytes(&[0; 23]).is_err());
        assert!(SigningSecret::from_bytes(&[0; 65]).is_err());
    }

    #[test]
    fn the_debug_form_holds_no_key() {
        let secret = SigningSecret::from_bytes(&[42; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }
}
