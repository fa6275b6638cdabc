//! The vault: seals and opens subscriptions' signing secrets with the keys at hand.
//!
//! Shared, not an actor: a lane opens its secret once for every change of its subscription. It never
//! writes a secret anywhere, nor a key but to the file that keeps them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::directory::{ChangeError, DirectoryHandle};
use crate::domain::directory::{Change, Directory, Subscription};
use crate::domain::sealed::{Keyring, MAX_KEYS, SealError, SealingKey, SealingKeyId, SecretAtRest};
use crate::domain::signature::SigningSecret;
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

    /// Seals a secret for a subscription.
    pub fn seal(&self, secret: &SigningSecret, owner: u64) -> Result<SecretAtRest, VaultError> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce)?;
        Ok(self.ring().seal(secret, owner, nonce)?)
    }

    /// Opens a subscription's secret.
    pub fn open(&self, subscription: &Subscription) -> Result<SigningSecret, SealError> {
        let owner = subscription.id.to_bits();
        self.ring().open(&subscription.secret, owner)
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
        let old = directory
            .subscriptions()
            .filter(|it| it.secret.key() != current);
        let reseal = |subscription: &Arc<Subscription>| {
            let secret = self.open(subscription)?;
            let sealed = Subscription {
                secret: self.seal(&secret, subscription.id.to_bits())?,
                ..Subscription::clone(subscription)
            };
            Ok(Change::PutSubscription(sealed.into()))
        };
        old.take(RESEALED_AT_ONCE).map(reseal).collect()
    }
}
