//! The journal as a whole: what was appended is read back, and refusals leave it as it was.

mod damage;
mod space;

use std::ops::Range;
use std::sync::Arc;

use super::recovery::recover;
use super::*;
use crate::store::background::Background;
use crate::store::disk::real::RealDisk;
use crate::store::error::StoreError;
use crate::store::fixtures::scratch;

const SEGMENT_BYTES: u64 = 16 << 10;

fn layout(dir: &tempfile::TempDir) -> Layout {
    Layout {
        dir: dir.path().to_owned(),
        store_id: [7; 16],
        segment_bytes: SEGMENT_BYTES,
        min_free_bytes: 0,
        disk: Arc::new(RealDisk),
        background: Background::Threads,
    }
}

fn reader(layout: &Layout) -> Reader {
    Reader::new(layout.clone())
}

fn open(layout: &Layout) -> (Writer, Tail) {
    let tail = recover(&reader(layout), None).unwrap().unwrap();
    (Writer::resume(layout.clone(), tail).unwrap(), tail)
}

/// The number of the first small record.
const SMALL: u64 = 500;

/// A payload that says which one it is, of a length that depends on that.
fn raw(n: u64) -> Raw {
    let most = if n < SMALL { 1400 } else { 24 };
    let length = 8 + usize::try_from(n * 197 % most).unwrap();
    let mut payload = vec![u8::try_from(1 + n % 250).unwrap(); length];
    payload[..8].copy_from_slice(&(!n).to_le_bytes());
    Raw { kind: 1, payload }
}

fn head() -> Vec<Raw> {
    let payload = b"what a segment starts with".to_vec();
    vec![Raw { kind: 9, payload }]
}

fn append(writer: &mut Writer, records: Range<u64>) -> Vec<writer::Written> {
    let raws: Vec<Raw> = records.map(raw).collect();
    writer.append(&raws, 1, || Ok(head())).unwrap()
}

/// Every record up to `end`, segment heads included.
fn read_all(layout: &Layout, end: u64) -> Vec<Frame> {
    let reader = reader(layout);
    let mut position = layout.first_position(0);
    let mut frames = Vec::new();
    while let Some(frame) = reader.read_from(position, end).unwrap() {
        position = frame.next;
        frames.push(frame);
    }
    frames
}

fn payloads(frames: &[Frame]) -> Vec<Vec<u8>> {
    let own = frames.iter().filter(|frame| frame.header.kind == 1);
    own.map(|frame| frame.payload.to_vec()).collect()
}

fn expected(records: Range<u64>) -> Vec<Vec<u8>> {
    records.map(|n| raw(n).payload).collect()
}

/// A journal whose writer is gone, and where its last append began.
struct Left {
    _dir: tempfile::TempDir,
    layout: Layout,
    /// Everything up to here was synced before the last append.
    safe: Tail,
    /// The end, the last append included.
    end: Tail,
    frames: Vec<Frame>,
}

impl Left {
    /// A journal of appends of one record each, then of one append of `last` small records.
    fn after(singles: u64, last: u64) -> Self {
        let dir = scratch();
        let layout = layout(&dir);
        Writer::create(&layout, 0).unwrap();
        let (mut writer, _) = open(&layout);
        for n in 0..singles {
            append(&mut writer, n..n + 1);
        }
        drop(writer);
        let (mut writer, safe) = open(&layout);
        append(&mut writer, SMALL..SMALL + last);
        // The writer may still prepare its next segment; a copy stands still.
        let copy = scratch();
        let own = Layout {
            dir: copy.path().to_owned(),
            ..layout.clone()
        };
        for number in 0..=layout.segment_of(writer.end()) {
            std::fs::copy(layout.path(number), own.path(number)).unwrap();
        }
        let end = recover(&reader(&own), None).unwrap().unwrap();
        let frames = read_all(&own, end.position);
        Self {
            _dir: copy,
            layout: own,
            safe,
            end,
            frames,
        }
    }

