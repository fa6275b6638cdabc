//! Every kind of harm to a journal of several segments, one at a time: the start is refused with a
//! sentence that names the file, the place and the way on, and the refusal changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::history::History;
use super::retire::{TWO_SEGMENTS, retire};
use crate::store::error::StoreError;
use crate::store::examine::{Start, examine, salvage};
use crate::store::fixtures::{copy_dir, scratch};
use crate::store::journal::reader::Found;
use crate::store::journal::record;
use crate::store::journal::{Layout, Reader};
use crate::store::{Options, open};

const SEED: u64 = 3;
const HEADER_BYTES: usize = 64;

type Harm<'a> = &'a dyn Fn(&Store);

/// A store that was left behind, without its state: everything is to be read.
struct Store {
    options: Options,
    layout: Layout,
    /// The first segment, one between, and the last in use.
    segments: [u64; 3],
}

impl Store {
    fn path(&self, segment: u64) -> PathBuf {
        self.layout.path(segment)
    }

    fn change(&self, segment: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.path(segment)).unwrap();
        change(&mut bytes);
        std::fs::write(self.path(segment), bytes).unwrap();
    }

    /// The offsets of the last record and of its end.
    fn last_record(&self) -> [usize; 2] {
        let reader = Reader::new(self.layout.clone());
        let mut here = self.layout.first_position(self.segments[2]);
        let mut last = [0; 2];
        while let Found::Record(frame) = reader.find(here).unwrap() {
            last = [frame.position, frame.next]
                .map(|at| usize::try_from(self.layout.offset_of(at)).unwrap());
            here = frame.next;
        }
        last
    }

    /// The offset of the second record of a segment, and of the one after it.
    fn second_record(&self, segment: u64) -> [usize; 2] {
        let reader = Reader::new(self.layout.clone());
        let first = reader.read(self.layout.first_position(segment)).unwrap();
        let second = reader.read(first.next).unwrap();
        [second.position, second.next].map(|at| usize::try_from(self.layout.offset_of(at)).unwrap())
    }
}

/// The segments of the journal that hold something.
fn journal(layout: &Layout) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(&layout.dir).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .filter(|(path, bytes)| {
            let is_segment = path.extension().is_some_and(|it| it == "seg");
            is_segment && bytes.iter().any(|byte| *byte != 0)
        })
        .collect()
}

/// A fresh copy of one and the same store.
fn left(history: &History, dir: &Path) -> Store {
    copy_dir(history.dir(), dir);
    std::fs::remove_dir_all(dir.join("state")).unwrap();
    let layout = Layout {
        dir: dir.join("journal"),
        ..history.layout()
    };
    let is_used = |number: &u64| {
        let bytes = std::fs::read(layout.path(*number)).unwrap();
        bytes.starts_with(b"PSTRJRNL")
    };
    let used: Vec<u64> = layout.list().unwrap().into_iter().filter(is_used).collect();
    assert!(used.len() > 3, "too few segments: {used:?}");
    Store {
        options: Options {
            dir: dir.to_owned(),
            ..history.options.clone()
        },
        segments: [used[0], used[used.len() / 2], used[used.len() - 1]],
        layout,
    }
}

/// Rewrites the checksum of a segment's header.
fn seal_header(bytes: &mut [u8]) {
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Rewrites the checksum of the record between these offsets.
fn seal_record(bytes: &mut [u8], [start, end]: [usize; 2]) {
    let length = u32::from_le_bytes(*bytes[start..].first_chunk().unwrap()) as usize;
    assert!(start + record::HEADER_BYTES + length <= end);
    let body = &bytes[start + 8..start + record::HEADER_BYTES + length];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[start..start + 4]), body);
    bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Harms a store, and sees it refused with an error of this kind, about this segment.
