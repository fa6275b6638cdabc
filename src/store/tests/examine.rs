//! Random harm to random stores: an examination tells exactly what a start would do and changes
//! nothing, and a salvage keeps every record that the harm left whole.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

use super::history::History;
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::key;
use crate::store::committer::Commit;
use crate::store::entry::Entry;
use crate::store::examine::{OpenCounts, Report, Salvaged, Start, StateFound, examine, salvage};
use crate::store::fixtures::{Random, commit, copy_dir, event, options, scratch};
use crate::store::journal::reader::Found;
use crate::store::journal::record::{self, Header};
use crate::store::journal::{Frame, Layout, Reader};
use crate::store::ledger::Ledger;
use crate::store::ledger::backlog::Status;
use crate::store::{Options, Store, open};

fn seeds() -> Range<u64> {
    let full = std::env::var("POSTRIDER_TEST_FULL").is_ok_and(|value| value == "1");
    if full { 0..300 } else { 0..10 }
}

/// A store that was left behind, and every record in it.
struct Left {
    dir: TempDir,
    options: Options,
    layout: Layout,
    records: Vec<Frame>,
    random: Random,
}

impl Left {
    fn of(seed: u64) -> Self {
        let mut history = History::new(seed);
        history.run(150).unwrap();
        history.crash();
        let dir = scratch();
        copy_dir(history.dir(), dir.path());
        let layout = Layout {
            dir: dir.path().join("journal"),
            ..history.layout()
        };
        let records = records(&layout);
        let options = Options {
            dir: dir.path().to_owned(),
            ..history.options.clone()
        };
        Self {
            dir,
            options,
            layout,
            records,
            random: Random(seed),
        }
    }

    /// Opens what was salvaged.
    fn open(&self, out: &Path) -> Store {
        let options = Options {
            dir: out.to_owned(),
            ..self.options.clone()
        };
        open(&options).unwrap()
    }

    fn examine(&self) -> Report {
        let before = everything(self.dir.path());
        let report = examine(&self.options).unwrap().unwrap();
        assert_eq!(everything(self.dir.path()), before, "it changed something");
        report
    }

    fn salvage(&self, out: &Path) -> Salvaged {
        let before = everything(self.dir.path());
        let salvaged = salvage(&self.options, out).unwrap().unwrap();
        assert_eq!(everything(self.dir.path()), before, "it changed something");
        salvaged
    }

    fn bytes(&self, segment: u64) -> Vec<u8> {
        std::fs::read(self.layout.path(segment)).unwrap()
    }

    /// Changes some bytes of the journal that hold something; returns the positions that it changed.
    fn harm(&mut self) -> Range<u64> {
        let picked = self.random.pick(&self.records).unwrap();
        let (position, next) = (picked.position, picked.next);
        let segment = self.layout.segment_of(position);
        let start = self.layout.position(segment, 0);
        let end = self.layout.position(segment + 1, 0);
        let (from, to) = match self.random.below(6) {
            0 => return self.remove(segment, start..end),
            1 => (position + self.random.below(next - position), end),
            2 => (start, start + 64),
            3 => (position, position + 8),
            4 => (position, next),
            _ => {
                let bytes = 1 + self.random.below(4000);
                (position, (position + bytes).min(end))
            }
        };
        let mut bytes = self.bytes(segment);
        let range = index(from - start)..index(to - start);
        match self.random.below(3) {
            0 => bytes[range.clone()].fill(0),
            1 if to == end => bytes.truncate(range.start),
            _ => bytes[range.clone()]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x5a),
        }
        std::fs::write(self.layout.path(segment), bytes).unwrap();
        from..to
    }

    fn remove(&self, segment: u64, all: Range<u64>) -> Range<u64> {
        std::fs::remove_file(self.layout.path(segment)).unwrap();
        all
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn records(layout: &Layout) -> Vec<Frame> {
    let reader = Reader::new(layout.clone());
    let mut records = Vec::new();
    for number in layout.list().unwrap() {
        let mut here = layout.first_position(number);
        while let Found::Record(frame) = reader.find(here).unwrap() {
            here = frame.next;
            records.push(frame);
        }
    }
    records
}

/// Every file and directory: when it was changed, and a checksum of what is in it.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<u32>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let changed = path.metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, (changed, None));
        } else {
            let crc = crc32c::crc32c(&std::fs::read(&path).unwrap());
            found.insert(path, (changed, Some(crc)));
        }
    }
    found
}

fn open_counts(ledger: &Ledger) -> OpenCounts {
    let mut counts = OpenCounts::default();
    for subscription in ledger.directory().subscriptions() {
        let count = |status| ledger.count(subscription.id, status) as u64;
        counts.waiting += count(Status::Waiting);
        counts.retrying += count(Status::Retrying);
        counts.dead += count(Status::Dead);
    }
    counts
}

fn assert_foretold(report: &Report, opened: Result<Store, crate::store::error::StoreError>) {
    match (&report.start, opened) {
        (
            Start::Succeeds {
                replays_records,
                rebuilds_state,
            },
            Ok(store),
        ) => {
            assert_eq!(*replays_records, store.report.records_replayed);
            assert_eq!(*rebuilds_state, store.report.state_rebuilt);
            assert_eq!(report.open, Some(open_counts(&store.ledger)));
        }
        (Start::Refuses { why }, Err(error)) => assert_eq!(why, &error.to_string()),
        (start, opened) => panic!("{start:?}, but {:?}", opened.map(|store| store.report)),
    }
}

