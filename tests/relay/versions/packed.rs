//! A store as small as it can be kept in a repository: without what every start makes anew, and
//! without the zeros at the end of files that are allocated ahead. `files.txt` has the sizes, and the
//! directories, which a repository would forget when they are empty.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;

/// What holds nothing.
const LEFT_OUT: [&str; 3] = ["lock", "reserve", "postrider.sock"];
const LIST: &str = "files.txt";

/// Packs a store.
pub fn pack(store: &Path, to: &Path) {
    let mut list = String::new();
    pack_dir(store, to, "", &mut list);
    std::fs::write(to.join(LIST), list).unwrap();
}

fn pack_dir(store: &Path, to: &Path, dir: &str, list: &mut String) {
    std::fs::create_dir_all(to.join(dir)).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(store.join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !LEFT_OUT.contains(&name.as_str()))
        .collect();
    names.sort();
    for name in names {
        let name = format!("{dir}{name}");
        if store.join(&name).is_dir() {
            writeln!(list, "{name}/").unwrap();
            pack_dir(store, to, &format!("{name}/"), list);
        } else {
            let bytes = std::fs::read(store.join(&name)).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0);
            std::fs::write(to.join(&name), &bytes[..used.map_or(0, |last| last + 1)]).unwrap();
            writeln!(list, "{name} {}", bytes.len()).unwrap();
        }
    }
}

/// Makes a store of it again.
pub fn unpack(from: &Path, store: &Path) {
    std::fs::create_dir_all(store).unwrap();
    for line in std::fs::read_to_string(from.join(LIST)).unwrap().lines() {
        if let Some(dir) = line.strip_suffix('/') {
            std::fs::create_dir(store.join(dir)).unwrap();
        } else {
            let (name, bytes) = line.split_once(' ').unwrap();
            std::fs::copy(from.join(name), store.join(name)).unwrap();
            let file = File::options().write(true).open(store.join(name));
            file.unwrap().set_len(bytes.parse().unwrap()).unwrap();
        }
    }
}
