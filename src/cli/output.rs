//! A file that is there whole, or not at all; or standard output.
//!
//! It is written under another name beside its own, for its owner's eyes only, and gets its name once
//! it is whole and synced. What is there already stays, unless it may be replaced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::CliError;

/// See the module. What was not finished is removed when it is dropped.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard,
    /// A file.
    File(NewFile),
}

/// A file in the making.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    replace: bool,
    finished: AtomicBool,
}

impl Output {
    /// Begins a file; `-` is standard output.
    pub fn begin(path: &Path, replace: bool) -> Result<Self, CliError> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        if path.is_dir() {
            let message = format!("{} is a directory; name a file", path.display());
            return Err(CliError::Failed(message));
        }
        if !replace && path.symlink_metadata().is_ok() {
            return Err(there_already(path));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{:08x}.partial", getrandom::u32()?));
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(CliError::io(format!("cannot write {}", path.display())))?;
        Ok(Self::File(NewFile {
            path: path.to_owned(),
            partial,
            file,
            replace,
            finished: AtomicBool::new(false),
        }))
    }

    /// Gives the file its name, once everything is written and synced.
    pub fn finish(&self) -> Result<(), CliError> {
        match self {
            Self::Standard => io::stdout().flush().map_err(CliError::io("cannot print")),
            Self::File(new) => new.finish(),
        }
    }

    /// Removes what was written, even while somebody is still writing.
    pub fn abandon(&self) {
        if let Self::File(new) = self {
            new.abandon();
        }
    }

    /// Says something for people to read: on standard output, unless that is taken.
    pub fn say(&self, text: &str) -> Result<(), CliError> {
        match self {
            Self::Standard => {
                eprint!("{text}");
                Ok(())
            }
            Self::File(_) => super::print(text),
        }
    }
}

impl Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Standard => io::stdout().write(bytes),
            Output::File(new) => (&new.file).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Standard => io::stdout().flush(),
            Output::File(_) => Ok(()),
        }
    }
}

impl NewFile {
    fn finish(&self) -> Result<(), CliError> {
        let what = || CliError::io(format!("cannot write {}", self.path.display()));
        self.file.sync_all().map_err(what())?;
        if self.replace {
            std::fs::rename(&self.partial, &self.path).map_err(what())?;
        } else {
            self.rename_to_nothing()?;
        }
        self.finished.store(true, Ordering::Release);
        let parent = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|dir| dir.sync_all())
            .map_err(what())
    }

    /// Somebody may have put a file there in the meantime.
    fn rename_to_nothing(&self) -> Result<(), CliError> {
        let what = || CliError::io(format!("cannot write {}", self.path.display()));
        match renameat_with(CWD, &self.partial, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(there_already(&self.path)),
            // A file system that cannot do both at once.
            Err(Errno::INVAL | Errno::NOSYS) if !self.path.exists() => {
                std::fs::rename(&self.partial, &self.path).map_err(what())
            }
            Err(errno) => Err(what()(errno.into())),
        }
    }

    fn abandon(&self) {
        if !self.finished.load(Ordering::Acquire) {
            // Nothing more can be done for a file that cannot be removed.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn there_already(path: &Path) -> CliError {
    let path = path.display();
    CliError::Failed(format!("{path} is there already; --force replaces it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::begin(&path, false).unwrap();
        (&output).write_all(b"half").unwrap();
        assert!(!path.exists(), "it has its name too early");
        drop(output);
        assert_eq!(names(dir.path()), Vec::<String>::new());

        let output = Output::begin(&path, false).unwrap();
        (&output).write_all(b"whole").unwrap();
        output.finish().unwrap();
        drop(output);
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_there_is_replaced_only_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let late = Output::begin(&path, false).unwrap();
        std::fs::write(&path, "old").unwrap();
        assert!(Output::begin(&path, false).is_err());
        (&late).write_all(b"new").unwrap();
        assert!(late.finish().is_err(), "a file that came meanwhile is kept");
        drop(late);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");

        let forced = Output::begin(&path, true).unwrap();
        (&forced).write_all(b"new").unwrap();
        forced.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);
    }
}
