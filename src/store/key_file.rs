//! The file that keeps the sealing keys, apart from the store that they protect.
//!
//! One key to a line, the one that seals first. It is readable for its owner alone, written whole or not
//! at all, and never inside a backup.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::sealed::{Keyring, SealError};

/// More than the largest ring takes.
const MAX_BYTES: u64 = 64 << 10;
const HEAD: &str = "# Postrider: the keys that signing secrets are sealed under. The first one seals.\n\
                    # Without them no delivery can be signed: keep a copy, apart from the backups.\n";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{path} holds keys and others may read it; `chmod 600` it")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// What is in it is no ring of keys.
    #[error("{path} cannot be used: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: SealError,
    },
}

impl KeyFileError {
    /// Whether whoever asks may not look.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied)
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    move |source| KeyFileError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Reads the keys. `None` where there is no file.
pub fn read(path: &Path) -> Result<Option<Keyring>, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let meta = file.metadata().map_err(failed("read", path))?;
    if meta.permissions().mode() & 0o077 != 0 {
        let path = path.to_owned();
        return Err(KeyFileError::Open { path });
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_BYTES).read_to_string(&mut text);
    read.map_err(failed("read", path))?;
    let ring = text.parse().map_err(|source| KeyFileError::Content {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(ring))
}

/// Writes the keys, in place of those that are there, and syncs them.
pub fn write(path: &Path, ring: &Keyring) -> Result<(), KeyFileError> {
    let mut text = Zeroizing::new(HEAD.to_owned());
    for key in ring.keys() {
        text.push_str(&key.reveal());
        text.push('\n');
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = || {
        std::fs::create_dir_all(dir)?;
        // Whatever is left there is not written into: it may be somebody else's, or readable for others.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sealed::fixtures::key;

    #[test]
    fn keys_are_read_as_they_were_written_by_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("apart/store.key");
        assert!(read(&path).unwrap().is_none());
        let ring = Keyring::of(key(1)).led_by(&key(2));
        write(&path, &Keyring::of(key(1))).unwrap();
        write(&path, &ring).unwrap();
        assert_eq!(read(&path).unwrap(), Some(ring));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_keys_is_refused_without_showing_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        write(&path, &Keyring::of(key(1))).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Open { .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "seal_hush").unwrap();
        let refused = read(&path).unwrap_err();
        assert!(matches!(refused, KeyFileError::Content { .. }));
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
}
