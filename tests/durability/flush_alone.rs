//! The harness is one that catches: a store that takes sled's word for it loses what it acknowledged,
//! and the sequence that the relay uses beside it does not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use postrider::store::state::State;
use postrider::store::state::overlay::Frozen;

use crate::disk::{Cut, Disk};
use crate::mount::Mount;
use crate::support::chance::Chance;
use crate::{can_mount, empty_disk};

const BATCHES: u64 = 40;
const RECORDS: u64 = 64;
const RECORD_BYTES: usize = 1024;
/// After how many batches the power is cut.
const EVERY: u64 = 4;

/// Something that keeps batches.
trait Keeper: Sized {
    fn open(dir: &Path) -> Option<Self>;
    fn commit(&self, rows: &Frozen);
    fn has(&self, key: &[u8]) -> bool;
}

/// sled with segments of a size, synced by `flush()` and by nothing else.
struct FlushAlone<const SEGMENT_BYTES: usize>(sled::Db);

impl<const SEGMENT_BYTES: usize> Keeper for FlushAlone<SEGMENT_BYTES> {
    fn open(dir: &Path) -> Option<Self> {
        let config = sled::Config::new().path(dir).flush_every_ms(None);
        config.segment_size(SEGMENT_BYTES).open().ok().map(Self)
    }

    fn commit(&self, rows: &Frozen) {
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            batch.insert(&key[..], value.as_deref().unwrap_or_default());
        }
        self.0.apply_batch(batch).unwrap();
        self.0.flush().unwrap();
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.contains_key(key).unwrap()
    }
}

impl Keeper for State {
    fn open(dir: &Path) -> Option<Self> {
        Self::open(dir, 1 << 20).ok()
    }

    fn commit(&self, rows: &Frozen) {
        self.commit(rows).unwrap();
    }

    fn has(&self, key: &[u8]) -> bool {
        self.get(key).unwrap().is_some()
    }
}

fn key(batch: u64, record: u64) -> Vec<u8> {
    [batch.to_be_bytes(), record.to_be_bytes()].concat()
}

/// Commits batches; keeps the disk now and then, and how many batches were acknowledged by then.
fn moments<K: Keeper>() -> Vec<(Disk, u64)> {
    let mount = Mount::new(empty_disk()).unwrap();
    let keeper = K::open(&mount.join("state")).unwrap();
    let mut moments = Vec::new();
    for number in 0..BATCHES {
        let row = |record| (key(number, record), Some(vec![7; RECORD_BYTES]));
        keeper.commit(&(0..RECORDS).map(row).collect());
        if number % EVERY == 0 {
            moments.push((mount.disk(), number + 1));
        }
    }
    moments
}

/// How many cuts there were, and after how many of them something was missing or nothing would open.
fn bad_cuts<K: Keeper>(chance: &mut Chance) -> (usize, usize) {
    let (mut cuts, mut bad) = (0, 0);
    for (disk, acknowledged) in moments::<K>() {
        for how in [Cut::Drop, Cut::Torn] {
            let mount = Mount::new(disk.cut(how, chance)).unwrap();
            let all_there = || {
                let keeper = K::open(&mount.join("state"));
                let has = |keeper: K| (0..acknowledged).all(|it| keeper.has(&key(it, RECORDS - 1)));
                keeper.is_some_and(has)
            };
            let kept = catch_unwind(AssertUnwindSafe(all_there));
            cuts += 1;
            bad += usize::from(!kept.unwrap_or(false));
        }
    }
    (cuts, bad)
}

#[test]
fn a_store_that_relies_on_flush_alone_is_caught() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::new("flush alone");
    for (what, (cuts, bad)) in [
        (
            "512 KiB segments",
            bad_cuts::<FlushAlone<{ 512 << 10 }>>(&mut chance),
        ),
        (
            "16 MiB segments",
            bad_cuts::<FlushAlone<{ 16 << 20 }>>(&mut chance),
        ),
    ] {
        println!("flush() alone, {what}: {bad} of {cuts} cuts lost what was acknowledged");
        assert!(bad > 0, "nobody noticed");
    }
    let (cuts, bad) = bad_cuts::<State>(&mut chance);
    println!("flush() and our own fdatasync: {bad} of {cuts}");
    assert_eq!(bad, 0);
}
