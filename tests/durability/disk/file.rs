//! The bytes of one file: as they are read now, and as they were when they were last synced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Cut;
use crate::support::chance::Chance;

/// What a power cut takes or leaves as a whole.
pub const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];
/// Pages by number; one that is not there is all zeros.
type Pages = BTreeMap<u64, Arc<Page>>;

/// A length and the pages below it. Copies share what they have in common.
#[derive(Debug, Clone, Default)]
struct Content {
    bytes: u64,
    pages: Arc<Pages>,
}

impl Content {
    fn forget_beyond_the_end(&mut self) {
        let end = self.bytes;
        let pages = Arc::make_mut(&mut self.pages);
        pages.retain(|number, _| number * (PAGE_BYTES as u64) < end);
        if let Some(last) = pages.get_mut(&(end / PAGE_BYTES as u64)) {
            Arc::make_mut(last)[to_usize(end % PAGE_BYTES as u64)..].fill(0);
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct File {
    now: Content,
    synced: Content,
}

impl File {
    /// Its length as everybody sees it.
    pub fn bytes(&self) -> u64 {
        self.now.bytes
    }

    /// Reads until the length is filled or the file ends.
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = self.now.bytes.min(offset.saturating_add(length as u64));
        let mut out = vec![0; to_usize(end.saturating_sub(offset))];
        each_page(offset, out.len(), |number, in_page, in_buffer| {
            if let Some(page) = self.now.pages.get(&number) {
                out[in_buffer].copy_from_slice(&page[in_page]);
            }
        });
        out
    }

    /// The pages that were ever written, each with its offset and what of it is in the file.
    pub fn written(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.now.pages.iter().map(|(number, page)| {
            let offset = number * PAGE_BYTES as u64;
            let left = to_usize((self.now.bytes - offset).min(PAGE_BYTES as u64));
            (offset, &page[..left])
        })
    }

    /// Writes, and makes the file longer if it has to be.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let pages = Arc::make_mut(&mut self.now.pages);
        each_page(offset, bytes.len(), |number, in_page, in_buffer| {
            let page = pages
                .entry(number)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[in_page].copy_from_slice(&bytes[in_buffer]);
        });
        let end = offset + bytes.len() as u64;
        self.now.bytes = self.now.bytes.max(end);
    }

    /// Gives it another length; what is beyond it is gone, what is new is zeros.
    pub fn resize(&mut self, bytes: u64) {
        let shorter = bytes < self.now.bytes;
        self.now.bytes = bytes;
        if shorter {
            self.now.forget_beyond_the_end();
        }
    }

    /// What is there now survives.
    pub fn sync(&mut self) {
        self.synced = self.now.clone();
    }

    /// What a power cut leaves of it. Torn, every page that differs from its synced self is the new or
    /// the old one by the toss of a coin, and so is the length.
    pub fn cut(&mut self, how: Cut, chance: &mut Chance) {
        if how == Cut::Torn {
            self.synced = self.torn(chance);
        }
        self.now = self.synced.clone();
    }

    fn torn(&self, chance: &mut Chance) -> Content {
        let mut torn = self.synced.clone();
        if torn.bytes != self.now.bytes && chance.once_in(2) {
            torn.bytes = self.now.bytes;
        }
        if Arc::ptr_eq(&self.now.pages, &self.synced.pages) {
            return torn;
        }
        let both = self.now.pages.iter().chain(self.synced.pages.iter());
        let numbers: BTreeSet<u64> = both.map(|(number, _)| *number).collect();
        let pages = Arc::make_mut(&mut torn.pages);
        for number in numbers {
            let (new, old) = (self.now.pages.get(&number), self.synced.pages.get(&number));
            let same = match (new, old) {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old) || new == old,
                _ => false,
            };
            if same || chance.once_in(2) {
                continue;
            }
            match new {
                Some(new) => pages.insert(number, Arc::clone(new)),
                None => pages.remove(&number),
            };
        }
        torn.forget_beyond_the_end();
        torn
    }
}

/// Calls with a page's number, the range in it, and the range in the buffer, for all pages of a range.
fn each_page(
    offset: u64,
    length: usize,
    mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let in_page = to_usize(at % PAGE_BYTES as u64);
        let count = (PAGE_BYTES - in_page).min(length - done);
        each(
            at / PAGE_BYTES as u64,
            in_page..in_page + count,
            done..done + count,
        );
        done += count;
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("no file here is larger than memory")
}
