//! API keys: their form, their checksum, and the hash that stands for them at rest.
//!
//! A key is `lwa.sk_live_` (or `lwa.sk_test_`) and 32 alphanumeric characters: 26 random ones (154
//! bits) and six that are a checksum of them, so that a mistyped key is known as such without a
//! look-up. Nothing here ever prints a key; a record of a key holds only its SHA-256. Keys are random
//! enough that one plain SHA-256 is right for them; a slow hash is for what people make up.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ids::push_base62;

/// What every key starts with.
pub const PREFIX: &str = "lwa.";
/// The longest header value that is looked at.
pub const MAX_BYTES: usize = 128;

const RANDOM_CHARS: usize = 26;
const CHECKSUM_CHARS: usize = 6;
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is meant for: a label, with no power of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// `lwa.sk_live_…`
    Live,
    /// `lwa.sk_test_…`
    Test,
}

impl Environment {
    fn marker(self) -> &'static str {
        match self {
            Self::Live => "sk_live_",
            Self::Test => "sk_test_",
        }
    }
}

/// Why a text cannot be a key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// It does not start with `lwa.`.
    #[error("keys start with `lwa.`")]
    Prefix,
    /// It starts like one, but its shape or its checksum is wrong: mistyped or cut off.
    #[error("the key is mistyped or cut off")]
    Mistyped,
}

/// The SHA-256 of a key: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key's text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash that was written down.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether two hashes are equal, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Makes a new key. `random` fills a buffer from a cryptographic source.
pub fn generate<E>(
    environment: Environment,
    mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<SecretString, E> {
    let mut body = String::with_capacity(RANDOM_CHARS);
    let mut buffer = [0_u8; 64];
    while body.len() < RANDOM_CHARS {
        random(&mut buffer)?;
        // 248 is the largest multiple of 62 in a byte: beyond it letters would not be equally likely.
        let fair = buffer.iter().filter(|byte| **byte < 248);
        for byte in fair.take(RANDOM_CHARS - body.len()) {
            body.push(char::from(LETTERS[usize::from(byte % 62)]));
        }
    }
    let sum = checksum(&body);
    Ok(SecretString::from(format!(
        "{PREFIX}{}{body}{sum}",
        environment.marker()
    )))
}

/// Checks prefix, shape and checksum.
pub fn check_form(text: &str) -> Result<Environment, KeyFormError> {
    let rest = text.strip_prefix(PREFIX).ok_or(KeyFormError::Prefix)?;
    let (environment, digits) = [Environment::Live, Environment::Test]
        .into_iter()
        .find_map(|environment| Some((environment, rest.strip_prefix(environment.marker())?)))
        .ok_or(KeyFormError::Mistyped)?;
    let whole = digits.len() == RANDOM_CHARS + CHECKSUM_CHARS
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !whole {
        return Err(KeyFormError::Mistyped);
    }
    let (body, sum) = digits.split_at(RANDOM_CHARS);
    if checksum(body) == sum {
        Ok(environment)
    } else {
        Err(KeyFormError::Mistyped)
    }
}

/// CRC32 in base62, six characters, as GitHub's tokens have it.
fn checksum(text: &str) -> String {
    let mut sum = String::with_capacity(CHECKSUM_CHARS);
    push_base62(
        &mut sum,
        u128::from(crc32fast::hash(text.as_bytes())),
        CHECKSUM_CHARS,
    );
    sum
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) -> Result<(), ()> {
        let mut next = 0_u8;
        move |buffer| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_add(37);
            }
            Ok(())
        }
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        // Vector: GitHub's token format, as listed in the standards notes.
        assert_eq!(checksum("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), "0mLq17");
    }

    #[test]
    fn a_generated_key_has_the_documented_form() {
        let key = generate(Environment::Live, counting()).unwrap();
        let text = key.expose_secret();
        assert!(text.starts_with("lwa.sk_live_"));
        assert_eq!(text.len(), "lwa.sk_live_".len() + 32);
        assert_eq!(check_form(text), Ok(Environment::Live));
    }

    #[test]
    fn one_wrong_character_anywhere_is_noticed() {
        let key = generate(Environment::Test, counting()).unwrap();
        let text = key.expose_secret();
        for at in 0..text.len() {
            let mut other = text.to_owned().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).unwrap();
            assert!(check_form(&other).is_err(), "{at} was not noticed");
        }
    }

    #[test]
    fn the_documented_example_is_mistyped_and_a_foreign_key_has_no_prefix() {
        let example = "lwa.sk_live_abcdef1234567890abcdef1234567890";
        assert_eq!(check_form(example), Err(KeyFormError::Mistyped));
        assert_eq!(check_form("your-api-key-here"), Err(KeyFormError::Prefix));
        assert_eq!(check_form(""), Err(KeyFormError::Prefix));
    }
}
