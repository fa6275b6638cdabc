//! A [`Disk`] that is mounted: where it is, what is wrong with it, and who watches it.
//!
//! What a program does to it reaches the disk through [`crate::fuse`].

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fuser::{BackgroundSession, Config, MountOption, ReplyEmpty};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::disk::{Disk, Ino, Node};
use crate::faults::{Fault, Harm, Operation};
use crate::fuse::Mounted;

/// Is shown the disk before every change of it and every sync.
pub type Watcher = Box<dyn FnMut(&Disk) + Send>;

/// The disk, what is wrong with it, and who watches it.
pub struct Machine {
    pub disk: Disk,
    faults: Vec<Fault>,
    pub hanging: Vec<ReplyEmpty>,
    watcher: Option<Watcher>,
    /// Where the last operation ended, if it was a write.
    written_to: Option<(Ino, u64)>,
}

impl Machine {
    /// Shows the disk to the watcher, and says what becomes of an operation.
    pub fn begin(
        &mut self,
        operation: Operation,
        ino: Ino,
        name: Option<&OsStr>,
    ) -> Result<(), Harm> {
        self.written_to = None;
        self.show();
        self.meet(operation, ino, name)
    }

    /// Like [`Self::allow`], for a write.
    pub fn begin_write(&mut self, ino: Ino, offset: u64, length: usize) -> Result<(), Errno> {
        // The kernel cuts a large write into thousands. Here they are one: what a cut in the middle
        // leaves is what a torn one leaves of the whole.
        let goes_on = self.written_to.replace((ino, offset + length as u64)) == Some((ino, offset));
        if !goes_on {
            self.show();
        }
        self.meet(Operation::Write, ino, None).map_err(Harm::errno)
    }

    /// Like [`Self::allow`]: what is allocated already can't be refused any more.
    pub fn allow_growth(&mut self, ino: Ino, end: u64) -> Result<(), Errno> {
        match self.disk.node(ino)? {
            Node::File(file) if file.bytes() >= end => {
                self.written_to = None;
                self.show();
                Ok(())
            }
            _ => self.allow(Operation::Allocate, ino, None),
        }
    }

    fn show(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watcher(&self.disk);
        }
    }

    fn meet(&self, operation: Operation, ino: Ino, name: Option<&OsStr>) -> Result<(), Harm> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let mut path = self.disk.path(ino);
        path.extend(name);
        let met = self
            .faults
            .iter()
            .find(|fault| fault.meets(operation, &path));
        met.map_or(Ok(()), |fault| Err(fault.harm))
    }

    /// Like [`Self::begin`], for what can fail and never hangs.
    pub fn allow(
        &mut self,
        operation: Operation,
        ino: Ino,
        name: Option<&OsStr>,
    ) -> Result<(), Errno> {
        self.begin(operation, ino, name).map_err(Harm::errno)
    }
}

/// A mounted disk. It goes, with everything that still has files open on it, when this is dropped.
pub struct Mount {
    machine: Arc<Mutex<Machine>>,
    session: Option<BackgroundSession>,
    dir: TempDir,
}

impl Mount {
    /// Mounts a disk.
    pub fn new(disk: Disk) -> io::Result<Self> {
        hide_mounts();
        let dir = tempfile::Builder::new().prefix("durability").tempdir()?;
        let machine = Arc::new(Mutex::new(Machine {
            disk,
            faults: Vec::new(),
            hanging: Vec::new(),
            watcher: None,
            written_to: None,
        }));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("forgetful".to_owned()),
            MountOption::DefaultPermissions,
        ];
        let mounted = Mounted(Arc::clone(&machine));
        let session = fuser::spawn_mount(mounted, dir.path(), &config)?;
        Ok(Self {
            machine,
            session: Some(session),
            dir,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A directory on it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The disk as it is at this moment.
    pub fn disk(&self) -> Disk {
        self.machine().disk.clone()
    }

    /// Shows the disk to a watcher before every change and every sync.
    pub fn watch(&self, watcher: Watcher) {
        self.machine().watcher = Some(watcher);
    }

    /// Makes something go wrong from now on.
    pub fn harm(&self, fault: Fault) {
        self.machine().faults.push(fault);
    }

    /// Whether anything hangs.
    pub fn is_hanging(&self) -> bool {
        !self.machine().hanging.is_empty()
    }

    /// Nothing goes wrong any more, and what hangs fails.
    pub fn heal(&self) {
        let mut machine = self.machine();
        machine.faults.clear();
        for reply in machine.hanging.drain(..) {
            reply.error(fuser::Errno::EIO);
        }
    }

    /// Changes the size of the disk.
    pub fn resize(&self, size: impl FnOnce(&Disk) -> u64) {
        let mut machine = self.machine();
        let bytes = size(&machine.disk);
        machine.disk.resize(bytes);
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.heal();
        self.machine().watcher = None;
        // Detached, because those who still have files open on it are a dead machine's.
        if let Err(error) = umount2(self.dir.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.dir.path().display());
        }
        drop(self.session.take());
    }
}

/// What this thread and its children mount is theirs alone, and goes with them however they end. Where
/// that is not allowed, mounts are seen by all, as usual.
fn hide_mounts() {
    thread_local!(static HIDDEN: Cell<bool> = const { Cell::new(false) });
    if HIDDEN.replace(true) || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing = None::<&str>;
    if let Err(error) = mount(nothing, "/", nothing, private, nothing) {
        eprintln!("mounts are seen by all: {error}");
    }
}

pub fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    // A watcher that panicked is a failed test; the disk itself is whole.
    machine
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
