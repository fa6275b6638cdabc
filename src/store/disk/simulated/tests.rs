//! What a cut may take and what it may not, or the histories run on this disk would prove nothing.

use super::content::{PAGE_BYTES, SECTOR_BYTES};
use super::*;

const LONG: usize = 3 * PAGE_BYTES;

fn root() -> PathBuf {
    PathBuf::from("/data")
}

fn disk() -> SimulatedDisk {
    SimulatedDisk::new(&root())
}

fn file(disk: &SimulatedDisk) -> Arc<dyn DiskFile> {
    let file = disk.open(&root().join("f"), Access::Create).unwrap();
    disk.sync_dir(&root()).unwrap();
    file
}

/// What is in the file now: its length and its bytes.
fn read(disk: &SimulatedDisk) -> Option<Vec<u8>> {
    let file = disk.open(&root().join("f"), Access::Read).ok()?;
    let mut bytes = vec![9; LONG];
    let read = file.read_up_to(&mut bytes, 0).unwrap();
    assert_eq!(read as u64, file.size_bytes().unwrap());
    bytes.truncate(read);
    Some(bytes)
}

/// All that a cut was seen to leave, over many seeds.
fn left<T: Ord>(
    before: impl Fn() -> SimulatedDisk,
    look: impl Fn(&SimulatedDisk) -> T,
) -> std::collections::BTreeSet<T> {
    let cut = |seed| {
        let disk = before();
        disk.power_cut(&mut Random(seed));
        look(&disk)
    };
    (0..200).map(cut).collect()
}

#[test]
fn what_was_synced_stays_and_what_was_not_may_go_page_by_page() {
    let before = || {
        let disk = disk();
        let file = file(&disk);
        file.write_all_at(&[1; LONG], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[2; LONG], 0).unwrap();
        disk
    };
    let left = left(before, |disk| read(disk).unwrap());
    assert!(left.contains(&vec![1; LONG]) && left.contains(&vec![2; LONG]));
    let by = |bytes: usize| {
        let whole = |file: &Vec<u8>| {
            let mut parts = file.chunks(bytes);
            parts.all(|part| part.iter().all(|byte| *byte == part[0]))
        };
        left.iter().filter(|file| whole(file)).count()
    };
    assert_eq!(by(SECTOR_BYTES), left.len(), "a sector was torn");
    assert!(by(PAGE_BYTES) >= 8, "each mix of three pages");
    assert!(by(PAGE_BYTES) < left.len(), "no page was torn");
    let values = left.iter().flatten().copied();
    assert!(values.clone().all(|byte| byte == 1 || byte == 2));
}

#[test]
fn a_length_stays_as_far_as_what_was_synced_needs_it() {
    let before = |sync_all: bool| {
        move || {
            let disk = disk();
            let file = file(&disk);
            file.allocate(8_000).unwrap();
            file.write_all_at(&[1; 100], 0).unwrap();
            file.sync_data().unwrap();
            if sync_all {
                file.sync_all().unwrap();
            }
            disk
        }
    };
    let bytes = |disk: &SimulatedDisk| {
        let bytes = read(disk).unwrap();
        assert_eq!(bytes[..100], [1; 100]);
        assert!(bytes[100..].iter().all(|byte| *byte == 0));
        bytes.len()
    };
    let data = left(before(false), bytes);
    assert!(data.contains(&100) && data.contains(&8_000) && data.len() > 2);
    assert_eq!(Vec::from_iter(left(before(true), bytes)), [8_000]);
}

