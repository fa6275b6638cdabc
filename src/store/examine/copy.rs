//! A copy of the state in a directory of its own, since opening sled writes.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;

/// A temporary directory that goes with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one where the system has its temporary files.
    pub fn create() -> Result<Self, StoreError> {
        let name = format!("postrider-doctor-{:016x}", getrandom::u64()?);
        let path = std::env::temp_dir().join(name);
        make_private(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system cleans its temporary files up if this fails.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Copies the files of a directory and those below it; anything that is neither is left out.
pub fn copy_dir(from: &Path, to: &Path) -> Result<(), StoreError> {
    make_private(to)?;
    for entry in std::fs::read_dir(from).map_err(StoreError::io("list", from))? {
        let entry = entry.map_err(StoreError::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type();
        let kind = kind.map_err(StoreError::io("look at", &source))?;
        if kind.is_dir() {
            copy_dir(&source, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

/// Copies what is in a file and nothing else: a copy of a read-only file can be written.
pub fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(StoreError::io("open", from))?;
    let mut target = File::create_new(to).map_err(StoreError::io("create", to))?;
    std::io::copy(&mut source, &mut target)
        .map(drop)
        .map_err(StoreError::io("write to", to))
}

/// Makes a directory that only its owner may look into.
pub fn make_private(dir: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder
        .mode(0o700)
        .create(dir)
        .map_err(StoreError::io("create", dir))
}
