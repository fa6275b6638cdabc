//! Reading an archive and checking every byte of it.
//!
//! Nothing that it says is believed before a checksum has confirmed it, and memory is bounded by one
//! chunk. That an archive is whole is known only at its end.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::error::ArchiveError;
use super::format::{
    self, CHUNK_HEADER_BYTES, ChunkHeader, HEADER_BYTES, Header, MAX_CHUNK_BYTES, TRAILER,
    UNFINISHED,
};

/// What an archive adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chunks of the journal.
    pub chunks: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
}

/// A part of the journal.
#[derive(Debug)]
pub struct Chunk {
    /// Where it stands.
    pub position: u64,
    /// Its bytes; all of them lie in one segment.
    pub data: Vec<u8>,
}

/// See the module.
pub struct ArchiveReader<R> {
    from: R,
    header: Header,
    digest: Sha256,
    /// How many bytes were read.
    offset: u64,
    /// Where the next chunk may start.
    position: u64,
    /// Counted, but for the records.
    totals: Totals,
    done: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header.
    pub fn open(mut from: R) -> Result<Self, ArchiveError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = fill(&mut from, &mut bytes)?;
        if read < HEADER_BYTES {
            return Err(if format::starts_like_one(&bytes[..read]) {
                ArchiveError::Cut { bytes: read as u64 }
            } else {
                ArchiveError::Foreign
            });
        }
        let header = Header::read(&bytes)?;
        let mut digest = Sha256::new();
        digest.update(bytes);
        Ok(Self {
            from,
            position: header.start / header.segment_bytes * header.segment_bytes,
            header,
            digest,
            offset: HEADER_BYTES as u64,
            totals: Totals::default(),
            done: false,
        })
    }

    /// What the archive says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes of the archive were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was read, all of it checked once [`Self::next_chunk`] gave `None`.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next part of the journal. `None` once the archive is known to be whole.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ArchiveError> {
        if self.done {
            return Ok(None);
        }
        let start = self.offset;
        let damaged = |what| ArchiveError::Damaged {
            offset: start,
            what,
        };
        let mut head = [0; CHUNK_HEADER_BYTES];
        self.fill(&mut head)?;
        let chunk = ChunkHeader::read(&head);
        if chunk.length > MAX_CHUNK_BYTES {
            return Err(damaged("a chunk's length is wrong"));
        }
        let mut data = vec![0; chunk.length];
        self.fill(&mut data)?;
        if !chunk.verify(&data) {
            return Err(damaged("a chunk's checksum is wrong"));
        }
        match chunk.position {
            TRAILER => self.end(&data, start).map(|()| None),
            UNFINISHED => {
                let reason = String::from_utf8_lossy(&data).into_owned();
                Err(ArchiveError::Unfinished(reason))
            }
            position => {
                self.digest.update(head);
                self.digest.update(&data);
                self.admit(position, &data).map_err(damaged)?;
                Ok(Some(Chunk { position, data }))
            }
        }
    }

    /// Chunks come in the order of the journal, and each lies in one segment.
    fn admit(&mut self, position: u64, data: &[u8]) -> Result<(), &'static str> {
        let length = data.len() as u64;
        let size = self.header.segment_bytes;
        let end = position
            .checked_add(length)
            .filter(|end| *end <= self.header.end);
        let end = end.ok_or("a chunk lies beyond the journal's end")?;
        if position < self.position || length == 0 || position / size != (end - 1) / size {
            return Err("a chunk is not where it belongs");
        }
        self.position = end;
        self.totals.chunks += 1;
        self.totals.bytes += length;
        Ok(())
    }

    fn end(&mut self, trailer: &[u8], offset: u64) -> Result<(), ArchiveError> {
        let damaged = |what| ArchiveError::Damaged { offset, what };
        let digest: [u8; 32] = std::mem::take(&mut self.digest).finalize().into();
        let said = format::read_trailer(trailer).ok_or_else(|| damaged("the trailer is wrong"))?;
        self.totals.records = said.0.records;
        if said != (self.totals, digest) {
            return Err(damaged("the whole is not what the trailer says"));
        }
        if fill(&mut self.from, &mut [0])? > 0 {
            return Err(ArchiveError::Damaged {
                offset: self.offset,
                what: "something follows the trailer",
            });
        }
        self.done = true;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let read = fill(&mut self.from, buffer)?;
        self.offset += read as u64;
        if read < buffer.len() {
            return Err(ArchiveError::Cut { bytes: self.offset });
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the source ends, and says how much that was.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Read(error)),
        }
    }
    Ok(read)
}

/// Copies an archive and checks all of it on the way. After an error, what was copied is worth nothing.
pub fn copy(from: impl Read, to: &mut impl Write) -> Result<(Header, Totals), ArchiveError> {
    let mut written = Ok(());
    let tee = Tee {
        from,
        to,
        written: &mut written,
    };
    let read = || {
        let mut archive = ArchiveReader::open(tee)?;
        while archive.next_chunk()?.is_some() {}
        Ok((*archive.header(), archive.totals()))
    };
    let copied = read();
    written.map_err(ArchiveError::Write)?;
    copied
}

/// Writes whatever is read through it.
struct Tee<'a, R, W> {
    from: R,
    to: &'a mut W,
    written: &'a mut io::Result<()>,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Err(error) = self.to.write_all(&buffer[..read]) {
            let ended = io::Error::from(error.kind());
            *self.written = Err(error);
            return Err(ended);
        }
        Ok(read)
    }
}
