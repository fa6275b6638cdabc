//! What the headers of all segments say.

use std::fs::File;
use std::io::Read;

use crate::store::error::StoreError;
use crate::store::journal::Layout;
use crate::store::journal::segment::{HEADER_BYTES, Stated, VERSION};

/// A segment by its header.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It is in use.
    Used(Stated),
    /// It has no header: it was allocated ahead, or lost it.
    Headless,
    /// It is beyond what is looked at.
    Beyond,
    /// It is not one of this store, or not this one.
    Unusable(&'static str),
}

/// All of them.
pub struct Segments {
    /// In order, each with its number.
    pub all: Vec<(u64, Kind)>,
    /// The last one in use.
    pub last_used: u64,
}

impl Segments {
    /// Looks at all headers. Those that begin at `end` or later are not looked at.
    pub fn look(layout: &Layout, end: Option<u64>) -> Result<Self, StoreError> {
        let mut all = Vec::new();
        for number in layout.list()? {
            let is_beyond = end.is_some_and(|end| layout.first_position(number) >= end);
            let kind = if is_beyond {
                Kind::Beyond
            } else {
                kind_of(layout, number)?
            };
            all.push((number, kind));
        }
        let is_used =
            |(number, kind): &(u64, Kind)| matches!(kind, Kind::Used(_)).then_some(*number);
        let last_used = all.iter().rev().find_map(is_used).unwrap_or(0);
        Ok(Self { all, last_used })
    }
}

fn kind_of(layout: &Layout, number: u64) -> Result<Kind, StoreError> {
    let path = layout.path(number);
    let Some(stated) = read_header(layout, number)? else {
        return Ok(Kind::Headless);
    };
    if stated.version > VERSION {
        return Err(StoreError::Newer {
            path,
            offset: 0,
            found: stated.version,
            known: VERSION,
        });
    }
    Ok(if stated.store_id != layout.store_id {
        Kind::Unusable("it carries another store's id")
    } else if stated.number != number {
        Kind::Unusable("its name and its number differ")
    } else if stated.segment_bytes != layout.segment_bytes {
        Kind::Unusable("its segment size is another")
    } else {
        Kind::Used(stated)
    })
}

/// What a segment's header says, if it has a whole one.
pub fn read_header(layout: &Layout, number: u64) -> Result<Option<Stated>, StoreError> {
    let path = layout.path(number);
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    File::open(&path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut bytes))
        .map_err(StoreError::io("read", &path))?;
    Ok(bytes.first_chunk().and_then(Stated::read))
}
