//! What lies in a directory.

use std::path::{Path, PathBuf};

/// All files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What is in a file, without the blocks of zeros that it is allocated ahead with.
pub fn contents(path: &PathBuf) -> Vec<u8> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let bytes = std::fs::read(path).unwrap();
    let blocks = bytes.chunks(ZEROS.len());
    let used: Vec<_> = blocks
        .filter(|block| *block != &ZEROS[..block.len()])
        .collect();
    used.concat()
}

/// Which file of a directory holds these bytes.
pub fn found(dir: &Path, needle: &[u8]) -> Option<PathBuf> {
    let holds = |path: &PathBuf| {
        let contents = contents(path);
        contents
            .windows(needle.len())
            .any(|window| window == needle)
    };
    files(dir).into_iter().find(holds)
}
