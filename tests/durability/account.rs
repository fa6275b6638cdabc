//! After a cut: opens what is left, and accounts for everything that was acknowledged.

use std::path::Path;

use postrider::store::{self, Store};

use crate::disk::Disk;
use crate::mount::{Mount, Watcher};
use crate::workload::options;
use crate::world::{Said, World};

/// What was promised by a moment.
#[derive(Debug, Clone, Copy)]
pub struct Promise<'a> {
    /// Every record that was handed to the store, then or later.
    pub said: &'a [Said],
    /// How many of them were acknowledged by then.
    pub acknowledged: usize,
}

/// A store that kept its promise.
pub struct Reopened {
    pub store: Store,
    /// What its log adds up to.
    pub world: World,
    /// How many records are in its log.
    pub records: usize,
    /// What it runs on; dropped last.
    pub mount: Mount,
}

/// How a store is brought back.
#[derive(Default)]
pub struct Return {
    /// What is done to it before it is opened.
    pub before: Option<fn(&Path)>,
    /// Who watches while it is opened.
    pub watcher: Option<Watcher>,
}

/// Opens the store on a disk, and compares all it says with what was promised.
pub fn reopen(disk: Disk, promise: Promise<'_>, how: Return) -> Reopened {
    let mount = Mount::new(disk).expect("the disk can be mounted again");
    let options = options(mount.path());
    if let Some(before) = how.before.filter(|_| options.dir.exists()) {
        before(&options.dir);
    }
    if let Some(watcher) = how.watcher {
        mount.watch(watcher);
    }
    let (store, world, records) = account(mount.path(), promise);
    Reopened {
        store,
        world,
        records,
        mount,
    }
}

/// Opens the store in a directory, and compares all it says with what was promised.
pub fn account(dir: &Path, promise: Promise<'_>) -> (Store, World, usize) {
    let opened = store::open(&options(dir));
    let mut store = opened.unwrap_or_else(|error| panic!("it won't open: {error}"));
    let (world, records) = listen(&store, promise);
    nothing_follows_the_end(&store);
    world.expect_of(&mut store);
    (store, world, records)
}

/// Everything that a store's log says.
pub fn heard(store: &Store) -> Vec<Said> {
    let mut said = Vec::new();
    let mut position = store.log.start();
    while let Some(record) = store.log.next(position).unwrap() {
        said.extend(Said::read(&record));
        position = record.next;
    }
    said
}

/// What a torn write left behind the last record is gone, or it might be taken for one some day.
fn nothing_follows_the_end(store: &Store) {
    let layout = store.log.journal().layout();
    let end = store.log.end();
    let bytes = std::fs::read(layout.path(layout.segment_of(end))).unwrap();
    let rest = &bytes[usize::try_from(layout.offset_of(end)).unwrap()..];
    let left = rest.iter().filter(|byte| **byte != 0).count();
    assert_eq!(
        left, 0,
        "bytes of a torn write are left after the journal's end"
    );
}

/// Reads the whole log: what was acknowledged is there, what was not may be, and nothing else.
pub fn listen(store: &Store, promise: Promise<'_>) -> (World, usize) {
    let mut world = World::default();
    let mut records = 0;
    let mut position = store.log.start();
    while let Some(record) = store.log.next(position).unwrap() {
        if let Some(said) = Said::read(&record) {
            let expected = promise.said.get(records);
            assert_eq!(Some(&said), expected, "record {records} is another");
            world.hear(&said, record.position);
            records += 1;
        }
        position = record.next;
    }
    assert!(
        records >= promise.acknowledged,
        "{} records were acknowledged and {records} are there",
        promise.acknowledged
    );
    (world, records)
}
