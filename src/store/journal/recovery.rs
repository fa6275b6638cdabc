//! Opening a journal that another process left behind: finding its end, and making that end safe.
//!
//! Reads every record from a known position to the end, checks the chain, and tells a torn tail from
//! damage. A torn tail is what a power cut leaves of a write that nobody was answered for; it is cut
//! off. Damage is anything else, and an error. Before anyone acts on what was read, the bytes after
//! the last whole record are zeroed and file and directory are synced: until then the end of the
//! journal may exist only in the page cache, and might vanish with the next power cut.

use super::reader::{Found, Frame, Reader};
use super::record::{Header, NO_PREVIOUS, VERSION};
use super::segment::{HEADER_BYTES as SEGMENT_HEADER_BYTES, Layout};
use crate::store::disk::{Access, DiskFile};
use crate::store::error::StoreError;

/// What is read of a file at a time.
const CHUNK_BYTES: usize = 1 << 20;
const MISSING: &str = "records are missing";
const HEADLESS: &str = "the header of a segment in use is missing";
const UNCHAINED: &str = "a record does not follow the one before";

/// The end of the journal: where the next record goes and what it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Where the next record goes.
    pub position: u64,
    /// Its number.
    pub next_sequence: u64,
    /// The checksum of the last record.
    pub last_crc: u32,
    /// The position of the last record, or [`NO_PREVIOUS`].
    pub last_position: u64,
}

/// Finds the end of the journal and makes it safe to act on. Records are read from the start of the
/// segment that holds `from` (of the first one, if there is none such). What stands before `from` is
/// known to have been synced: if it is not there, that is damage. `None` when no segment was ever used.
pub fn recover(reader: &Reader, from: Option<u64>) -> Result<Option<Tail>, StoreError> {
    let numbers = reader.layout().list()?;
    let Some((tail, synced_to)) = find(reader, &numbers, from)? else {
        return Ok(None);
    };
    make_safe(reader.layout(), synced_to, tail.position)?;
    Ok(Some(tail))
}

/// Finds the end of the journal like [`recover`], and changes nothing. Nobody may act on what is read
/// but to copy it or to tell of it.
pub fn find_end(reader: &Reader, from: Option<u64>) -> Result<Option<Tail>, StoreError> {
    let found = find(reader, &reader.layout().list()?, from)?;
    Ok(found.map(|(tail, _)| tail))
}

/// The end of the journal, and the highest position that is known to be synced.
fn find(
    reader: &Reader,
    numbers: &[u64],
    from: Option<u64>,
) -> Result<Option<(Tail, u64)>, StoreError> {
    let layout = reader.layout();
    let Some(used) = used_segments(layout, numbers)? else {
        return Ok(None);
    };
    refuse_lost_headers(reader, numbers, &used)?;
    let first = from
        .map(|from| layout.segment_of(from))
        .filter(|number| (used.first..=used.last).contains(number))
        .unwrap_or(used.first);
    let mut scan = Scan::new(reader, used.last, from.unwrap_or(0));
    scan.run(layout.first_position(first))?;
    Ok(Some((scan.tail, scan.synced_to)))
}

struct Used {
    first: u64,
    last: u64,
}

/// The segments that carry a header. A gap between them is damage.
fn used_segments(layout: &Layout, numbers: &[u64]) -> Result<Option<Used>, StoreError> {
    let mut used: Option<Used> = None;
    for &number in numbers {
        let file = layout.open(number, Access::Read)?;
        if !layout.check_header(number, &*file)? {
            continue;
        }
        match &mut used {
            None => {
                used = Some(Used {
                    first: number,
                    last: number,
                });
            }
            Some(used) if used.last + 1 == number => used.last = number,
            Some(used) => {
                let lost = used.last + 1;
                let what = if numbers.contains(&lost) {
                    HEADLESS
                } else {
                    "the segment is missing"
                };
                return Err(StoreError::Damaged {
                    path: layout.path(lost),
                    offset: 0,
                    what,
                });
            }
        }
    }
    Ok(used)
}

/// A segment without a header is merely prepared, or its first write was torn, so that it stands after
/// all others and holds nothing that was synced. Anything else is damage.
fn refuse_lost_headers(reader: &Reader, numbers: &[u64], used: &Used) -> Result<(), StoreError> {
    let layout = reader.layout();
    for &number in numbers {
        let lost = number < used.first
            || number > used.last && counted_on(reader, layout.position(number, 0), number)?;
        if lost {
            return Err(StoreError::Damaged {
                path: layout.path(number),
                offset: 0,
                what: HEADLESS,
            });
        }
    }
    Ok(())
}

struct Scan<'a> {
    reader: &'a Reader,
    last_segment: u64,
    tail: Tail,
    /// The highest position that is known, or stated by any record read so far, to be synced.
    synced_to: u64,
    chained: bool,
}

impl<'a> Scan<'a> {
    fn new(reader: &'a Reader, last_segment: u64, synced_to: u64) -> Self {
        let tail = Tail {
            position: 0,
            next_sequence: 0,
            last_crc: 0,
            last_position: NO_PREVIOUS,
        };
        Self {
            reader,
            last_segment,
            tail,
            synced_to,
            chained: false,
        }
    }

