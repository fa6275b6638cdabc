//! Does again on a [`Disk`] what a recorded process did to a directory.
//!
//! A call that could change a file there and is not known here is a failure, never left out.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::Step;
use crate::disk::{Disk, Ino, Node, ROOT};
use crate::trace::Call;

/// A file that is open, and where its next `write` goes.
#[derive(Debug, Clone, Copy)]
struct Open {
    ino: Ino,
    at: u64,
}

/// Is shown the disk before every change and every sync, and how many records are acknowledged.
type Watcher<'a> = Box<dyn FnMut(&Disk, usize) + 'a>;

/// See the module.
pub struct Replay<'a> {
    pub disk: Disk,
    root: PathBuf,
    open: HashMap<String, Open>,
    acknowledged: usize,
    watcher: Watcher<'a>,
}

impl<'a> Replay<'a> {
    /// A directory that is the root of a disk; what is there now is on the disk.
    pub fn new(root: &Path, disk: Disk, watcher: impl FnMut(&Disk, usize) + 'a) -> Self {
        Self {
            disk,
            root: root.to_owned(),
            open: HashMap::new(),
            acknowledged: 0,
            watcher: Box::new(watcher),
        }
    }

    /// Does everything again, in order.
    pub fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Acknowledged(records) => self.acknowledged = *records,
                Step::Call(call) if call.succeeded() => self.repeat(call),
                Step::Call(_) => {}
            }
        }
    }

    fn repeat(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => self.open(call),
            "close" => drop(self.open.remove(call.argument(0))),
            "mkdir" => self.make(call, 0),
            "mkdirat" => self.make(call, 1),
            "unlink" | "rmdir" => self.remove(call, 0),
            "unlinkat" => self.remove(call, 1),
            "rename" => self.rename(call, 0, 1),
            "renameat" | "renameat2" => self.rename(call, 1, 3),
            "link" | "linkat" | "truncate" => {
                let mut all = 0..call.arguments_list().count();
                let inside = all.any(|it| self.inside(call, it).is_some());
                assert!(!inside, "{call:?} is not expected");
            }
            _ => self.repeat_on_a_file(call),
        }
    }

    fn repeat_on_a_file(&mut self, call: &Call) {
        let Some(Open { ino, at }) = self.open.get(call.argument(0)).copied() else {
            return;
        };
        match call.name.as_str() {
            "write" => {
                let end = at + self.write(ino, at, call);
                self.open
                    .insert(call.argument(0).to_owned(), Open { ino, at: end });
            }
            "pwrite64" => drop(self.write(ino, call.number(3), call)),
            "ftruncate" => {
                self.show();
                self.disk.set_length(ino, call.number(1)).unwrap();
            }
            "fallocate" => {
                assert_eq!(call.argument(1), "0", "{call:?} is not expected");
                self.show();
                let end = call.number(2) + call.number(3);
                self.disk.allocate(ino, end).unwrap();
            }
            "fsync" | "fdatasync" => {
                self.show();
                self.disk.sync(ino).unwrap();
            }
            "lseek" => {
                let at = call.returned.unwrap_or(0);
                self.open
                    .insert(call.argument(0).to_owned(), Open { ino, at });
            }
            "fcntl" if !call.argument(1).starts_with("F_DUPFD") => {}
            _ => panic!("{call:?} is not expected"),
        }
    }

    fn show(&mut self) {
        (self.watcher)(&self.disk, self.acknowledged);
    }

    fn write(&mut self, ino: Ino, offset: u64, call: &Call) -> u64 {
        self.show();
        let mut bytes = call.bytes(1);
        bytes.truncate(usize::try_from(call.returned.unwrap_or(0)).unwrap());
        self.disk.write(ino, offset, &bytes).unwrap();
        bytes.len() as u64
    }

    fn open(&mut self, call: &Call) {
        let file = call.returned.map(|it| it.to_string()).unwrap();
        self.open.remove(&file);
        let Some(path) = self.inside(call, 1) else {
            return;
        };
        let flags = call.argument(2);
        let found = self.look_up(&path);
        let is_there = found.is_some() || flags.contains("O_CREAT");
        assert!(is_there, "{call:?}: there is no such file");
        let ino = found.unwrap_or_else(|| self.create(&path, Node::file()));
        if flags.contains("O_TRUNC") && found.is_some() {
            self.show();
            self.disk.set_length(ino, 0).unwrap();
        }
        assert!(!flags.contains("O_APPEND"), "{call:?} is not expected");
        self.open.insert(file, Open { ino, at: 0 });
    }

    fn make(&mut self, call: &Call, path: usize) {
        if let Some(path) = self.inside(call, path) {
            self.create(&path, Node::directory());
        }
    }

    fn create(&mut self, path: &Path, node: Node) -> Ino {
        self.show();
        let (parent, name) = self.split(path);
        self.disk.create(parent, &name, node).unwrap()
    }

    fn remove(&mut self, call: &Call, path: usize) {
        if let Some(path) = self.inside(call, path) {
            self.show();
            let (parent, name) = self.split(&path);
            self.disk.remove(parent, &name).unwrap();
        }
    }

    fn rename(&mut self, call: &Call, from: usize, to: usize) {
        let (Some(from), Some(to)) = (self.inside(call, from), self.inside(call, to)) else {
            return;
        };
        self.show();
        let (from, to) = (self.split(&from), self.split(&to));
        let done = self.disk.rename((from.0, &from.1), (to.0, &to.1));
        done.unwrap();
    }

    /// The path that an argument names, from the root of the disk on, if it is there.
    fn inside(&self, call: &Call, argument: usize) -> Option<PathBuf> {
        let path = PathBuf::from(OsString::from_vec(call.bytes(argument)));
        if path.is_absolute() {
            return Some(path.strip_prefix(&self.root).ok()?.to_owned());
        }
        // Relative to the directory that the argument before is open on.
        let dir = call.argument(argument.checked_sub(1)?);
        let dir = self.open.get(dir)?;
        Some(self.disk.path(dir.ino).join(path))
    }

    fn look_up(&self, path: &Path) -> Option<Ino> {
        path.iter()
            .try_fold(ROOT, |at, name| self.disk.look_up(at, name).ok())
    }

    fn split(&self, path: &Path) -> (Ino, OsString) {
        let parent = path.parent().and_then(|parent| self.look_up(parent));
        let name = path.file_name().map(OsStr::to_owned);
        parent.zip(name).expect("a name in a directory of the disk")
    }
}
