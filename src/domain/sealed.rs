//! Secrets at rest: sealed under a key that is kept apart from them.
//!
//! A relay signs with its subscriptions' secrets, so it must be able to read them; whoever steals the
//! data directory must not. So they lie there encrypted (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha), each
//! bound to what it belongs to, and the sealing key is elsewhere. A ring holds several keys: the first
//! seals, all of them open, which is what rotating them needs. Nothing here ever prints a key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::signature::{PrivateKey, SigningKey, SigningSecret};

/// What a written sealing key starts with.
pub const PREFIX: &str = "seal_";
/// The most keys that a ring holds.
pub const MAX_KEYS: usize = 16;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Why something sealed cannot be made or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A text is not a sealing key.
    #[error("a sealing key is `seal_` and the base64url of 32 random bytes")]
    Form,
    /// There is no key, or there are too many.
    #[error("there must be 1 to {MAX_KEYS} sealing keys, one on each line")]
    Count,
    /// The key that it was sealed under is not on the ring.
    #[error("the sealing key {0} is needed and not there")]
    Unknown(SealingKeyId),
    /// It was sealed for something else, or changed.
    #[error("it was sealed for something else, or changed since")]
    Changed,
    /// The cipher refused, which it does for sizes far beyond any secret.
    #[error("it cannot be sealed")]
    Cipher,
}

/// Which key something is sealed under: a digest that tells nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SealingKeyId(pub [u8; 32]);

impl fmt::Display for SealingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SealingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeyId({self})")
    }
}

/// A key that secrets are sealed under.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

impl SealingKey {
    /// Makes a new key. `random` fills a buffer from a cryptographic source.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        random(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    /// Its id.
    pub fn id(&self) -> SealingKeyId {
        let mut digest = Sha256::new();
        digest.update(b"postrider sealing key");
        digest.update(&self.0[..]);
        SealingKeyId(digest.finalize().into())
    }

    /// The written form, for the file that keeps it.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&self.0[..])))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0))
    }
}

impl FromStr for SealingKey {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SealError::Form)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| SealError::Form)?;
        let key = <[u8; KEY_BYTES]>::try_from(&bytes[..]).map_err(|_| SealError::Form)?;
        Ok(Self(Zeroizing::new(key)))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// The keys at hand. The first one seals; an empty ring, the default, opens nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring(Vec<SealingKey>);

impl Keyring {
    /// A ring of one key.
    pub fn of(key: SealingKey) -> Self {
        Self(vec![key])
    }

    /// The same keys behind a new first one; the oldest is dropped where there would be too many.
    #[must_use]
    pub fn led_by(&self, first: &SealingKey) -> Self {
        let known = self.0.iter().filter(|known| *known != first).cloned();
        Self(
            std::iter::once(first.clone())
                .chain(known)
                .take(MAX_KEYS)
                .collect(),
        )
    }

    /// The key that seals; all zeros where there is none.
    pub fn current(&self) -> SealingKeyId {
        self.0.first().map_or(SealingKeyId([0; 32]), SealingKey::id)
    }

    /// Whether this key is on it.
    pub fn knows(&self, id: SealingKeyId) -> bool {
        self.find(id).is_some()
    }

    /// All keys, the first one first.
    pub fn keys(&self) -> &[SealingKey] {
        &self.0
    }

    fn find(&self, id: SealingKeyId) -> Option<&SealingKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// Seals bytes for an owner, whose number they can only be opened with. The nonce must be random.
    pub fn seal_bytes(
        &self,
        bytes: &[u8],
        owner: u64,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Sealed, SealError> {
        let key = self.0.first().ok_or(SealError::Count)?;
        let plain = Payload {
            msg: bytes,
            aad: &owner.to_be_bytes(),
        };
        let sealed = key.cipher().encrypt(&XNonce::from(nonce), plain);
        Ok(Sealed {
            key: key.id(),
            nonce,
            text: sealed.map_err(|_| SealError::Cipher)?,
        })
    }

    /// Opens an owner's bytes.
    pub fn open_bytes(&self, sealed: &Sealed, owner: u64) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = self
            .find(sealed.key)
            .ok_or(SealError::Unknown(sealed.key))?;
        let text = Payload {
            msg: &sealed.text,
            aad: &owner.to_be_bytes(),
        };
        let plain = key.cipher().decrypt(&XNonce::from(sealed.nonce), text);
        plain.map(Zeroizing::new).map_err(|_| SealError::Changed)
    }

    /// Seals a signing key for an owner.
    pub fn seal(
        &self,
        key: &SigningKey,
        owner: u64,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<SecretAtRest, SealError> {
        Ok(match key {
            SigningKey::Shared(secret) => {
                SecretAtRest::Sealed(self.seal_bytes(secret.as_bytes(), owner, nonce)?)
            }
            SigningKey::Private(key) => {
                SecretAtRest::SealedPrivate(self.seal_bytes(key.as_bytes(), owner, nonce)?)
            }
        })
    }

    /// Opens an owner's signing key.
    pub fn open(&self, secret: &SecretAtRest, owner: u64) -> Result<SigningKey, SealError> {
        match secret {
            SecretAtRest::Clear(secret) => Ok(SigningKey::Shared(secret.clone())),
            SecretAtRest::Sealed(sealed) => {
                let secret = SigningSecret::from_bytes(&self.open_bytes(sealed, owner)?);
                secret
                    .map(SigningKey::Shared)
                    .map_err(|_| SealError::Changed)
            }
            SecretAtRest::SealedPrivate(sealed) => {
                let key = PrivateKey::from_bytes(&self.open_bytes(sealed, owner)?);
                key.map(SigningKey::Private).map_err(|_| SealError::Changed)
            }
        }
    }
}

impl FromStr for Keyring {
    type Err = SealError;

