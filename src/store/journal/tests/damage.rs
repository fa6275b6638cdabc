//! A torn tail is cut off, damage is named, and nothing that was synced is skipped in silence.

use super::*;

const SECTOR_BYTES: usize = 512;

/// The same bytes with a part of them zeroed, and with that part garbled.
fn spoilt(bytes: &[u8], part: Range<usize>) -> [(Vec<u8>, &'static str); 2] {
    let (mut zeroed, mut garbled) = (bytes.to_vec(), bytes.to_vec());
    zeroed[part.clone()].fill(0);
    for (at, byte) in garbled[part].iter_mut().enumerate() {
        *byte ^= u8::try_from(1 + at * 31 % 255).unwrap();
    }
    [(zeroed, "zeroed"), (garbled, "garbled")]
}

#[test]
fn wherever_the_last_append_was_cut_off_all_before_it_stays() {
    for left in [Left::after(25, 3), Left::just_rolled()] {
        let segment = left.segment(left.end.position);
        let bytes = left.bytes(segment);
        for cut in left.last_append() {
            left.assert_torn(&bytes[..cut], &format!("file ends at {cut}"));
            let mut blank = bytes.clone();
            blank[cut..].fill(0);
            left.assert_torn(&blank, &format!("zeros from {cut} on"));
        }
    }
}

#[test]
fn whichever_sectors_of_the_last_append_are_missing_all_before_it_stays() {
    for left in [Left::after(25, 30), Left::just_rolled()] {
        let segment = left.segment(left.end.position);
        let bytes = left.bytes(segment);
        let last = left.last_append();
        for first in (0..last.end).step_by(SECTOR_BYTES) {
            // A sector is written whole or not at all: what stood in it before is still there.
            let part = first.max(last.start)..(first + SECTOR_BYTES).min(last.end);
            if part.is_empty() {
                continue;
            }
            for (bytes, how) in spoilt(&bytes, part.clone()) {
                left.assert_torn(&bytes, &format!("{part:?} {how}"));
            }
        }
    }
}

#[test]
fn a_torn_tail_is_written_over_and_the_journal_goes_on() {
    for make in [|| Left::after(25, 3), Left::just_rolled] {
        for kept in [0, 30, 64, 100, 150] {
            let left = make();
            let segment = left.segment(left.end.position);
            let mut bytes = left.bytes(segment);
            bytes[left.last_append().start + kept..].fill(0);
            std::fs::write(left.layout.path(segment), bytes).unwrap();
            let (mut writer, tail) = open(&left.layout);
            let kept = payloads(&read_all(&left.layout, tail.position));
            for n in 100..130 {
                append(&mut writer, n..n + 1);
            }
            drop(writer);
            let (writer, _) = open(&left.layout);
            let all = payloads(&read_all(&left.layout, writer.end()));
            assert_eq!(all, [kept, expected(100..130)].concat());
            for number in 1..=left.layout.segment_of(writer.end()) {
                let first = left.layout.first_position(number);
                let first = reader(&left.layout).read(first).unwrap();
                assert_eq!(first.header.kind, 9, "segment {number} has no head");
            }
        }
    }
}

#[test]
fn damage_before_the_last_append_is_named_and_never_skipped() {
    for left in [Left::after(40, 2), Left::just_rolled()] {
        let synced = left.frames.iter();
        for frame in synced.take_while(|frame| frame.position < left.safe.position) {
            let segment = left.segment(frame.position);
            let bytes = left.bytes(segment);
            let range = left.range(frame);
            let head = range.start..range.start + record::HEADER_BYTES;
            for part in [
                range.clone(),
                head,
                range.end - 1..range.end,
                range.start..bytes.len(),
            ] {
                // Zeroing the whole rest of the last segment would take the last append with it.
                if part.end == bytes.len() && segment == left.segment(left.end.position) {
                    continue;
                }
                for (bytes, how) in spoilt(&bytes, part.clone()) {
                    left.assert_damage_at(frame.position, segment, &bytes, how);
                }
            }
            if segment < left.segment(left.end.position) {
                let cut = &bytes[..range.end - 1];
                left.assert_damage_at(frame.position, segment, cut, "cut off");
            }
        }
    }
}

#[test]
fn a_bad_sector_before_the_last_append_is_named_by_its_first_record() {
    let left = Left::after(40, 2);
    for segment in 0..=left.segment(left.safe.position) {
        let bytes = left.bytes(segment);
        let frames = left.frames.iter();
        let frames: Vec<&Frame> = frames
            .filter(|frame| left.segment(frame.position) == segment)
            .filter(|frame| frame.position < left.safe.position)
            .collect();
        let end = left.range(frames.last().unwrap()).end;
        for first in (SECTOR_BYTES..end).step_by(SECTOR_BYTES) {
            let part = first..(first + SECTOR_BYTES).min(end);
            let hit = frames.iter().find(|frame| left.range(frame).end > first);
            let position = hit.unwrap().position;
            for (bytes, how) in spoilt(&bytes, part.clone()) {
                left.assert_damage_at(position, segment, &bytes, &format!("{part:?} {how}"));
            }
        }
    }
}

#[test]
fn a_segment_in_use_whose_header_is_bad_is_damage() {
    let left = Left::after(60, 2);
    assert!(left.segment(left.safe.position) > 1);
    for segment in 0..=left.segment(left.end.position) {
        let header = 0..segment::HEADER_BYTES;
        for (bytes, how) in spoilt(&left.bytes(segment), header) {
            left.assert_damage_at(left.layout.position(segment, 0), segment, &bytes, how);
        }
    }
}

#[test]
fn a_missing_segment_is_damage() {
    let left = Left::after(60, 2);
    let path = left.layout.path(1);
    std::fs::remove_file(&path).unwrap();
    let Err(StoreError::Damaged { path: named, .. }) = recover(&reader(&left.layout), None) else {
        panic!("a gap was skipped");
    };
    assert_eq!(named, path);
}

#[test]
fn a_segment_that_was_only_prepared_changes_nothing() {
    let left = Left::after(25, 1);
    let next = left.segment(left.end.position) + 1;
    left.layout.prepare(next).unwrap();
    let (_, tail) = open(&left.layout);
    assert_eq!(tail, left.end);
}
