//! The keys that seal signing secrets: given by the environment, or kept in a file apart from the store.

use std::path::{Component, Path, PathBuf};

use super::AppError;
use crate::actors::vault::{Source, Vault};
use crate::config::Config;
use crate::domain::directory::Directory;
use crate::domain::sealed::{Keyring, SealError, SealingKey, SealingKeyId};
use crate::store::key_file;

/// Where the file is: where it was set to be, or beside the data directory, with its name.
pub fn path(config: &Config) -> PathBuf {
    if !config.secrets.key_file.as_os_str().is_empty() {
        return config.secrets.key_file.clone();
    }
    beside(&config.data_dir)
}

/// A file with the directory's name and `.key`, in the directory above it, however it is written.
fn beside(data_dir: &Path) -> PathBuf {
    let whole = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let mut named = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                named.pop();
            }
            part => named.push(part),
        }
    }
    let mut name = named.file_name().unwrap_or("store".as_ref()).to_owned();
    name.push(".key");
    named.with_file_name(name)
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

/// Refuses where a key that secrets are sealed under is not at hand.
pub fn check(
    config: &Config,
    needed: impl IntoIterator<Item = SealingKeyId>,
) -> Result<(), AppError> {
    let known = find(config)?.unwrap_or_default();
    let missing = needed.into_iter().find(|key| !known.knows(*key));
    missing.map_or(Ok(()), |key| {
        Err(AppError::SealingKey {
            source: SealError::Unknown(key),
            path: path(config),
        })
    })
}

/// The vault for a store with this directory: it opens every secret in it.
pub fn vault(config: &Config, directory: &Directory) -> Result<Vault, AppError> {
    check(config, directory.sealed_under())?;
    let ring = find_or_make(config)?;
    let source = match &config.secrets.key {
        Some(_) => Source::Given,
        None => Source::File(path(config)),
    };
    Ok(Vault::new(ring, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_is_never_inside_the_data_directory() {
        let here = std::env::current_dir().unwrap();
        let above = here.parent().unwrap();
        let name = here.file_name().unwrap().to_str().unwrap();
        for (data_dir, expected) in [
            ("/x/store", PathBuf::from("/x/store.key")),
            ("/x/store/", PathBuf::from("/x/store.key")),
            ("/x/store/.", PathBuf::from("/x/store.key")),
            ("/x/y/../store", PathBuf::from("/x/store.key")),
            ("/x/my.store", PathBuf::from("/x/my.store.key")),
            ("data/store", here.join("data/store.key")),
            (".", above.join(format!("{name}.key"))),
        ] {
            assert_eq!(beside(Path::new(data_dir)), expected, "{data_dir}");
        }
    }
}
