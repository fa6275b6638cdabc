//! The frame of one record.
//!
//! ```text
//! offset  0  u32  payload length          offset 16  u64  sequence number
//!         4  u32  CRC32C of the rest             24  u64  synced up to (position)
//!         8  u8   format version                 32  u64  position of the previous record
//!         9  u8   kind                           40       payload
//!        12  u32  CRC of the previous record
//! ```
//! Little endian; records start at multiples of eight, the gap is zeros and belongs to no checksum.
//! A payload is never empty, so a length of zero says that nothing was written here yet.
//!
//! Formats 2 and 3 are format 1 with more kinds of payload. A release that does not know them must not
//! skip them, so it refuses the record.

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
/// The format that this release writes.
pub const VERSION: u8 = 5;
/// `previous` of the very first record.
pub const NO_PREVIOUS: u64 = u64::MAX;

/// The header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload.
    pub payload_bytes: u32,
    /// Checksum of header and payload.
    pub crc: u32,
    /// Format of the record.
    pub version: u8,
    /// What the payload is.
    pub kind: u8,
    /// Checksum of the record before, across segments.
    pub previous_crc: u32,
    /// Number of the record, without gaps.
    pub sequence: u64,
    /// The position up to which everything was known to be synced when this was written.
    pub synced_to: u64,
    /// Position of the record before, or [`NO_PREVIOUS`].
    pub previous: u64,
}

/// The bytes that a record with such a payload takes, the gap after it included.
pub fn framed_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(8)
}

impl Header {
    /// Reads a header. `None` where nothing was written yet.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Self {
            payload_bytes: u32_at(0),
            crc: u32_at(4),
            version: bytes[8],
            kind: bytes[9],
            previous_crc: u32_at(12),
            sequence: u64_at(16),
            synced_to: u64_at(24),
            previous: u64_at(32),
        };
        (header.payload_bytes != 0).then_some(header)
    }

    /// Appends the record to `out` and returns its checksum.
    pub fn append(mut self, payload: &[u8], out: &mut Vec<u8>) -> u32 {
        let mut bytes = self.write();
        self.crc = checksum(&bytes, payload);
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&bytes);
        out.extend_from_slice(payload);
        out.resize(out.len().next_multiple_of(8), 0);
        self.crc
    }

    fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8] = self.version;
        bytes[9] = self.kind;
        bytes[12..16].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_to.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.to_le_bytes());
        bytes
    }

    /// Whether header and payload are what was written.
    pub fn verify(&self, header: &[u8; HEADER_BYTES], payload: &[u8]) -> bool {
        self.payload_bytes as usize == payload.len() && self.crc == checksum(header, payload)
    }
}

/// CRC32C over everything but the checksum's own four bytes.
fn checksum(header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&header[0..4]);
    let crc = crc32c::crc32c_append(crc, &header[8..]);
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let header = Header {
            payload_bytes: 5,
            crc: 0,
            version: VERSION,
            kind: 3,
            previous_crc: 0xdead_beef,
            sequence: 1 << 40,
            synced_to: 4096,
            previous: NO_PREVIOUS,
        };
        let mut out = Vec::new();
        header.append(b"hello", &mut out);
        out
    }

    fn read(bytes: &[u8]) -> Option<(Header, bool)> {
        let head: &[u8; HEADER_BYTES] = bytes[..HEADER_BYTES].try_into().unwrap();
        let header = Header::read(head)?;
        let end = HEADER_BYTES + header.payload_bytes as usize;
        Some((
            header,
            bytes
                .get(HEADER_BYTES..end)
                .is_some_and(|payload| header.verify(head, payload)),
        ))
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let bytes = written();
        assert_eq!(bytes.len(), framed_bytes(5));
        let (header, whole) = read(&bytes).unwrap();
        assert!(whole);
        assert_eq!(
            (header.kind, header.sequence, header.synced_to),
            (3, 1 << 40, 4096)
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = written();
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                read(&bytes).is_none_or(|(_, whole)| !whole),
                "bit {bit} was not noticed"
            );
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(read(&[0; 64]).is_none());
    }
}
