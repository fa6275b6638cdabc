//! `Idempotency-Key`: reading the header, and the digests that stand for key and body.
//!
//! The header is a structured string (IETF draft `idempotency-key-header`) and accepted bare as well.
//! A key counts within one account and integration.

use sha2::{Digest, Sha256};

use super::ids::{AccountId, IntegrationId};

/// The longest key, in bytes.
pub const MAX_BYTES: usize = 255;

/// The header's value is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be 1 to {MAX_BYTES} visible ASCII characters, quoted or bare")]
pub struct KeyError;

/// Reads the header's value.
pub fn parse(value: &[u8]) -> Result<&str, KeyError> {
    let text = std::str::from_utf8(value).map_err(|_| KeyError)?.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let fits = (1..=MAX_BYTES).contains(&key.len());
    let clean = key
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"');
    if fits && clean {
        Ok(key)
    } else {
        Err(KeyError)
    }
}

/// Stands for a key in its account and integration.
pub fn scope(account: AccountId, integration: IntegrationId, key: &str) -> [u8; 16] {
    let mut digest = Sha256::new();
    digest.update(account.to_bits().to_be_bytes());
    digest.update(integration.to_bits().to_be_bytes());
    digest.update(key.as_bytes());
    half(digest)
}

/// Stands for a body.
pub fn body(bytes: &[u8]) -> [u8; 16] {
    let mut digest = Sha256::new();
    digest.update(bytes);
    half(digest)
}

fn half(digest: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|at| whole[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        assert_eq!(parse(b"\"8e03978e-40d5\""), Ok("8e03978e-40d5"));
        assert_eq!(parse(b" 8e03978e-40d5 "), Ok("8e03978e-40d5"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(MAX_BYTES + 1);
        for value in ["", "\"\"", "\"", "a\"b", "tab\tinside", "é", &long] {
            assert_eq!(parse(value.as_bytes()), Err(KeyError), "{value:?}");
        }
        assert!(parse(&[0xff]).is_err());
        assert!(parse("k".repeat(MAX_BYTES).as_bytes()).is_ok());
    }

    #[test]
    fn a_key_counts_within_its_account_and_integration() {
        let (one, two) = (1_u64, 2_u64);
        let scope = |account, integration| {
            scope(
                AccountId::from_bits(account),
                IntegrationId::from_bits(integration),
                "k",
            )
        };
        assert_ne!(scope(one, one), scope(two, one));
        assert_ne!(scope(one, one), scope(one, two));
    }
}
