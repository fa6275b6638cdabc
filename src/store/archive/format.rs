//! The bytes of an archive: its header, its chunks, its trailer. See [`super`] for the layout.

use super::error::ArchiveError;
use super::read::Totals;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;
/// Bytes before a chunk's own.
pub const CHUNK_HEADER_BYTES: usize = 16;
/// The most bytes of one chunk that are read. Larger than any that is written, so that later releases
/// may write larger ones.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 56;
/// The position of the trailer.
pub const TRAILER: u64 = u64::MAX;
/// The position of the chunk that says why there is no trailer.
pub const UNFINISHED: u64 = u64::MAX - 1;
/// The format that this release writes.
pub const VERSION: u32 = 1;
/// The smallest and the largest segment that a store could have.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (4 << 10)..=(4 << 30);
/// No journal gets there, and sums of positions below it do not overflow.
const MAX_POSITION: u64 = u64::MAX / 2;
const MAGIC: &[u8; 8] = b"PSTRBKUP";

/// What an archive says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The store that it was made of.
    pub store_id: [u8; 16],
    /// When it was made, in milliseconds of Unix time.
    pub made_at_ms: u64,
    /// The position where its journal starts.
    pub start: u64,
    /// The position where its journal ends.
    pub end: u64,
    /// The size of the journal's segments.
    pub segment_bytes: u64,
    /// The id of the key that the store's secrets are sealed with, if they are.
    pub secrets_key: Option<[u8; 32]>,
}

impl Header {
    /// Its bytes.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store_id);
        bytes[32..40].copy_from_slice(&self.made_at_ms.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.start.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.end.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.secrets_key.unwrap_or_default());
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ArchiveError> {
        let damaged = |what| ArchiveError::Damaged { offset: 0, what };
        if &bytes[0..8] != MAGIC {
            return Err(ArchiveError::Foreign);
        }
        let mut unsummed = *bytes;
        unsummed[12..16].fill(0);
        if crc32c::crc32c(&unsummed) != u32_at(bytes, 12) {
            return Err(damaged("the header's checksum is wrong"));
        }
        let (found, known) = (u32_at(bytes, 8), VERSION);
        if found > known {
            return Err(ArchiveError::Newer { found, known });
        }
        let key: [u8; 32] = std::array::from_fn(|at| bytes[64 + at]);
        let header = Self {
            store_id: std::array::from_fn(|at| bytes[16 + at]),
            made_at_ms: u64_at(bytes, 32),
            start: u64_at(bytes, 40),
            end: u64_at(bytes, 48),
            segment_bytes: u64_at(bytes, 56),
            secrets_key: (key != [0; 32]).then_some(key),
        };
        let sound = SEGMENT_BYTES.contains(&header.segment_bytes)
            && header.segment_bytes.is_multiple_of(8)
            && header.start <= header.end
            && header.end <= MAX_POSITION;
        if sound {
            Ok(header)
        } else {
            Err(damaged("the header contradicts itself"))
        }
    }
}

/// Whether the first bytes of something could be an archive's.
pub fn starts_like_one(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MAGIC.len());
    known > 0 && bytes[..known] == MAGIC[..known]
}

/// What stands before a chunk's bytes.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHeader {
    /// How many bytes follow.
    pub length: usize,
    /// Where they stand in the journal.
    pub position: u64,
    crc: u32,
}

impl ChunkHeader {
    /// Reads it.
    pub fn read(bytes: &[u8; CHUNK_HEADER_BYTES]) -> Self {
        Self {
            length: usize::try_from(u32_at(bytes, 0)).unwrap_or(usize::MAX),
            crc: u32_at(bytes, 4),
            position: u64_at(bytes, 8),
        }
    }

    /// Whether these are the bytes that were written.
    pub fn verify(&self, data: &[u8]) -> bool {
        self.length == data.len() && self.crc == checksum(self.position, data)
    }
}

/// A chunk, whole.
pub fn chunk(position: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK_HEADER_BYTES + data.len());
    // Chunks are far shorter than that.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(position, data).to_le_bytes());
    bytes.extend_from_slice(&position.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn checksum(position: u64, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), data)
}

/// The trailer, whole.
pub fn trailer(totals: Totals, digest: [u8; 32]) -> Vec<u8> {
    let mut data = Vec::with_capacity(TRAILER_BYTES);
    for total in [totals.chunks, totals.bytes, totals.records] {
        data.extend_from_slice(&total.to_le_bytes());
    }
    data.extend_from_slice(&digest);
    chunk(TRAILER, &data)
}

/// Reads what a trailer says.
pub fn read_trailer(data: &[u8]) -> Option<(Totals, [u8; 32])> {
    let data: &[u8; TRAILER_BYTES] = data.try_into().ok()?;
    let totals = Totals {
        chunks: u64_at(data, 0),
        bytes: u64_at(data, 8),
        records: u64_at(data, 16),
    };
    Some((totals, std::array::from_fn(|at| data[24 + at])))
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}
