//! The vault: seals and opens subscriptions' signing secrets with the keys at hand.
//!
//! Shared, not an actor: a lane opens its secret once for every change of its subscription. It never
//! writes a secret anywhere, nor a key but to the file that keeps them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use zeroize::Zeroizing;

use super::directory::{ChangeError, DirectoryHandle};
use crate::domain::directory::{Change, CustomHeader, Directory, Subscription};
use crate::domain::ids::SubscriptionId;
use crate::domain::sealed::{Keyring, MAX_KEYS, SealError, SealingKey, SealingKeyId, SecretAtRest};
use crate::domain::signature::SigningKey;
use crate::store::key_file::{self, KeyFileError};

/// Secrets that one change seals anew.
const RESEALED_AT_ONCE: usize = 256;

/// Why a secret could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The ring refused.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Whoever gave the keys has to give new ones.
    #[error(
        "The keys were given by the environment: put a new one in front of them there and restart the relay"
    )]
    Given,
    /// An old key would have to go, which older backups may need.
    #[error(
        "{path} holds {MAX_KEYS} keys: remove those from its end that no backup needs, and restart the relay"
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Where the keys are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, which new ones are written to.
    File(PathBuf),
    /// The environment.
    Given,
}

/// See the module. Clones are the same vault.
#[derive(Debug, Clone)]
pub struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: RwLock<Keyring>,
    source: Source,
    /// One rotation at a time.
    rotating: Mutex<()>,
}

impl Vault {
    /// A vault with these keys.
    pub fn new(ring: Keyring, source: Source) -> Self {
        let ring = RwLock::new(ring);
        let rotating = Mutex::new(());
        Self(Arc::new(Inner {
            ring,
            source,
            rotating,
        }))
    }

    fn ring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that seals.
    pub fn current(&self) -> SealingKeyId {
        self.ring().current()
    }

    /// Puts a new key in front of the others, in their file first. Blocks on the disk.
    pub fn rotate(&self) -> Result<SealingKeyId, RotateError> {
        let Source::File(path) = &self.0.source else {
            return Err(RotateError::Given);
        };
        let _turn = self
            .0
            .rotating
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = self.ring().clone();
        if known.keys().len() >= MAX_KEYS {
            return Err(RotateError::Full { path: path.clone() });
        }
        let key = SealingKey::generate(getrandom::fill)?;
        let id = key.id();
        let ring = known.led_by(&key);
        key_file::write(path, &ring)?;
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(id)
    }

    /// Seals a signing key for a subscription.
    pub fn seal(
        &self,
        key: &SigningKey,
        owner: SubscriptionId,
    ) -> Result<SecretAtRest, VaultError> {
        Ok(self.ring().seal(key, owner.to_bits(), nonce()?)?)
    }

    /// Seals a header for a subscription.
    pub fn seal_header(
        &self,
        name: String,
        value: &[u8],
        owner: SubscriptionId,
    ) -> Result<CustomHeader, VaultError> {
        let value = self.ring().seal_bytes(value, owner.to_bits(), nonce()?)?;
        Ok(CustomHeader { name, value })
    }

    /// Opens one of a subscription's signing keys.
    pub fn open(
        &self,
        secret: &SecretAtRest,
        owner: SubscriptionId,
    ) -> Result<SigningKey, SealError> {
        self.ring().open(secret, owner.to_bits())
    }

    /// Opens the value of one of a subscription's headers.
    pub fn open_header(
        &self,
        header: &CustomHeader,
        owner: SubscriptionId,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.ring().open_bytes(&header.value, owner.to_bits())
    }

    /// Seals every secret under the current key that is not, a bounded number at a time. Returns how
    /// many those were.
    pub async fn reseal(
        &self,
        directory: &DirectoryHandle,
    ) -> Result<usize, ChangeError<VaultError>> {
        let mut all = 0;
        loop {
            let vault = self.clone();
            let sealed = directory
                .change(move |directory| {
                    let changes = vault.resealed(directory)?;
                    let count = changes.len();
                    Ok((changes, count))
                })
                .await?;
            if sealed == 0 {
                return Ok(all);
            }
            all += sealed;
        }
    }

    fn resealed(&self, directory: &Directory) -> Result<Vec<Change>, VaultError> {
        let current = Some(self.current());
        let is_old = |it: &&Arc<Subscription>| it.sealed_under().any(|key| key != current);
        let old = directory.subscriptions().filter(is_old);
        let sealed = old.take(RESEALED_AT_ONCE).map(|it| self.sealed_anew(it));
        sealed
            .map(|sealed| Ok(Change::PutSubscription(sealed?.into())))
            .collect()
    }

    fn sealed_anew(&self, subscription: &Subscription) -> Result<Subscription, VaultError> {
        let id = subscription.id;
        let mut sealed = subscription.clone();
        for key in &mut sealed.keys {
            key.secret = self.seal(&self.open(&key.secret, id)?, id)?;
        }
        for header in &mut sealed.headers {
            let value = self.open_header(header, id)?;
            *header = self.seal_header(std::mem::take(&mut header.name), &value, id)?;
        }
        Ok(sealed)
    }
}

fn nonce() -> Result<[u8; 24], getrandom::Error> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}
