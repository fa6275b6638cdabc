//! The keys that seal signing secrets: given by the environment, or kept in a file apart from the store.

use std::path::PathBuf;

use super::AppError;
use crate::actors::vault::{Source, Vault};
use crate::config::Config;
use crate::domain::directory::Directory;
use crate::domain::sealed::{Keyring, SealError, SealingKey};
use crate::store::key_file;

/// Where the file is: where it was set to be, or beside the data directory, with its name.
pub fn path(config: &Config) -> PathBuf {
    if !config.secrets.key_file.as_os_str().is_empty() {
        return config.secrets.key_file.clone();
    }
    let mut path = config.data_dir.as_os_str().to_owned();
    path.push(".key");
    PathBuf::from(path)
}

/// The keys at hand. `None` where none were ever made.
pub fn find(config: &Config) -> Result<Option<Keyring>, AppError> {
    match &config.secrets.key {
        Some(ring) => Ok(Some(ring.clone())),
        None => Ok(key_file::read(&path(config))?),
    }
}

/// The keys at hand; a first one is made where there is none.
pub fn find_or_make(config: &Config) -> Result<Keyring, AppError> {
    if let Some(ring) = find(config)? {
        return Ok(ring);
    }
    let ring = Keyring::of(SealingKey::generate(getrandom::fill)?);
    key_file::write(&path(config), &ring)?;
    Ok(ring)
}

/// The vault for a store with this directory: it opens every secret in it.
pub fn vault(config: &Config, directory: &Directory) -> Result<Vault, AppError> {
    let known = find(config)?.unwrap_or_default();
    let needed = directory.subscriptions().filter_map(|it| it.secret.key());
    if let Some(key) = needed.into_iter().find(|key| !known.knows(*key)) {
        return Err(AppError::SealingKey {
            source: SealError::Unknown(key),
            path: path(config),
        });
    }
    let ring = find_or_make(config)?;
    let source = match &config.secrets.key {
        Some(_) => Source::Given,
        None => Source::File(path(config)),
    };
    Ok(Vault::new(ring, source))
}
