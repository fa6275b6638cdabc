//! What a cut may take, and what it must leave.

use super::*;

const PAGE: u64 = file::PAGE_BYTES as u64;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn chance() -> Chance {
    Chance::new("disk")
}

/// A disk with a synced file `f` of two pages of ones.
fn with_a_file() -> (Disk, Ino) {
    let mut disk = Disk::new(1 << 30);
    let ino = disk.create(ROOT, name("f"), Node::file()).unwrap();
    disk.write(ino, 0, &[1; 2 * file::PAGE_BYTES]).unwrap();
    disk.sync(ino).unwrap();
    disk.sync(ROOT).unwrap();
    (disk, ino)
}

fn all(disk: &Disk, ino: Ino) -> Vec<u8> {
    disk.read(ino, 0, 1 << 20).unwrap()
}

/// What a hundred torn cuts leave, by what is looked at.
fn seen<T: Ord>(disk: &Disk, look: impl Fn(&Disk) -> T) -> BTreeSet<T> {
    let mut chance = chance();
    let cuts = (0..100).map(|_| disk.cut(Cut::Torn, &mut chance));
    cuts.map(|left| look(&left)).collect()
}

#[test]
fn what_is_written_is_read_and_holes_are_zeros() {
    let (mut disk, ino) = with_a_file();
    disk.write(ino, 3 * PAGE - 2, &[7; 4]).unwrap();
    let bytes = all(&disk, ino);
    assert_eq!(bytes.len() as u64, 3 * PAGE + 2);
    let at = 2 * file::PAGE_BYTES;
    assert_eq!(bytes[at - 1..=at], [1, 0]);
    assert_eq!(bytes[bytes.len() - 5..], [0, 7, 7, 7, 7]);
    disk.set_length(ino, 10).unwrap();
    disk.set_length(ino, 20).unwrap();
    assert_eq!(all(&disk, ino), [[1; 10], [0; 10]].concat());
}

#[test]
fn what_is_synced_survives_every_cut() {
    let (disk, ino) = with_a_file();
    assert_eq!(seen(&disk, |left| all(left, ino)).len(), 1);
    let left = disk.cut(Cut::Drop, &mut chance());
    assert_eq!(all(&left, ino), all(&disk, ino));
}

#[test]
fn what_is_not_synced_is_dropped() {
    let (mut disk, ino) = with_a_file();
    disk.write(ino, 0, &vec![2; 5 * file::PAGE_BYTES]).unwrap();
    disk.create(ROOT, name("g"), Node::file()).unwrap();
    disk.remove(ROOT, name("f")).unwrap();
    let left = disk.cut(Cut::Drop, &mut chance());
    assert_eq!(all(&left, ino), [1; 2 * file::PAGE_BYTES]);
    assert_eq!(left.list(ROOT).unwrap(), [("f".into(), ino)]);
    assert_eq!(all(&disk.killed(), ino).len() as u64, 5 * PAGE);
}

#[test]
fn a_torn_cut_takes_single_pages_and_the_length() {
    let (mut disk, ino) = with_a_file();
    disk.write(ino, 0, &[2; 3 * file::PAGE_BYTES]).unwrap();
    let look = |left: &Disk| {
        let bytes = all(left, ino);
        let firsts = bytes.chunks(file::PAGE_BYTES).map(|page| page[0]);
        firsts.collect::<Vec<_>>()
    };
    let seen = seen(&disk, look);
    for expected in [
        &[1, 1][..],
        &[1, 2],
        &[2, 1],
        &[2, 2],
        &[1, 1, 0],
        &[1, 2, 2],
    ] {
        assert!(seen.contains(expected), "{expected:?} of {seen:?}");
    }
}

#[test]
fn syncing_a_file_does_not_keep_its_name() {
    let mut disk = Disk::new(1 << 30);
    let ino = disk.create(ROOT, name("f"), Node::file()).unwrap();
    disk.write(ino, 0, b"x").unwrap();
    disk.sync(ino).unwrap();
    let left = disk.cut(Cut::Drop, &mut chance());
    assert!(left.list(ROOT).unwrap().is_empty());
    assert_eq!(left.node(ino).unwrap_err(), Errno::NOENT);
}

#[test]
fn syncing_a_directory_keeps_names_and_no_bytes() {
    let mut disk = Disk::new(1 << 30);
    let dir = disk.create(ROOT, name("d"), Node::directory()).unwrap();
    let ino = disk.create(dir, name("f"), Node::file()).unwrap();
    disk.write(ino, 0, b"x").unwrap();
    disk.sync(ROOT).unwrap();
    let left = disk.cut(Cut::Drop, &mut chance());
    assert!(left.list(dir).unwrap().is_empty());
    disk.sync(dir).unwrap();
    let left = disk.cut(Cut::Drop, &mut chance());
    assert!(all(&left, ino).is_empty());
}

#[test]
fn a_rename_survives_whole_or_not_at_all() {
    let (mut disk, ino) = with_a_file();
    disk.rename((ROOT, name("f")), (ROOT, name("g"))).unwrap();
    let names = |left: &Disk| left.list(ROOT).unwrap();
    let expected = [("f".into(), ino), ("g".into(), ino)];
    assert_eq!(seen(&disk, names), expected.map(|it| vec![it]).into());
    disk.sync(ROOT).unwrap();
    assert_eq!(seen(&disk, names).len(), 1);
}

#[test]
fn a_removed_file_is_there_for_those_who_have_it_open_and_gone_after_a_cut() {
    let (mut disk, ino) = with_a_file();
    let free_bytes = disk.free_bytes();
    disk.remove(ROOT, name("f")).unwrap();
    disk.sync(ROOT).unwrap();
    assert_eq!(disk.free_bytes(), free_bytes + 2 * PAGE);
    assert_eq!(all(&disk, ino).len() as u64, 2 * PAGE);
    let left = disk.cut(Cut::Drop, &mut chance());
    assert!(left.node(ino).is_err());
}

#[test]
fn a_full_disk_takes_no_more_and_keeps_what_it_has() {
    let (mut disk, ino) = with_a_file();
    disk.resize(3 * PAGE);
    disk.allocate(ino, 3 * PAGE).unwrap();
    assert_eq!(disk.write(ino, 3 * PAGE, b"x"), Err(Errno::NOSPC));
    assert_eq!(disk.allocate(ino, 4 * PAGE), Err(Errno::NOSPC));
    disk.write(ino, 2 * PAGE, b"x").unwrap();
    assert_eq!(disk.free_bytes(), 0);
}
