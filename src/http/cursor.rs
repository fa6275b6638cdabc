//! Cursors: where a page ended, sealed.
//!
//! A cursor holds positions in the journal and ids, some of them of others, so it is encrypted and
//! authenticated, and belongs to the account that it was given to: one that was changed, made up or
//! carried over from elsewhere is refused before anything is read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::domain::ids::AccountId;

const NONCE_BYTES: usize = 12;
/// Longer than any cursor of ours.
pub const MAX_CHARS: usize = 128;

/// Seals and opens cursors.
#[derive(Clone)]
pub struct Cursors(ChaCha20Poly1305);

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursors(…)")
    }
}

impl Cursors {
    /// Those of a store: they outlive a restart, and are refused by any other store.
    pub fn of_store(store_id: [u8; 16]) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"postrider cursor");
        digest.update(store_id);
        let key: [u8; 32] = digest.finalize().into();
        Self(ChaCha20Poly1305::new(&Key::from(key)))
    }

    /// A cursor that holds these numbers.
    pub fn seal(&self, account: AccountId, numbers: &[u64]) -> Result<String, ApiError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let plain: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        let aad = account.to_bits().to_be_bytes();
        let sealed = self.0.encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: &plain,
                aad: &aad,
            },
        );
        let sealed = sealed.map_err(|error| ApiError::internal(&error))?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// The numbers in a cursor.
    pub fn open<const N: usize>(
        &self,
        account: AccountId,
        cursor: &str,
    ) -> Result<[u64; N], ApiError> {
        self.read(account, cursor).ok_or_else(|| {
            ApiError::Invalid(
                "cursor must be the next_cursor of an earlier page of this list".to_owned(),
            )
        })
    }

    /// The same; `None` where it is none.
    pub fn read<const N: usize>(&self, account: AccountId, cursor: &str) -> Option<[u64; N]> {
        if cursor.len() > MAX_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let aad = account.to_bits().to_be_bytes();
        let plain = self
            .0
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .ok()?;
        let (numbers, rest) = plain.as_chunks::<8>();
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|bytes| u64::from_be_bytes(*bytes))
            .collect();
        rest.is_empty().then_some(())?;
        numbers.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: u64) -> AccountId {
        AccountId::from_bits(id)
    }

    #[test]
    fn a_cursor_is_opened_by_its_own_account_and_store_only() {
        let cursors = Cursors::of_store([1; 16]);
        let cursor = cursors.seal(account(7), &[1, u64::MAX]).unwrap();
        assert_eq!(cursors.open(account(7), &cursor).unwrap(), [1, u64::MAX]);
        assert!(cursors.open::<2>(account(8), &cursor).is_err());
        assert!(
            Cursors::of_store([2; 16])
                .open::<2>(account(7), &cursor)
                .is_err()
        );
        assert!(
            cursors.open::<3>(account(7), &cursor).is_err(),
            "it is another list's"
        );
    }

    #[test]
    fn a_cursor_that_was_changed_or_made_up_is_refused() {
        let cursors = Cursors::of_store([1; 16]);
        let cursor = cursors.seal(account(7), &[5, 6]).unwrap();
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                cursors.open::<2>(account(7), &changed).is_err(),
                "{at} was not noticed"
            );
        }
        for text in ["", "-", "1-2", &"A".repeat(64), &"A".repeat(1 << 20)] {
            assert!(cursors.open::<2>(account(7), text).is_err());
        }
    }
}