    /// One whose last append is the first one of its segment.
    fn just_rolled() -> Self {
        let mut singles = 20;
        loop {
            let left = Self::after(singles, 2);
            if left.segment(left.safe.position) < left.segment(left.end.position) {
                return left;
            }
            singles += 1;
        }
    }

    fn segment(&self, position: u64) -> u64 {
        self.layout.segment_of(position)
    }

    fn bytes(&self, segment: u64) -> Vec<u8> {
        std::fs::read(self.layout.path(segment)).unwrap()
    }

    fn offset(&self, position: u64) -> usize {
        usize::try_from(self.layout.offset_of(position)).unwrap()
    }

    /// The bytes that were written last, in their segment.
    fn last_append(&self) -> Range<usize> {
        let rolled = self.segment(self.safe.position) < self.segment(self.end.position);
        let start = if rolled {
            0
        } else {
            self.offset(self.safe.position)
        };
        start..self.offset(self.end.position)
    }

    /// The bytes of its segment that a record takes, without the gap after it.
    fn range(&self, frame: &Frame) -> Range<usize> {
        let start = self.offset(frame.position);
        start..start + record::HEADER_BYTES + frame.payload.len()
    }

    /// Recovers with a segment's bytes replaced, and puts everything back.
    fn recover_with(&self, segment: u64, bytes: &[u8]) -> Result<Tail, StoreError> {
        let kept: Vec<(u64, Vec<u8>)> = (0..=self.segment(self.end.position))
            .map(|number| (number, self.bytes(number)))
            .collect();
        std::fs::write(self.layout.path(segment), bytes).unwrap();
        let recovered = recover(&reader(&self.layout), None).map(|tail| {
            let tail = tail.unwrap();
            self.assert_nothing_behind(tail);
            let whole = &self.frames[..read_all(&self.layout, tail.position).len()];
            let last = whole.last().unwrap();
            assert_eq!(tail.last_position, last.position);
            assert_eq!(tail.next_sequence, last.header.sequence + 1);
            tail
        });
        for (number, bytes) in kept {
            std::fs::write(self.layout.path(number), bytes).unwrap();
        }
        recovered
    }

    fn assert_nothing_behind(&self, tail: Tail) {
        let last = self.segment(tail.position);
        assert_eq!(self.layout.list().unwrap().last(), Some(&last));
        let bytes = self.bytes(last);
        let behind = bytes.get(self.offset(tail.position)..).unwrap_or_default();
        assert!(behind.iter().all(|byte| *byte == 0), "the rest is not zero");
    }

    /// The last append damaged like this: nothing before it may be missing, nothing may be made up.
    fn assert_torn(&self, bytes: &[u8], how: &str) {
        let segment = self.segment(self.end.position);
        let tail = self.recover_with(segment, bytes);
        let tail = tail.unwrap_or_else(|error| panic!("{how}: {error}"));
        let kept = self.safe.position..=self.end.position;
        assert!(kept.contains(&tail.position), "{how}: {tail:?}");
    }

    fn assert_damage_at(&self, position: u64, segment: u64, bytes: &[u8], how: &str) {
        match self.recover_with(segment, bytes) {
            Err(StoreError::Damaged { path, offset, .. }) => assert_eq!(
                (path, offset),
                (self.layout.path(segment), self.layout.offset_of(position)),
                "{how}"
            ),
            other => panic!("{how} at {position} passed for {other:?}"),
        }
    }
}