#[track_caller]
fn refused(history: &History, segment: usize, says: &[&str], harm: Harm<'_>) {
    let dir = scratch();
    let store = left(history, dir.path());
    harm(&store);
    let before = journal(&store.layout);
    let error = open(&store.options).map(|store| store.report).unwrap_err();
    assert_eq!(journal(&store.layout), before, "{error}");
    assert!(!dir.path().join("reserve").exists(), "{error}");
    let said = error.to_string();
    let named = store.path(store.segments[segment]);
    assert!(
        said.contains(named.to_str().unwrap()),
        "not {}: {said}",
        named.display()
    );
    for expected in says {
        assert!(said.contains(expected), "no {expected:?}: {said}");
    }
    // Whoever examines it is told the same.
    match examine(&store.options) {
        Ok(report) => {
            let report = report.unwrap();
            assert!(!report.is_healthy());
            assert_eq!(report.start, Start::Refuses { why: said });
        }
        Err(examined) => {
            assert!(matches!(error, StoreError::Newer { .. }), "{examined}");
            assert_eq!(examined.to_string(), said);
        }
    }
}

fn history() -> History {
    let mut history = History::new(SEED);
    history.run(300).unwrap();
    history.crash();
    history
}

const DOCTOR: &str = "`postrider doctor`";

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let history = history();
    for which in 0..3 {
        refused(
            &history,
            which,
            &["damaged at byte 0", "header", DOCTOR],
            &|store| {
                store.change(store.segments[which], |bytes| bytes[20] ^= 4);
            },
        );
        refused(
            &history,
            which,
            &["damaged at byte 64", "checksum", DOCTOR],
            &|store| {
                store.change(store.segments[which], |bytes| bytes[HEADER_BYTES + 41] ^= 4);
            },
        );
        for part in [0, 4, 9, 17, 41] {
            refused(&history, which, &["damaged at byte ", DOCTOR], &|store| {
                let [second, _] = store.second_record(store.segments[which]);
                store.change(store.segments[which], |bytes| bytes[second + part] ^= 4);
            });
        }
    }
}

#[test]
fn a_segment_that_is_cut_short_emptied_or_missing_is_refused() {
    let history = history();
    refused(&history, 1, &["damaged at byte ", DOCTOR], &|store| {
        let [second, _] = store.second_record(store.segments[1]);
        store.change(store.segments[1], |bytes| bytes.truncate(second + 11));
    });
    for which in [0, 1] {
        refused(&history, which, &["damaged at byte 0", DOCTOR], &|store| {
            store.change(store.segments[which], Vec::clear);
        });
    }
    refused(
        &history,
        1,
        &["damaged at byte 0", "missing", DOCTOR],
        &|store| {
            std::fs::remove_file(store.path(store.segments[1])).unwrap();
        },
    );
}

#[test]
fn a_segment_of_another_store_or_of_another_name_is_refused() {
    let history = history();
    let mut other = History::new(SEED + 1);
    other.run(300).unwrap();
    other.crash();
    for which in 0..3 {
        refused(&history, which, &["another store", DOCTOR], &|store| {
            let stranger = other.layout().path(store.segments[which]);
            std::fs::copy(stranger, store.path(store.segments[which])).unwrap();
        });
    }
    refused(&history, 1, &["name and its number", DOCTOR], &|store| {
        std::fs::copy(store.path(store.segments[0]), store.path(store.segments[1])).unwrap();
    });
    refused(&history, 1, &["segment size", DOCTOR], &|store| {
        store.change(store.segments[1], |bytes| {
            bytes[40..48].copy_from_slice(&4096_u64.to_le_bytes());
            seal_header(bytes);
        });
    });
}

#[test]
fn a_newer_format_is_refused_with_the_advice_to_start_that_release() {
    let history = history();
    for which in 0..3 {
        let says = ["newer release (format 77 at byte 0", "start that release"];
        refused(&history, which, &says, &|store| {
            store.change(store.segments[which], |bytes| {
                bytes[8..12].copy_from_slice(&77_u32.to_le_bytes());
                seal_header(bytes);
            });
        });
        let says = ["newer release (format 78 at byte ", "start that release"];
        refused(&history, which, &says, &|store| {
            let [second, end] = store.second_record(store.segments[which]);
            store.change(store.segments[which], |bytes| {
                bytes[second + 8] = 78;
                seal_record(bytes, [second, end]);
            });
        });
    }
}

