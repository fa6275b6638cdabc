//! A disk in memory that keeps its word to the letter and gives nothing beyond it.
//!
//! A power cut takes what was not synced: of bytes, each page or sector by the toss of a coin, or all,
//! or none; of a file's length, whatever reading the synced bytes does not need; of names, each one
//! that was made or removed since its directory was synced. A sync that fails loses what it was asked
//! for: later ones do not make up for it. The power can be made to go during any operation, and what
//! was open before it went is of no use afterwards.
//!
//! It is stricter than file systems are: a file's own sync says nothing of its name.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Disk, DiskFile};
use crate::store::fixtures::Random;

mod content;
mod file;

use self::content::{Content, Tear};
use self::file::SimulatedFile;

/// See the module. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// What is there as long as the power stays.
    names: BTreeMap<PathBuf, Node>,
    /// What is there whatever happens.
    lasting: BTreeMap<PathBuf, Node>,
    /// What leads from the one to the other, in order.
    changes: Vec<(PathBuf, Option<Node>)>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    capacity_bytes: u64,
    /// How many more operations there will be power for.
    power_left: Option<u64>,
    is_off: bool,
    /// Which run of the machine this is.
    boot: u64,
    failing_syncs: u64,
    steps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// Whether the power holds for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It does.
    Stays,
    /// It goes during this one: some of it may be done.
    Goes,
}