#[test]
fn a_name_stays_once_its_directory_is_synced() {
    let made = |sync: bool| {
        move || {
            let disk = disk();
            let file = disk.open(&root().join("f"), Access::Create).unwrap();
            file.write_all_at(&[1; 10], 0).unwrap();
            file.sync_all().unwrap();
            if sync {
                disk.sync_dir(&root()).unwrap();
            }
            disk
        }
    };
    let unsynced = left(made(false), read);
    assert_eq!(Vec::from_iter(unsynced), [None, Some(vec![1; 10])]);
    assert_eq!(Vec::from_iter(left(made(true), read)), [Some(vec![1; 10])]);
    let removed = |sync: bool| {
        move || {
            let disk = made(true)();
            disk.remove(&root().join("f")).unwrap();
            if sync {
                disk.sync_dir(&root()).unwrap();
            }
            disk
        }
    };
    let unsynced = left(removed(false), read);
    assert_eq!(Vec::from_iter(unsynced), [None, Some(vec![1; 10])]);
    assert_eq!(Vec::from_iter(left(removed(true), read)), [None]);
}

#[test]
fn what_is_in_a_directory_goes_with_its_name() {
    let before = || {
        let disk = disk();
        let dir = root().join("d");
        disk.make_dir(&dir).unwrap();
        let file = disk.open(&dir.join("g"), Access::Create).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(&dir).unwrap();
        disk
    };
    let look = |disk: &SimulatedDisk| {
        let dir = disk.exists(&root().join("d")).unwrap();
        assert_eq!(disk.exists(&root().join("d/g")).unwrap(), dir);
        dir
    };
    assert_eq!(Vec::from_iter(left(before, look)), [false, true]);
}

#[test]
fn a_sync_that_failed_is_not_made_up_for_by_one_that_does_not() {
    let before = |again: bool| {
        move || {
            let disk = disk();
            let file = file(&disk);
            file.write_all_at(&[1; 100], 0).unwrap();
            disk.fail_syncs(1);
            assert!(file.sync_data().is_err());
            if again {
                file.write_all_at(&[1; 100], 0).unwrap();
            }
            file.sync_all().unwrap();
            assert_eq!(read(&disk).unwrap(), [1; 100]);
            disk
        }
    };
    let lost = left(before(false), |disk| read(disk).unwrap());
    assert!(lost.contains(&vec![0; 100]) && lost.contains(&vec![1; 100]));
    let rewritten = left(before(true), |disk| read(disk).unwrap());
    assert_eq!(Vec::from_iter(rewritten), [vec![1; 100]]);
}

#[test]
fn the_power_goes_during_the_operation_it_was_told_to_and_nothing_goes_on() {
    let disk = disk();
    let file = file(&disk);
    disk.cut_power_after(1);
    file.write_all_at(&[1; 10], 0).unwrap();
    assert!(file.write_all_at(&[2; 10], 0).is_err());
    assert!(disk.is_off());
    assert!(file.sync_all().is_err() && file.read_up_to(&mut [0], 0).is_err());
    assert!(disk.list(&root()).is_err());
    disk.power_cut(&mut Random(1));
    assert!(file.sync_all().is_err(), "it was opened before");
    assert_eq!(disk.list(&root()).unwrap(), ["f"]);
}

#[test]
fn the_end_of_a_process_takes_nothing_but_what_it_had_open() {
    let disk = disk();
    let open = disk.open(&root().join("f"), Access::Create).unwrap();
    open.write_all_at(&[1; 10], 0).unwrap();
    disk.kill();
    assert!(open.write_all_at(&[2; 10], 0).is_err());
    assert_eq!(read(&disk).unwrap(), [1; 10]);
}

#[test]
fn a_full_disk_refuses_what_would_grow_and_takes_the_rest() {
    let disk = disk();
    let file = file(&disk);
    file.allocate(1_000).unwrap();
    disk.set_free_bytes(500);
    assert_eq!(disk.free_bytes(&root()).unwrap(), 500);
    let full = file.allocate(1_501).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    file.write_all_at(&[1; 1_000], 0).unwrap();
    assert!(file.write_all_at(&[1; 501], 1_000).is_err());
    disk.remove(&root().join("f")).unwrap();
    assert_eq!(disk.free_bytes(&root()).unwrap(), 1_500);
}