    fn run(&mut self, start: u64) -> Result<(), StoreError> {
        let layout = self.reader.layout();
        self.tail.position = start;
        loop {
            let here = self.tail.position;
            let number = layout.segment_of(here);
            match self.reader.find(here)? {
                Found::Record(frame) if self.follows(&frame) => self.take(&frame),
                Found::Record(_) => return self.end_or_damage(here, UNCHAINED),
                Found::Bad(what) => return self.end_or_damage(here, what),
                // The first record of a segment that is followed by others can't be missing.
                Found::Nothing if number < self.last_segment && self.chained => {
                    let next = layout.first_position(number + 1);
                    match self.reader.find(next)? {
                        Found::Record(frame) if self.follows(&frame) => self.take(&frame),
                        Found::Record(_) => return self.end_or_damage(here, MISSING),
                        Found::Bad(what) => return self.end_or_damage(next, what),
                        Found::Nothing => return self.end_or_damage(next, MISSING),
                    }
                }
                Found::Nothing => return self.end_or_damage(here, MISSING),
            }
        }
    }

    fn follows(&self, frame: &Frame) -> bool {
        // The first record that is read has nothing to be compared with but its place.
        !self.chained
            || (frame.header.sequence == self.tail.next_sequence
                && frame.header.previous_crc == self.tail.last_crc
                && frame.header.previous == self.tail.last_position)
    }

    fn take(&mut self, frame: &Frame) {
        self.chained = true;
        self.synced_to = self.synced_to.max(frame.header.synced_to);
        self.tail = Tail {
            position: frame.next,
            next_sequence: frame.header.sequence + 1,
            last_crc: frame.header.crc,
            last_position: frame.position,
        };
    }

    /// Nothing whole follows in line: a torn tail, unless any record states that more was already
    /// synced. The damage, if it is that, is at `bad`.
    fn end_or_damage(&self, bad: u64, what: &'static str) -> Result<(), StoreError> {
        let layout = self.reader.layout();
        let here = self.tail.position;
        if here < self.synced_to || self.a_later_record_counts_on(here)? {
            let path = layout.path(layout.segment_of(bad));
            return Err(StoreError::Damaged {
                path,
                offset: layout.offset_of(bad),
                what,
            });
        }
        Ok(())
    }

    /// Whether any whole record in the rest of the journal was written when `here` was already synced.
    fn a_later_record_counts_on(&self, here: u64) -> Result<bool, StoreError> {
        let first = self.reader.layout().segment_of(here);
        for number in first..=self.last_segment {
            if counted_on(self.reader, here, number)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a segment holds, from `here` on, a whole record that was written when `here` was already
/// synced. Lengths can't be trusted past a bad record, so every multiple of eight is tried.
pub fn counted_on(reader: &Reader, here: u64, number: u64) -> Result<bool, StoreError> {
    let layout = reader.layout();
    let path = layout.path(number);
    let file = layout.open(number, Access::Read)?;
    let states_it = |header: Header, position| {
        header.version <= VERSION && header.synced_to > here && header.synced_to <= position
    };
    let mut candidates = Vec::new();
    let first = layout.offset_of(here.max(layout.first_position(number)));
    written_chunks(&*file, first.next_multiple_of(8), |offset, bytes| {
        // A header may reach into the next chunk: whatever is not zero there is tried.
        for at in (0..bytes.len()).step_by(8) {
            let position = layout.position(number, offset + at as u64);
            let likely = match bytes[at..].first_chunk() {
                Some(head) => Header::read(head).is_some_and(|header| states_it(header, position)),
                None => true,
            };
            candidates.extend(likely.then_some(position));
        }
        Ok(())
    })
    .map_err(StoreError::io("read", &path))?;
    for position in candidates {
        if let Found::Record(frame) = reader.find(position)?
            && states_it(frame.header, position)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a file from an offset to its end, and passes on the chunks that are not all zeros.
fn written_chunks(
    file: &dyn DiskFile,
    mut offset: u64,
    mut each: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read_up_to(&mut buffer, offset)?;
        if read == 0 {
            return Ok(());
        }
        if buffer[..read] != zeros[..read] {
            each(offset, &buffer[..read])?;
        }
        offset += read as u64;
    }
}

/// Zeroes what follows the last whole record, removes segments after it, and syncs the lot.
fn make_safe(layout: &Layout, synced_to: u64, end: u64) -> Result<(), StoreError> {
    let last = layout.segment_of(end);
    for number in layout.list()?.into_iter().filter(|number| *number > last) {
        let path = layout.path(number);
        let removed = layout.disk.remove(&path);
        removed.map_err(StoreError::io("remove", &path))?;
    }
    let path = layout.path(last);
    let file = layout.open(last, Access::Write)?;
    let start = layout.offset_of(end).max(SEGMENT_HEADER_BYTES as u64);
    written_chunks(&*file, start, |offset, bytes| {
        file.write_all_at(&vec![0; bytes.len()], offset)
    })
    .map_err(StoreError::io("clear the end of", &path))?;
    write_again(layout, &*file, synced_to, end).map_err(StoreError::io("write to", &path))?;
    file.sync_all().map_err(StoreError::io("sync", &path))?;
    layout.sync_dir()
}

/// Writes the last records once more, those that no other one states as synced. If their own sync
/// failed, the system may show them and yet take them for clean: a sync alone would not save them.
fn write_again(
    layout: &Layout,
    file: &dyn DiskFile,
    synced_to: u64,
    end: u64,
) -> std::io::Result<()> {
    let start = synced_to.max(layout.position(layout.segment_of(end), 0));
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let offset = layout.offset_of(start);
    let read = file.read_up_to(&mut bytes, offset)?;
    file.write_all_at(&bytes[..read], offset)
}
