//! The kernel sees what the disk holds.

use std::io::Write;

use crate::disk::{Cut, Disk};
use crate::fuse::Mount;
use crate::support::chance::Chance;

#[test]
fn a_mounted_disk_is_a_file_system_that_forgets() {
    let mount = Mount::new(Disk::new(1 << 30)).unwrap();
    let mut file = std::fs::File::create(mount.join("f")).unwrap();
    file.write_all(b"kept").unwrap();
    file.sync_all().unwrap();
    std::fs::File::open(mount.path()).unwrap().sync_all().unwrap();
    file.write_all(b" and lost").unwrap();
    std::fs::rename(mount.join("f"), mount.join("g")).unwrap();
    assert_eq!(std::fs::read(mount.join("g")).unwrap(), b"kept and lost");
    let left = mount.disk().cut(Cut::Drop, &mut Chance::new("smoke"));
    let after = Mount::new(left).unwrap();
    assert_eq!(std::fs::read(after.join("f")).unwrap(), b"kept");
    assert!(!after.join("g").exists());
}

#[test]
fn open_speed() {
    use postrider::store;
    let mount = Mount::new(Disk::new(1 << 30)).unwrap();
    let opts = |dir: &std::path::Path| store::Options { dir: dir.join("s"), cache_bytes: 1<<20, min_free_bytes: 0, segment_bytes: 16<<10, first_wait_ms: 0, now_ms: 1 };
    for _ in 0..3 {
        let t = std::time::Instant::now();
        let s = store::open(&opts(mount.path())).unwrap();
        println!("open {:?}", t.elapsed());
        drop(s);
        println!("drop {:?}", t.elapsed());
    }
    let t = std::time::Instant::now();
    drop(mount);
    println!("unmount {:?}", t.elapsed());
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for _ in 0..3 {
        let t = std::time::Instant::now();
        let s = store::open(&opts(dir.path())).unwrap();
        println!("shm open {:?}", t.elapsed());
        drop(s);
    }
}
