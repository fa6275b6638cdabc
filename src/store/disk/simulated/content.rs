//! The bytes of a simulated file: those that are seen, and those that a power cut may bring back.

use std::collections::BTreeMap;

use crate::store::fixtures::Random;

/// What a cache writes at a time.
pub const PAGE_BYTES: usize = 4096;
/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

type Page = Box<[u8; PAGE_BYTES]>;

/// How a power cut goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing that was not synced stays.
    All,
    /// Everything stays.
    Nothing,
    /// Each page, and each name, by the toss of a coin.
    Pages,
    /// Each sector of each page.
    Sectors,
}

impl Tear {
    /// One of them.
    pub fn any(random: &mut Random) -> Self {
        match random.below(5) {
            0 => Self::All,
            1 => Self::Nothing,
            2 | 3 => Self::Pages,
            _ => Self::Sectors,
        }
    }

    /// Whether it takes something that is there or not there as a whole.
    pub fn takes(self, random: &mut Random) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Pages | Self::Sectors => random.chance(50),
        }
    }
}

/// See the module. What was never written reads as zeros.
#[derive(Debug, Default)]
pub struct Content {
    pages: BTreeMap<u64, Page>,
    size_bytes: u64,
    /// The end of what was written, which may be before the end of the file.
    written_bytes: u64,
    lasting_bytes: u64,
    /// Pages that were written since the last sync, as they were at it.
    unsynced: BTreeMap<u64, Page>,
    /// Those that a failed sync left behind: no later one looks at them unless they are written again.
    forgotten: BTreeMap<u64, Page>,
}

impl Content {
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.size_bytes.saturating_sub(offset);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        for (page, inside, part) in parts(offset, length) {
            match self.pages.get(&page) {
                Some(page) => buffer[part.clone()].copy_from_slice(&page[inside..][..part.len()]),
                None => buffer[part].fill(0),
            }
        }
        length
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) {
        for (number, inside, part) in parts(offset, bytes.len()) {
            let page = self.pages.entry(number).or_insert_with(blank);
            let before = || {
                self.forgotten
                    .remove(&number)
                    .unwrap_or_else(|| page.clone())
            };
            self.unsynced.entry(number).or_insert_with(before);
            page[inside..][..part.len()].copy_from_slice(&bytes[part]);
        }
        self.written_bytes = self.written_bytes.max(offset + bytes.len() as u64);
        self.size_bytes = self.size_bytes.max(self.written_bytes);
    }

    pub fn allocate(&mut self, bytes: u64) {
        self.size_bytes = self.size_bytes.max(bytes);
    }

    /// Lasts at once: whoever cuts down what must still be there is found out.
    pub fn shrink(&mut self, bytes: u64) {
        let pages = bytes.div_ceil(PAGE_BYTES as u64);
        self.pages.retain(|number, _| *number < pages);
        self.unsynced.retain(|number, _| *number < pages);
        self.forgotten.retain(|number, _| *number < pages);
        for size_bytes in [
            &mut self.size_bytes,
            &mut self.written_bytes,
            &mut self.lasting_bytes,
        ] {
            *size_bytes = bytes.min(*size_bytes);
        }
    }

    pub fn sync_data(&mut self) {
        self.unsynced.clear();
        self.lasting_bytes = self.lasting_bytes.max(self.written_bytes);
    }

    pub fn sync_all(&mut self) {
        self.unsynced.clear();
        self.lasting_bytes = self.size_bytes;
    }

    pub fn fail_sync(&mut self) {
        self.forgotten.append(&mut self.unsynced);
    }

    pub fn power_cut(&mut self, tear: Tear, random: &mut Random) {
        self.forgotten.append(&mut self.unsynced);
        for (number, before) in std::mem::take(&mut self.forgotten) {
            let Some(page) = self.pages.get_mut(&number) else {
                continue;
            };
            if tear == Tear::Sectors {
                let sectors = page.chunks_mut(SECTOR_BYTES);
                for (now, before) in sectors.zip(before.chunks(SECTOR_BYTES)) {
                    if random.chance(50) {
                        now.copy_from_slice(before);
                    }
                }
            } else if tear.takes(random) {
                *page = before;
            }
        }
        if tear.takes(random) {
            // Anything between the two lengths may be what was noted last.
            let unsure = self.size_bytes - self.lasting_bytes;
            let kept = [0, random.below(unsure + 1)][usize::from(random.chance(30))];
            self.cut_to(self.lasting_bytes + kept);
        }
        self.lasting_bytes = self.size_bytes;
    }

    /// What is cut off does not come back when the file grows again.
    fn cut_to(&mut self, size_bytes: u64) {
        self.size_bytes = size_bytes;
        self.written_bytes = self.written_bytes.min(size_bytes);
        let page_bytes = PAGE_BYTES as u64;
        self.pages
            .retain(|number, _| number * page_bytes < size_bytes);
        let inside = usize::try_from(size_bytes % page_bytes).unwrap_or(0);
        if inside > 0
            && let Some(last) = self.pages.get_mut(&(size_bytes / page_bytes))
        {
            last[inside..].fill(0);
        }
    }
}

fn blank() -> Page {
    Box::new([0; PAGE_BYTES])
}

/// Cuts a range of bytes at the ends of pages: the page, where in it, and which of the bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let inside = usize::try_from(at % PAGE_BYTES as u64).unwrap_or(0);
        let start = done;
        done = length.min(start + PAGE_BYTES - inside);
        Some((at / PAGE_BYTES as u64, inside, start..done))
    })
}
