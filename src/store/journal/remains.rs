//! The space of a removed segment, given back a little at a time.
//!
//! To free 64 MiB at once takes ext4 10 to 15 ms where it discards what it frees, and every sync waits
//! for that. A removed segment has lost its name for good before it comes here, so that it can be cut
//! down piece by piece: should the process end or the power go, the file system frees the rest.

use std::path::PathBuf;
use std::sync::Arc;

use crate::store::disk::DiskFile;
use crate::store::error::StoreError;

/// How much is freed at a time: some 2 ms of the disk's time.
const PIECE_BYTES: u64 = 4 << 20;

/// A file without a name. Dropped, it gives back at once what is left of it.
#[derive(Debug)]
pub struct Remains {
    /// The name that it had, which will not come back after a power cut.
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Remains {
    /// Frees the next piece. `false` once there is none left.
    pub fn free_some(&self) -> Result<bool, StoreError> {
        let io = || StoreError::io("free the space of the removed", &self.path);
        let left_bytes = self.file.size_bytes().map_err(io())?;
        let left_bytes = left_bytes.saturating_sub(PIECE_BYTES);
        self.file.shrink(left_bytes).map_err(io())?;
        Ok(left_bytes > 0)
    }
}
