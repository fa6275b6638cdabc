//! A disk that forgets: files and directories in memory, and what a power cut leaves of them.
//!
//! Everything is seen at once and survives only once it is synced. Syncing a file makes its bytes and
//! its length last, and not its name; syncing a directory makes last what was done to the names in it,
//! and nothing of what they name. No other call promises anything. This is stricter than most file
//! systems are and nothing that they may not do.
//!
//! A copy of a disk is cheap, so a test may keep one for every step of what it watches.

mod file;
mod outside;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustix::io::Errno;

use self::file::File;
use crate::support::chance::Chance;

/// Names a file or a directory for good.
pub type Ino = u64;
/// The directory that all others are in.
pub const ROOT: Ino = 1;

/// How much a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything that is not synced.
    Drop,
    /// Of what is not synced every page, every length and every step of a directory by the toss of a
    /// coin.
    Torn,
}

impl Cut {
    /// One of them; more often torn, which can leave more.
    pub fn any(chance: &mut Chance) -> Self {
        if chance.once_in(3) {
            Self::Drop
        } else {
            Self::Torn
        }
    }
}

/// What a name can stand for.
#[derive(Debug, Clone)]
pub enum Node {
    /// Names, as they are and as they were synced.
    Directory(Names, Names),
    /// Bytes.
    File(File),
    /// A Unix socket's place.
    Socket,
}

impl Node {
    /// An empty directory.
    pub fn directory() -> Self {
        Self::Directory(Names::new(), Names::new())
    }

    /// An empty file.
    pub fn file() -> Self {
        Self::File(File::default())
    }
}

type Names = BTreeMap<OsString, Ino>;

/// One change of directories: it survives whole or not at all, as a rename does.
#[derive(Debug, Clone)]
struct Step(Vec<(Ino, OsString, Option<Ino>)>);

/// See the module.
#[derive(Debug, Clone)]
pub struct Disk {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    /// What was done to directories and is not synced yet, in order.
    steps: Vec<Step>,
    capacity_bytes: u64,
}