    /// Reads keys that stand one to a line or separated by commas. Lines that start with `#` say nothing.
    fn from_str(text: &str) -> Result<Self, SealError> {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(',')).map(str::trim);
        let keys = words.filter(|word| !word.is_empty()).map(str::parse);
        let keys: Vec<SealingKey> = keys.collect::<Result<_, _>>()?;
        if (1..=MAX_KEYS).contains(&keys.len()) {
            Ok(Self(keys))
        } else {
            Err(SealError::Count)
        }
    }
}

/// A secret as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretAtRest {
    /// As releases before sealing wrote it; sealed at the next start.
    Clear(SigningSecret),
    /// A shared secret, sealed.
    Sealed(Sealed),
    /// A private key, sealed.
    SealedPrivate(Sealed),
}

/// Bytes that only a key opens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    key: SealingKeyId,
    nonce: [u8; NONCE_BYTES],
    text: Vec<u8>,
}

impl Sealed {
    /// The key that it is sealed under.
    pub fn key(&self) -> SealingKeyId {
        self.key
    }
}

impl SecretAtRest {
    /// The key that it is sealed under.
    pub fn key(&self) -> Option<SealingKeyId> {
        match self {
            Self::Clear(_) => None,
            Self::Sealed(sealed) | Self::SealedPrivate(sealed) => Some(sealed.key),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key)
    }
}

/// Keys for tests.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A key of this byte alone.
    pub fn key(byte: u8) -> SealingKey {
        let filled = SealingKey::generate(|bytes| {
            bytes.fill(byte);
            Ok::<_, ()>(())
        });
        filled.unwrap()
    }

    /// A ring of one key.
    pub fn ring() -> Keyring {
        Keyring::of(key(1))
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::key;
    use super::*;

    fn secret() -> SigningKey {
        SigningKey::Shared(SigningSecret::from_bytes(&[7; 32]).unwrap())
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_owner_alone() {
        let ring = Keyring::of(key(1));
        let sealed = ring.seal(&secret(), 5, [3; 24]).unwrap();
        assert_eq!(ring.open(&sealed, 5), Ok(secret()));
        assert_eq!(ring.open(&sealed, 6), Err(SealError::Changed));
        let other = Keyring::of(key(2));
        assert_eq!(other.open(&sealed, 5), Err(SealError::Unknown(key(1).id())));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let ring = Keyring::of(key(1));
        let SecretAtRest::Sealed(sealed) = ring.seal(&secret(), 5, [3; 24]).unwrap() else {
            panic!("it is not sealed");
        };
        for at in 0..sealed.text.len() {
            let mut changed = sealed.clone();
            changed.text[at] ^= 1;
            let changed = SecretAtRest::Sealed(changed);
            assert_eq!(ring.open(&changed, 5), Err(SealError::Changed));
        }
    }

    #[test]
    fn a_rotated_ring_opens_what_the_old_one_sealed_and_seals_under_the_new_key() {
        let old = Keyring::of(key(1));
        let sealed = old.seal(&secret(), 5, [3; 24]).unwrap();
        let ring = old.led_by(&key(2));
        assert_eq!(ring.open(&sealed, 5), Ok(secret()));
        let again = ring.seal(&secret(), 5, [4; 24]).unwrap();
        assert_eq!(again.key(), Some(key(2).id()));
        assert!(old.open(&again, 5).is_err());
        assert_eq!(ring.led_by(&key(2)), ring, "a key is on it once");
    }

    #[test]
    fn a_ring_is_written_and_read() {
        let text = format!("# new\n{}\n\n {}\n", *key(2).reveal(), *key(1).reveal());
        let ring: Keyring = text.parse().unwrap();
        assert_eq!(ring, Keyring::of(key(1)).led_by(&key(2)));
        let text = format!("{},{}", *key(2).reveal(), *key(1).reveal());
        assert_eq!(text.parse(), Ok(ring));
        for (text, error) in [
            ("", SealError::Count),
            ("seal_AAAA", SealError::Form),
            ("x", SealError::Form),
        ] {
            assert_eq!(text.parse::<Keyring>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn nothing_of_a_key_or_a_secret_shows() {
        let ring = Keyring::of(key(0x41));
        let sealed = ring.seal(&secret(), 5, [3; 24]).unwrap();
        let shown = format!("{ring:?} {sealed:?} {:?}", secret());
        assert!(
            !shown.contains("AAAA") && !shown.contains("65, 65"),
            "{shown}"
        );
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