#[test]
fn what_was_appended_is_read_back_in_both_directions_across_segments() {
    let dir = scratch();
    let layout = layout(&dir);
    Writer::create(&layout, 0).unwrap();
    let (mut writer, _) = open(&layout);
    let mut positions = Vec::new();
    for n in (0..120).step_by(3) {
        let written = append(&mut writer, n..n + 3);
        positions.extend(written.iter().map(|record| record.position));
        assert_eq!(written.last().unwrap().next, writer.end());
    }
    let frames = read_all(&layout, writer.end());
    assert_eq!(payloads(&frames), expected(0..120));
    assert!(layout.segment_of(writer.end()) > 4, "too few segments");
    let own: Vec<&Frame> = frames.iter().filter(|it| it.header.kind == 1).collect();
    assert_eq!(
        own.iter().map(|it| it.position).collect::<Vec<_>>(),
        positions
    );
    for number in 1..=layout.segment_of(writer.end()) {
        let first = reader(&layout).read(layout.first_position(number)).unwrap();
        assert_eq!(first.header.kind, 9, "segment {number} has no head");
    }

    let mut backwards = Vec::new();
    let mut at = frames.last().map(|frame| frame.position);
    while let Some(position) = at {
        let frame = reader(&layout).read(position).unwrap();
        at = frame.previous;
        backwards.push(frame.position);
    }
    backwards.reverse();
    let forwards: Vec<u64> = frames.iter().map(|frame| frame.position).collect();
    assert_eq!(backwards, forwards);
}

#[test]
fn a_reopened_journal_goes_on_with_sequence_and_chain() {
    let dir = scratch();
    let layout = layout(&dir);
    Writer::create(&layout, 0).unwrap();
    for n in 0..40 {
        let (mut writer, _) = open(&layout);
        append(&mut writer, n..n + 1);
    }
    let (writer, tail) = open(&layout);
    let frames = read_all(&layout, writer.end());
    assert_eq!(payloads(&frames), expected(0..40));
    for (at, pair) in frames.windows(2).enumerate() {
        assert_eq!(pair[1].header.sequence, at as u64 + 1);
        assert_eq!(pair[1].header.previous_crc, pair[0].header.crc);
        assert_eq!(pair[1].previous, Some(pair[0].position));
    }
    for frame in &frames {
        let from = recover(&reader(&layout), Some(frame.position)).unwrap();
        assert_eq!(from, Some(tail), "read from {} on", frame.position);
    }
}

#[test]
fn an_empty_journal_and_none_at_all_are_told_apart() {
    let dir = scratch();
    let layout = layout(&dir);
    assert_eq!(recover(&reader(&layout), None).unwrap(), None);
    Writer::create(&layout, 0).unwrap();
    let tail = recover(&reader(&layout), None).unwrap().unwrap();
    assert_eq!((tail.position, tail.next_sequence), (64, 0));
}

#[test]
fn files_of_another_store_size_place_or_release_are_refused() {
    let left = Left::after(5, 1);
    let recovered = |layout: &Layout| recover(&Reader::new(layout.clone()), None);

    let mut other = left.layout.clone();
    other.store_id = [8; 16];
    let error = recovered(&other).unwrap_err();
    assert!(
        matches!(error, StoreError::Foreign { what, .. } if what.contains("another store")),
        "{error}"
    );

    let mut other = left.layout.clone();
    other.segment_bytes *= 2;
    let error = recovered(&other).unwrap_err();
    assert!(
        matches!(error, StoreError::Foreign { what, .. } if what.contains("size")),
        "{error}"
    );

    let (first, second) = (left.layout.path(0), left.layout.path(1));
    std::fs::copy(&first, second).unwrap();
    let error = recovered(&left.layout).unwrap_err();
    assert!(
        matches!(error, StoreError::Foreign { what, .. } if what.contains("number")),
        "{error}"
    );
}

#[test]
fn a_segment_and_a_record_of_a_newer_format_ask_for_the_newer_release() {
    let left = Left::after(5, 1);
    let mut bytes = left.bytes(0);
    bytes[8..12].copy_from_slice(&(segment::VERSION + 1).to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..segment::HEADER_BYTES]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let error = left.recover_with(0, &bytes).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 2, .. }),
        "{error}"
    );

    let mut bytes = left.bytes(0);
    let frame = &left.frames[2];
    let mut newer = Vec::new();
    let version = record::VERSION + 1;
    let header = record::Header {
        version,
        ..frame.header
    };
    header.append(&frame.payload, &mut newer);
    let start = left.offset(frame.position);
    bytes[start..start + newer.len()].copy_from_slice(&newer);
    let error = left.recover_with(0, &bytes).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found, .. } if found == u32::from(version)),
        "{error}"
    );
}