impl Disk {
    /// An empty disk of this size.
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::directory())]),
            next: ROOT + 1,
            steps: Vec::new(),
            capacity_bytes,
        }
    }

    /// What there is under this number.
    pub fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::NOENT)
    }

    fn names(&self, ino: Ino) -> Result<&Names, Errno> {
        match self.node(ino)? {
            Node::Directory(names, _) => Ok(names),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn file(&mut self, ino: Ino) -> Result<&mut File, Errno> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(_) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// What a name stands for.
    pub fn look_up(&self, parent: Ino, name: &OsStr) -> Result<Ino, Errno> {
        self.names(parent)?.get(name).copied().ok_or(Errno::NOENT)
    }

    /// The names in a directory.
    pub fn list(&self, ino: Ino) -> Result<Vec<(OsString, Ino)>, Errno> {
        let names = self.names(ino)?.iter();
        Ok(names.map(|(name, ino)| (name.clone(), *ino)).collect())
    }

    /// Where a file is, from the root on; empty for the root and for what was removed.
    pub fn path(&self, ino: Ino) -> PathBuf {
        let mut path = PathBuf::new();
        let mut at = ino;
        while let Some((parent, name)) = self.parent_of(at) {
            path = if path.as_os_str().is_empty() {
                PathBuf::from(name)
            } else {
                PathBuf::from(name).join(path)
            };
            at = parent;
        }
        path
    }

    fn parent_of(&self, ino: Ino) -> Option<(Ino, &OsString)> {
        self.nodes.iter().find_map(|(parent, node)| {
            let Node::Directory(names, _) = node else {
                return None;
            };
            let name = names.iter().find(|(_, child)| **child == ino)?.0;
            Some((*parent, name))
        })
    }

    /// What is not taken by any file that has a name.
    pub fn free_bytes(&self) -> u64 {
        let named = self.reachable();
        let taken = named.iter().map(|ino| match self.nodes.get(ino) {
            Some(Node::File(file)) => file.bytes().next_multiple_of(file::PAGE_BYTES as u64),
            _ => 0,
        });
        self.capacity_bytes.saturating_sub(taken.sum())
    }

    /// Its size.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Makes it another size.
    pub fn resize(&mut self, capacity_bytes: u64) {
        self.capacity_bytes = capacity_bytes;
    }

    /// Makes a file, a directory, or what else there is.
    pub fn create(&mut self, parent: Ino, name: &OsStr, node: Node) -> Result<Ino, Errno> {
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.step(vec![(parent, name.to_owned(), Some(ino))]);
        Ok(ino)
    }

    /// Takes a name away. Whoever has the file open still has it.
    pub fn remove(&mut self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let ino = self.look_up(parent, name)?;
        if self.names(ino).is_ok_and(|names| !names.is_empty()) {
            return Err(Errno::NOTEMPTY);
        }
        self.step(vec![(parent, name.to_owned(), None)]);
        Ok(())
    }

    /// Gives something another name, in the place of what may have had it.
    pub fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr)) -> Result<(), Errno> {
        let ino = self.look_up(from.0, from.1)?;
        self.names(to.0)?;
        self.step(vec![
            (from.0, from.1.to_owned(), None),
            (to.0, to.1.to_owned(), Some(ino)),
        ]);
        Ok(())
    }

    fn step(&mut self, changes: Vec<(Ino, OsString, Option<Ino>)>) {
        for (parent, name, ino) in &changes {
            if let Some(Node::Directory(now, _)) = self.nodes.get_mut(parent) {
                assign(now, name, *ino);
            }
        }
        self.steps.push(Step(changes));
    }

    /// Reads from a file.
    pub fn read(&self, ino: Ino, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        match self.node(ino)? {
            Node::File(file) => Ok(file.read(offset, length)),
            _ => Err(Errno::ISDIR),
        }
    }

    /// Writes to a file.
    pub fn write(&mut self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.make_room(ino, offset + bytes.len() as u64)?;
        self.file(ino)?.write(offset, bytes);
        Ok(())
    }

    /// Gives a file another length.
    pub fn set_length(&mut self, ino: Ino, bytes: u64) -> Result<(), Errno> {
        self.make_room(ino, bytes)?;
        self.file(ino)?.resize(bytes);
        Ok(())
    }

    /// Makes a file at least so long.
    pub fn allocate(&mut self, ino: Ino, end: u64) -> Result<(), Errno> {
        let bytes = self.file(ino)?.bytes().max(end);
        self.set_length(ino, bytes)
    }

    fn make_room(&mut self, ino: Ino, end: u64) -> Result<(), Errno> {
        let bytes = self.file(ino)?.bytes();
        let more = end.saturating_sub(bytes.next_multiple_of(file::PAGE_BYTES as u64));
        if more > 0 && more > self.free_bytes() {
            return Err(Errno::NOSPC);
        }
        Ok(())
    }

    /// The file's bytes and length survive from here on; for a directory, what was done in it.
    pub fn sync(&mut self, ino: Ino) -> Result<(), Errno> {
        if self.names(ino).is_err() {
            self.file(ino)?.sync();
            return Ok(());
        }
        let touches = |step: &mut Step| step.0.iter().any(|(parent, ..)| *parent == ino);
        let settled: Vec<Step> = self.steps.extract_if(.., touches).collect();
        for step in settled {
            self.settle(step);
        }
        Ok(())
    }

    fn settle(&mut self, step: Step) {
        for (parent, name, ino) in step.0 {
            if let Some(Node::Directory(_, synced)) = self.nodes.get_mut(&parent) {
                assign(synced, &name, ino);
            }
        }
    }

    /// The disk that is found after the power was cut now.
    pub fn cut(&self, how: Cut, chance: &mut Chance) -> Self {
        let mut left = self.clone();
        for step in std::mem::take(&mut left.steps) {
            if how == Cut::Torn && chance.once_in(2) {
                left.settle(step);
            }
        }
        for node in left.nodes.values_mut() {
            match node {
                Node::Directory(now, synced) => now.clone_from(synced),
                Node::File(file) => file.cut(how, chance),
                Node::Socket => {}
            }
        }
        left.without_the_unreachable()
    }

    /// The disk that is found after every process was killed now: nothing is lost, and what was not
    /// synced still is not.
    pub fn killed(&self) -> Self {
        self.clone()
    }

    fn without_the_unreachable(mut self) -> Self {
        let named = self.reachable();
        self.nodes.retain(|ino, _| named.contains(ino));
        self
    }

    fn reachable(&self) -> BTreeSet<Ino> {
        let mut found = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(ino) = todo.pop() {
            if let Ok(names) = self.names(ino) {
                todo.extend(names.values().filter(|ino| found.insert(**ino)));
            }
        }
        found
    }
}

fn assign(names: &mut Names, name: &OsStr, ino: Option<Ino>) {
    match ino {
        Some(ino) => names.insert(name.to_owned(), ino),
        None => names.remove(name),
    };
}