#[test]
fn a_whole_store_is_healthy_and_its_copy_is_the_same() {
    for seed in seeds() {
        let left = Left::of(seed);
        let report = left.examine();
        assert!(report.is_healthy(), "seed {seed}: {report:?}");
        assert_eq!(report.contents.records, left.records.len() as u64);
        assert!(
            matches!(report.state, StateFound::Checkpoint { .. }),
            "seed {seed}"
        );

        let out = scratch();
        let salvaged = left.salvage(out.path());
        assert_eq!(salvaged.records, report.contents.records, "seed {seed}");
        assert_eq!((salvaged.lost_places, salvaged.lost_records), (0, 0));
        assert!(!salvaged.directory_is_uncertain, "seed {seed}");
        let copy = left.open(out.path());
        let original = open(&left.options).unwrap();
        assert_eq!(copy.ledger.directory(), original.ledger.directory());
        assert_eq!(
            open_counts(&copy.ledger),
            open_counts(&original.ledger),
            "seed {seed}"
        );
        assert_foretold(&report, Ok(original));
    }
}

#[test]
fn what_a_start_will_do_is_known_before_it() {
    let (mut refused, mut started) = (0, 0);
    for seed in seeds() {
        println!("seed {seed}");
        let mut left = Left::of(seed);
        let harmed = left.harm();
        let report = left.examine();
        let opened = open(&left.options);
        if opened.is_err() {
            refused += 1;
            let is_short = matches!(report.state, StateFound::Checkpoint { is_ahead: true, .. });
            assert!(
                report.damaged_places > 0 || is_short,
                "seed {seed}: {harmed:?} {report:?}"
            );
        } else {
            started += 1;
        }
        assert_foretold(&report, opened);
    }
    println!("{refused} refused, {started} started");
    assert!(refused > 0 && started > 0);
}

/// Where the last byte of a record stands; what follows up to the next one is nobody's.
fn last_byte(frame: &Frame) -> u64 {
    frame.position + (record::HEADER_BYTES + frame.payload.len()) as u64 - 1
}

#[test]
fn what_is_whole_is_salvaged_and_can_be_opened() {
    let mut lost_something = 0;
    for seed in seeds() {
        println!("seed {seed}");
        let mut left = Left::of(seed);
        let harmed = left.harm();
        let report = left.examine();
        let out = scratch();
        let salvaged = left.salvage(out.path());
        let end = report.torn.as_ref().map_or(u64::MAX, |_| report.end);
        let whole: Vec<_> = left
            .records
            .iter()
            .filter(|frame| last_byte(frame) < harmed.start || frame.position >= harmed.end)
            .filter(|frame| frame.position < end)
            .collect();
        lost_something += u64::from(whole.len() < left.records.len());
        let store = left.open(out.path());
        assert_eq!(open_counts(&store.ledger), salvaged.open);
        let log = store.log.journal();
        for frame in &whole {
            let saved = log.read(frame.position).unwrap();
            assert_eq!(saved.payload, frame.payload, "seed {seed}, {harmed:?}");
        }
        assert_eq!(
            salvaged.records,
            whole.len() as u64,
            "seed {seed}, {harmed:?}"
        );
    }
    assert!(lost_something > 0);
}

/// Bytes that are a whole record, wherever in a journal they stand: one that makes a key.
fn forged() -> Vec<u8> {
    let change = Change::PutKey(key(666, 1).into());
    let raw = Entry::encode_directory(&[change]).unwrap();
    let header = Header {
        payload_bytes: u32::try_from(raw.payload.len()).unwrap(),
        crc: 0,
        version: record::VERSION,
        kind: raw.kind,
        previous_crc: 0,
        sequence: 5,
        synced_to: 64,
        previous: 64,
    };
    let mut forged = Vec::new();
    header.append(&raw.payload, &mut forged);
    forged
}

#[test]
fn a_record_that_was_only_sent_as_a_body_is_never_taken_for_one() {
    let dir = scratch();
    let options = options(dir.path());
    let store = open(&options).unwrap();
    let send = |n, body: Vec<u8>| {
        let mut event = event(n, 0);
        event.meta.body_bytes = u32::try_from(body.len()).unwrap();
        event.body = body.into();
        let events = vec![event];
        let made = Commit {
            events,
            ..Commit::default()
        };
        commit(&store, made).events_at.unwrap()
    };
    send(1, vec![1; 10]);
    // One for each way in which the body may be aligned.
    let body = (0..8).flat_map(|shift| [forged(), vec![0; shift], vec![0; 1]].concat());
    let lost = send(2, body.collect());
    send(3, vec![3; 10]);
    send(4, vec![4; 10]);
    drop(store);
    let path = dir.path().join("journal/00000000000000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(lost).unwrap()] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let report = examine(&options).unwrap().unwrap();
    assert_eq!((report.damaged_places, report.missing_records), (1, 1));
    assert_eq!(report.directory.keys, 0, "{report:?}");
    let out = scratch();
    let salvaged = salvage(&options, out.path()).unwrap().unwrap();
    assert_eq!((salvaged.events, salvaged.lost_records), (3, 1));
    assert_eq!(salvaged.directory.keys, 0);
}
