//! A disk in a directory of the machine: laid out there, and compared with what is there.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Disk, Ino, Node, ROOT};

impl Disk {
    /// Puts everything that is seen now into an empty directory. Sockets stay out: nobody listens.
    pub fn lay_out(&self, dir: &Path) -> io::Result<()> {
        self.each(ROOT, dir, &mut |path, node| match node {
            Node::Directory(..) => fs::create_dir(path),
            Node::File(file) => {
                let outside = fs::File::create_new(path)?;
                outside.set_len(file.bytes())?;
                file.written()
                    .try_for_each(|(offset, bytes)| outside.write_all_at(bytes, offset))
            }
            Node::Socket => Ok(()),
        })
    }

    /// A disk on which all that is in a directory lasts.
    pub fn taken_from(dir: &Path) -> io::Result<Self> {
        let mut disk = crate::empty_disk();
        disk.take_in(ROOT, dir)?;
        Ok(disk)
    }

    fn take_in(&mut self, to: Ino, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let ino = self.create(to, &entry.file_name(), Node::directory())?;
                self.take_in(ino, &entry.path())?;
            } else {
                let ino = self.create(to, &entry.file_name(), Node::file())?;
                self.write(ino, 0, &fs::read(entry.path())?)?;
                self.sync(ino)?;
            }
        }
        Ok(self.sync(to)?)
    }

    /// The paths at which this disk and a directory are not the same.
    pub fn differences(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut known = Vec::new();
        let mut differ = Vec::new();
        self.each(ROOT, dir, &mut |path, node| {
            known.push(path.to_owned());
            let same = match node {
                Node::Directory(..) => path.is_dir(),
                Node::File(file) => {
                    let length = usize::try_from(file.bytes()).unwrap();
                    fs::read(path).is_ok_and(|there| there == file.read(0, length))
                }
                Node::Socket => path.exists(),
            };
            if !same {
                differ.push(path.to_owned());
            }
            Ok(())
        })?;
        let there = paths_below(dir)?.into_iter();
        differ.extend(there.filter(|path| !known.contains(path)));
        Ok(differ)
    }

    /// Calls with the path of everything below a directory, and what it is; parents first.
    fn each(
        &self,
        ino: Ino,
        at: &Path,
        call: &mut dyn FnMut(&Path, &Node) -> io::Result<()>,
    ) -> io::Result<()> {
        for (name, child) in self.list(ino)? {
            let path = at.join(name);
            let node = self.node(child)?;
            call(&path, node)?;
            if matches!(node, Node::Directory(..)) {
                self.each(child, &path, call)?;
            }
        }
        Ok(())
    }
}

fn paths_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path.clone());
            }
            found.push(path);
        }
    }
    Ok(found)
}
