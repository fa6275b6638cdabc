//! The calls of the kernel, each of them one call of the disk.
//!
//! Nothing is decided here: whoever watches is shown the disk before anything is done to it, and the
//! faults that are switched on are met.

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::io::Errno;

use crate::disk::{Disk, Ino, Node};
use crate::faults::{Harm, Operation};
use crate::mount::{Machine, lock};

/// Nobody but the kernel changes anything, so it may keep what it knows.
const FOREVER: Duration = Duration::from_hours(24);
const BLOCK_BYTES: u32 = 4096;

/// A disk as the kernel calls it.
pub struct Mounted(pub Arc<Mutex<Machine>>);

impl Mounted {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.0)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        let mut machine = self.machine();
        machine.allow(Operation::Name, parent.0, Some(name))?;
        let ino = machine.disk.create(parent.0, name, node)?;
        attributes(&machine.disk, ino)
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut machine = self.machine();
        let removed = machine
            .allow(Operation::Name, parent.0, Some(name))
            .and_then(|()| machine.disk.remove(parent.0, name));
        answer(removed, reply);
    }

    fn sync(&self, operation: Operation, ino: INodeNo, reply: ReplyEmpty) {
        let mut machine = self.machine();
        match machine.begin(operation, ino.0, None) {
            Ok(()) => answer(machine.disk.sync(ino.0), reply),
            Err(Harm::Error(error)) => reply.error(errno(error)),
            Err(Harm::Hang) => machine.hanging.push(reply),
        }
    }
}

fn answer(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn attributes(disk: &Disk, ino: Ino) -> Result<FileAttr, Errno> {
    let (kind, size) = match disk.node(ino)? {
        Node::Directory(..) => (FileType::Directory, 0),
        Node::File(file) => (FileType::RegularFile, file.bytes()),
        Node::Socket => (FileType::Socket, 0),
    };
    Ok(FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind,
        perm: 0o700,
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // A write of the program is one write of the disk, as far as the kernel allows.
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let machine = self.machine();
        let found = machine.disk.look_up(parent.0, name);
        match found.and_then(|ino| attributes(&machine.disk, ino)) {
            Ok(found) => reply.entry(&FOREVER, &found, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.machine().disk, ino.0) {
            Ok(found) => reply.attr(&FOREVER, &found),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut machine = self.machine();
        let mut set = || {
            if let Some(size) = size {
                machine.allow_growth(ino.0, size)?;
                machine.disk.set_length(ino.0, size)?;
            }
            attributes(&machine.disk, ino.0)
        };
        match set() {
            Ok(set) => reply.attr(&FOREVER, &set),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mknod(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let kind = rustix::fs::FileType::from_raw_mode(mode);
        let node = match kind {
            rustix::fs::FileType::Socket => Node::Socket,
            _ => Node::file(),
        };
        match self.make(parent, name, node) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        match self.make(parent, name, Node::directory()) {
            Ok(made) => reply.entry(&FOREVER, &made, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, Node::file()) {
            Ok(made) => reply.created(
                &FOREVER,
                &made,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut machine = self.machine();
        let renamed = machine
            .allow(Operation::Name, new_parent.0, Some(new_name))
            .and_then(|()| {
                let (from, to) = ((parent.0, name), (new_parent.0, new_name));
                machine.disk.rename(from, to)
            });
        answer(renamed, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.machine().disk.read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut machine = self.machine();
        let written = machine
            .begin_write(ino.0, offset, bytes.len())
            .and_then(|()| machine.disk.write(ino.0, offset, bytes));
        match written {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(Operation::Sync, ino, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(Operation::SyncNames, ino, reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(fuser::Errno::EOPNOTSUPP);
        }
        let mut machine = self.machine();
        let allocated = machine
            .allow_growth(ino.0, offset + length)
            .and_then(|()| machine.disk.allocate(ino.0, offset + length));
        answer(allocated, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let machine = self.machine();
        let names = match machine.disk.list(ino.0) {
            Ok(names) => names,
            Err(error) => return reply.error(errno(error)),
        };
        for (at, (name, child)) in (1..).zip(names).skip(usize::try_from(offset).unwrap_or(0)) {
            let kind = attributes(&machine.disk, child).map_or(FileType::RegularFile, |it| it.kind);
            if reply.add(INodeNo(child), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let machine = self.machine();
        let blocks = machine.disk.capacity_bytes() / u64::from(BLOCK_BYTES);
        let free = machine.disk.free_bytes() / u64::from(BLOCK_BYTES);
        reply.statfs(blocks, free, free, 0, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }
}
