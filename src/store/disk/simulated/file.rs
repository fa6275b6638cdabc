//! An open file of a simulated disk.

use std::io::{self, ErrorKind};

use super::SimulatedDisk;
use super::content::Content;
use crate::store::disk::{Access, DiskFile};

#[derive(Debug)]
pub struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    pub(super) number: u64,
    /// The run of the machine that it was opened in.
    pub(super) boot: u64,
    pub(super) access: Access,
}

impl SimulatedFile {
    fn write(&self, end: u64, write: impl FnOnce(&mut Content)) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let mut inner = self.disk.lock();
        let power = inner.begin(self.boot)?;
        inner.make_room(self.number, end)?;
        if let Some(content) = inner.files.get_mut(&self.number) {
            write(content);
        }
        power.outcome()
    }

    fn sync(&self, sync: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let works = inner.sync(self.boot)?;
        let Some(content) = inner.files.get_mut(&self.number) else {
            return Ok(());
        };
        if !works {
            content.fail_sync();
            return Err(io::Error::other("the disk fails"));
        }
        sync(content);
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        inner.check(self.boot)?;
        let content = inner.files.get(&self.number);
        Ok(content.map_or(0, |content| content.read(buffer, offset)))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.write(end, |content| content.write(bytes, offset))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.write(bytes, |content| content.allocate(bytes))
    }

    fn shrink(&self, bytes: u64) -> io::Result<()> {
        self.write(0, |content| content.shrink(bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Content::sync_data)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Content::sync_all)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        let inner = self.disk.lock();
        inner.check(self.boot)?;
        Ok(inner.files.get(&self.number).map_or(0, Content::size_bytes))
    }
}