impl Power {
    /// What the one who asked for the operation hears.
    pub fn outcome(self) -> io::Result<()> {
        match self {
            Self::Stays => Ok(()),
            Self::Goes => Err(off()),
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl SimulatedDisk {
    /// An empty one with this directory, which lasts.
    pub fn new(root: &Path) -> Self {
        let names: BTreeMap<_, _> = root
            .ancestors()
            .map(|dir| (dir.to_owned(), Node::Dir))
            .collect();
        let inner = Inner {
            lasting: names.clone(),
            names,
            changes: Vec::new(),
            files: BTreeMap::new(),
            next_file: 1,
            capacity_bytes: u64::MAX,
            power_left: None,
            is_off: false,
            boot: 1,
            failing_syncs: 0,
            steps: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the power go after so many operations that change something.
    pub fn cut_power_after(&self, operations: u64) {
        self.lock().power_left = Some(operations);
    }

    /// Takes that back, if it has not happened.
    pub fn keep_power(&self) {
        self.lock().power_left = None;
    }

    /// Whether the power went.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Cuts the power, or finds out what it took when it went, and turns it on again.
    pub fn power_cut(&self, random: &mut Random) {
        let mut inner = self.lock();
        let tear = Tear::any(random);
        for (path, node) in std::mem::take(&mut inner.changes) {
            if tear.takes(random) {
                continue;
            }
            match node {
                Some(node) => inner.lasting.insert(path, node),
                None => inner.lasting.remove(&path),
            };
        }
        // In the order of paths, a directory comes before what is in it.
        let mut names: BTreeMap<PathBuf, Node> = BTreeMap::new();
        for (path, node) in &inner.lasting {
            let dir = path.parent();
            if dir.is_none_or(|dir| names.get(dir) == Some(&Node::Dir)) {
                names.insert(path.clone(), *node);
            }
        }
        inner.lasting.clone_from(&names);
        inner.names = names;
        for file in inner.files.values_mut() {
            file.power_cut(tear, random);
        }
        inner.restart();
    }

    /// What the end of a process does: what it had open is closed, what it wrote stays.
    pub fn kill(&self) {
        self.lock().restart();
    }

    /// Makes the next syncs fail, so many of them.
    pub fn fail_syncs(&self, count: u64) {
        self.lock().failing_syncs = count;
    }

    /// Leaves room for so much more than is there now.
    pub fn set_free_bytes(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.capacity_bytes = inner.used_bytes().saturating_add(bytes);
    }

    /// How many operations there were that changed something.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Which run of the machine this is.
    pub fn boot(&self) -> u64 {
        self.lock().boot
    }

    /// Begins an operation that changes something, on what was opened in a run of the machine.
    pub fn begin(&self, boot: u64) -> io::Result<Power> {
        self.lock().begin(boot)
    }

    /// Whether what was opened in a run of the machine can be read.
    pub fn check(&self, boot: u64) -> io::Result<()> {
        self.lock().check(boot)
    }
}

impl Inner {
    fn restart(&mut self) {
        let nodes = self.names.values().chain(self.lasting.values()).copied();
        let on_the_way = self.changes.iter().filter_map(|(_, node)| *node);
        let known: Vec<Node> = nodes.chain(on_the_way).collect();
        self.files
            .retain(|number, _| known.contains(&Node::File(*number)));
        self.power_left = None;
        self.is_off = false;
        self.boot += 1;
    }

    fn check(&self, boot: u64) -> io::Result<()> {
        if self.is_off || boot != self.boot {
            return Err(off());
        }
        Ok(())
    }

    fn begin(&mut self, boot: u64) -> io::Result<Power> {
        self.check(boot)?;
        self.steps += 1;
        match &mut self.power_left {
            Some(0) => {
                self.is_off = true;
                Ok(Power::Goes)
            }
            Some(left) => {
                *left -= 1;
                Ok(Power::Stays)
            }
            None => Ok(Power::Stays),
        }
    }

    fn used_bytes(&self) -> u64 {
        let sizes = self.names.values().map(|node| match node {
            Node::File(number) => self.files.get(number).map_or(0, Content::size_bytes),
            Node::Dir => 0,
        });
        sizes.sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    /// Fails where a file cannot be made this long.
    fn make_room(&self, number: u64, end: u64) -> io::Result<()> {
        let size = self.files.get(&number).map_or(0, Content::size_bytes);
        if end.saturating_sub(size) > self.free_bytes() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&mut self, path: &Path, node: Option<Node>) {
        match node {
            Some(node) => self.names.insert(path.to_owned(), node),
            None => self.names.remove(path),
        };
        self.changes.push((path.to_owned(), node));
    }

    fn make(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let boot = self.boot;
        let power = self.begin(boot)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        if self.names.get(dir) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(path, Some(node));
        power.outcome()
    }

    fn sync(&mut self, boot: u64) -> io::Result<bool> {
        self.begin(boot)?.outcome()?;
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        Ok(!fails)
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.check(inner.boot)?;
        let number = match inner.names.get(path) {
            Some(Node::File(number)) => *number,
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            None if access == Access::Create => {
                let number = inner.next_file;
                inner.next_file += 1;
                inner.files.insert(number, Content::default());
                inner.make(path, Node::File(number))?;
                number
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            number,
            boot: inner.boot,
            access,
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.lock();
        inner.check(inner.boot)?;
        Ok(inner.names.contains_key(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.check(inner.boot)?;
        if inner.names.get(dir) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = inner.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(inside.filter_map(name).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let boot = inner.boot;
        let power = inner.begin(boot)?;
        let Some(Node::File(_)) = inner.names.get(path) else {
            return Err(ErrorKind::NotFound.into());
        };
        inner.change(path, None);
        power.outcome()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().make(dir, Node::Dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let boot = inner.boot;
        if !inner.sync(boot)? {
            return Err(io::Error::other("the disk fails"));
        }
        let changes = std::mem::take(&mut inner.changes);
        let of_dir = |(path, _): &(PathBuf, Option<Node>)| path.parent() == Some(dir);
        let (now, later) = changes.into_iter().partition(of_dir);
        inner.changes = later;
        let now: Vec<_> = now;
        for (path, node) in now {
            match node {
                Some(node) => inner.lasting.insert(path, node),
                None => inner.lasting.remove(&path),
            };
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let inner = self.lock();
        inner.check(inner.boot)?;
        Ok(inner.free_bytes())
    }
}

#[cfg(test)]
mod tests;
