//! Every attempt of an event is found, wherever it stands and whatever became of the index files.

use std::path::Path;

use tempfile::TempDir;

use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::event::Place;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::committer::Commit;
use crate::store::fixtures::{attempt, commit, copy_dir, event, event_id, options, scratch};
use crate::store::{Store, open};

const EVENTS: u64 = 20;

/// A store of several segments with attempts for each event in most of them.
struct Busy {
    dir: TempDir,
    store: Store,
    places: Vec<(EventId, Place)>,
    made: Vec<Attempt>,
}

fn busy() -> Busy {
    let dir = scratch();
    let store = open(&options(dir.path())).unwrap();
    let events = (0..EVENTS).map(|n| event(n, 100)).collect();
    let accepted = Commit {
        events,
        ..Commit::default()
    };
    let position = commit(&store, accepted).events_at.unwrap();
    let place = |index| Place { position, index };
    let places = (0..).map(place).zip(0..EVENTS);
    let places: Vec<_> = places.map(|(place, n)| (event_id(n), place)).collect();
    let mut made = Vec::new();
    for number in 1..=120 {
        let (skipped, of) = (u64::from(number) % 3, SubscriptionId::from_bits(1));
        let due_ms = u64::from(number);
        let attempts: Vec<Attempt> = (0..)
            .zip(&places)
            .filter(|(n, _)| n % 3 != skipped)
            .map(|(_, (event, place))| {
                attempt(*event, *place, of, number, Outcome::Retry { due_ms })
            })
            .collect();
        made.extend(attempts.iter().cloned());
        let settled = Commit {
            attempts,
            ..Commit::default()
        };
        commit(&store, settled);
    }
    let last = options(dir.path()).segment_bytes;
    assert!(store.log.end() / last > 2, "too few segments");
    Busy {
        dir,
        store,
        places,
        made,
    }
}

impl Busy {
    fn assert_found_in(&self, store: &Store) {
        for (event, place) in &self.places {
            let made = self.made.iter().filter(|it| it.event == *event);
            let made: Vec<Attempt> = made.cloned().collect();
            assert_eq!(store.log.attempts_of(*event, *place).unwrap(), made);
        }
        let unknown = store.log.attempts_of(event_id(999), self.places[0].1);
        assert_eq!(unknown.unwrap(), []);
    }

    /// The directory as a crash would leave it, with `harm` done to each index file. Where one is
    /// missing it is made first, so that there is one to be harmed for every closed segment.
    fn assert_found_after(&self, harm: impl Fn(&Path)) {
        let copy = scratch();
        copy_dir(self.dir.path(), copy.path());
        let journal = copy.path().join("journal");
        let made = open(&options(copy.path())).unwrap();
        self.assert_found_in(&made);
        drop(made);
        let indexes = |dir: &Path| -> Vec<_> {
            let files = std::fs::read_dir(dir).unwrap();
            let files = files.map(|file| file.unwrap().path());
            files
                .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
                .collect()
        };
        assert!(indexes(&journal).len() >= 2);
        for path in indexes(&journal) {
            harm(&path);
        }
        let store = open(&options(copy.path())).unwrap();
        self.assert_found_in(&store);
        // Asked once more, it answers from memory; a third process from the files that were made anew.
        self.assert_found_in(&store);
        drop(store);
        assert!(indexes(&journal).len() >= 2);
        self.assert_found_in(&open(&options(copy.path())).unwrap());
    }
}

#[test]
fn attempts_are_found_in_the_open_segment_and_in_closed_ones() {
    let busy = busy();
    busy.assert_found_in(&busy.store);
}

#[test]
fn attempts_are_found_with_the_index_files_as_they_were_left() {
    busy().assert_found_after(|_| {});
}

#[test]
fn attempts_are_found_without_index_files() {
    busy().assert_found_after(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn attempts_are_found_with_damaged_index_files() {
    let busy = busy();
    busy.assert_found_after(|path| std::fs::write(path, b"").unwrap());
    busy.assert_found_after(|path| std::fs::write(path, [0; 40]).unwrap());
    busy.assert_found_after(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.truncate(bytes.len() - 12);
        std::fs::write(path, bytes).unwrap();
    });
    busy.assert_found_after(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
}
