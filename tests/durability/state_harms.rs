//! What happens to sled's folder between two starts, if there is one by then.

use std::fs;
use std::path::Path;

/// Something that is done to the folder of a store that is closed.
pub type Harmed = fn(&Path);

/// Each of them, with its name.
pub const ALL: [(&str, Harmed); 3] = [
    ("deleted", delete),
    ("emptied", empty),
    ("scrambled", scramble),
];

fn delete(store: &Path) {
    let _ = fs::remove_dir_all(store.join("state"));
}

fn empty(store: &Path) {
    if store.join("state").exists() {
        delete(store);
        fs::create_dir(store.join("state")).unwrap();
    }
}

/// Every file is as long as before, up to a bound, and full of something else.
pub fn scramble(store: &Path) {
    let Ok(files) = fs::read_dir(store.join("state")) else {
        return;
    };
    for file in files {
        let path = file.unwrap().path();
        if path.is_file() {
            let length = fs::metadata(&path).unwrap().len().min(1 << 17);
            let length = usize::try_from(length).unwrap();
            let bytes: Vec<u8> = (0..length)
                .map(|n| (n * n % 251).to_le_bytes()[0])
                .collect();
            fs::write(&path, bytes).unwrap();
        }
    }
}
