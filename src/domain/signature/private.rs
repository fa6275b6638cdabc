//! Keys that nobody else knows: ed25519 (RFC 8032), scheme `v1a`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use super::KeyError;

/// What a written private key starts with.
pub const PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
const SEED_BYTES: usize = 32;
const PAIR_BYTES: usize = 64;

/// An ed25519 key pair, as its seed and its public half. Its debug form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<[u8; PAIR_BYTES]>);

impl PrivateKey {
    /// The pair of these bytes: a seed, and the public key that belongs to it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = <[u8; PAIR_BYTES]>::try_from(bytes).map_err(|_| KeyError)?;
        let pair = Zeroizing::new(pair);
        let (seed, public) = pair.split_at(SEED_BYTES);
        Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| KeyError)?;
        Ok(Self(pair))
    }

    /// The pair of a seed, which must be random.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError)?;
        let mut bytes = Zeroizing::new([0; PAIR_BYTES]);
        bytes[..SEED_BYTES].copy_from_slice(seed);
        bytes[SEED_BYTES..].copy_from_slice(pair.public_key().as_ref());
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// Reads `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(KeyError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| KeyError)?);
        Self::from_bytes(&bytes)
    }

    /// The written form, `whsk_…`.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0[..]))
    }

    /// The public half, `whpk_…`, which is no secret.
    pub fn public(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", STANDARD.encode(&self.0[SEED_BYTES..]))
    }

    /// One signature, `v1a,…`.
    pub fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        let (seed, public) = self.0.split_at(SEED_BYTES);
        // It was checked when it was made; an empty signature would fail every verifier.
        let Ok(pair) = Ed25519KeyPair::from_seed_and_public_key(seed, public) else {
            return String::new();
        };
        let mut signed = format!("{id}.{timestamp_seconds}.").into_bytes();
        signed.extend_from_slice(body);
        format!("v1a,{}", STANDARD.encode(pair.sign(&signed)))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Standard Webhooks' example key.
    pub const VECTOR_KEY: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

    #[test]
    fn signatures_are_those_of_the_specification() {
        let key = PrivateKey::parse(VECTOR_KEY).unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
    }

    #[test]
    fn a_pair_is_whole_or_refused() {
        let key = PrivateKey::parse(VECTOR_KEY).unwrap();
        let seed = key.as_bytes()[..SEED_BYTES].try_into().unwrap();
        assert_eq!(PrivateKey::from_seed(&seed).unwrap(), key);
        let mut other = key.as_bytes().to_vec();
        other[SEED_BYTES] ^= 1;
        assert!(PrivateKey::from_bytes(&other).is_err());
        assert!(PrivateKey::from_bytes(&other[..SEED_BYTES]).is_err());
    }
}