#[test]
fn a_record_that_is_whole_and_says_nothing_is_refused_by_its_place() {
    let says = ["damaged at byte ", "its kind says", DOCTOR];
    refused(&history(), 2, &says, &|store| {
        // The last one: any other would break the chain, too.
        let last = store.last_record();
        store.change(store.segments[2], |bytes| {
            bytes[last[0] + 9] = 1;
            bytes[last[0] + 40..last[0] + 44].fill(0xff);
            seal_record(bytes, last);
        });
    });
}

/// A store that loses the first segment that is not retired: refused, and named; and what is left can be
/// saved.
fn lose_the_first_segment(history: &History, retired: u64, keep_state: bool) {
    let dir = scratch();
    copy_dir(history.dir(), dir.path());
    if !keep_state {
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    }
    let layout = Layout {
        dir: dir.path().join("journal"),
        ..history.layout()
    };
    let lost = layout.segment_of(retired);
    for number in layout.list().unwrap().into_iter().filter(|it| *it <= lost) {
        std::fs::remove_file(layout.path(number)).unwrap();
    }
    let named = layout.path(lost);
    let options = Options {
        dir: dir.path().to_owned(),
        ..history.options.clone()
    };
    let before = journal(&layout);
    let error = open(&options).map(|store| store.report).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { path, .. } if *path == named),
        "{error}"
    );
    assert_eq!(journal(&layout), before);
    let report = examine(&options).unwrap().unwrap();
    assert_eq!(
        (report.is_healthy(), report.start),
        (
            false,
            Start::Refuses {
                why: error.to_string()
            }
        )
    );

    let out = scratch();
    let out = out.path().join("saved");
    salvage(&options, &out).unwrap().unwrap();
    let saved = Options {
        dir: out.clone(),
        ..options
    };
    for _ in 0..2 {
        let store = open(&saved).unwrap();
        assert!(store.log.start() > layout.first_position(0));
        std::fs::remove_dir_all(out.join("state")).unwrap();
    }
}

#[test]
fn a_lost_first_segment_is_not_taken_for_a_retired_one() {
    for keep_state in [true, false] {
        let mut history = history();
        lose_the_first_segment(&history, 0, keep_state);
        history.reopen();
        history.run(60).unwrap();
        retire(&mut history, &TWO_SEGMENTS).unwrap();
        let retired = history.store().ledger.retired();
        assert!(retired > 0, "nothing was retired");
        history.crash();
        lose_the_first_segment(&history, retired, keep_state);
    }
}

#[test]
fn files_that_are_none_of_ours_change_nothing() {
    let dir = scratch();
    let history = history();
    let store = left(&history, dir.path());
    for name in [
        "99999999999999999999.seg",
        "18446744073709551615.seg",
        "7.seg",
        "x.seg",
        "notes",
    ] {
        std::fs::write(store.layout.dir.join(name), b"not ours").unwrap();
    }
    let report = examine(&store.options).unwrap().unwrap();
    assert!(report.is_healthy(), "{report:?}");
    open(&store.options).unwrap();
}

#[test]
fn a_journal_of_which_no_header_is_left_is_not_taken_for_a_first_start() {
    let dir = scratch();
    let history = history();
    let store = left(&history, dir.path());
    for number in store.layout.list().unwrap() {
        store.change(number, |bytes| bytes[..HEADER_BYTES].fill(0));
    }
    let before = journal(&store.layout);
    let error = open(&store.options).map(|store| store.report).unwrap_err();
    assert!(
        matches!(error, StoreError::Damaged { offset: 0, .. }),
        "{error}"
    );
    assert_eq!(journal(&store.layout), before);
    let report = examine(&store.options).unwrap().unwrap();
    assert!(!report.is_healthy());
    assert!(report.contents.records > 0, "{report:?}");
}
