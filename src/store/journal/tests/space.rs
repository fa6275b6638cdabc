//! No room: refusals leave the journal as it was, and the writer goes on.

use super::*;

#[test]
fn a_full_disk_refuses_before_anything_is_written_and_the_writer_goes_on() {
    let mut left = Left::after(2, 1);
    left.layout.min_free_bytes = u64::MAX / 2;
    let (mut writer, _) = open(&left.layout);
    let full = (2..100).find_map(|n| writer.append(&[raw(n)], 1, || Ok(head())).err());
    assert!(full.is_some_and(|error| error.is_refusal()));
    let (end, bytes) = (writer.end(), left.bytes(0));

    let again = writer.append(&[raw(7)], 1, || Ok(head())).unwrap_err();
    assert!(matches!(again, StoreError::NoSpace(_)), "{again}");
    assert_eq!((writer.end(), left.bytes(0)), (end, bytes));
    assert_eq!(left.layout.list().unwrap(), [0]);
    let before = payloads(&read_all(&left.layout, end));
    append(&mut writer, SMALL + 1..SMALL + 2);
    drop(writer);

    left.layout.min_free_bytes = 0;
    let (mut writer, _) = open(&left.layout);
    append(&mut writer, 7..8);
    assert_eq!(left.layout.segment_of(writer.end()), 1);
    let after = [expected(SMALL + 1..SMALL + 2), expected(7..8)].concat();
    let read = payloads(&read_all(&left.layout, writer.end()));
    assert_eq!(read, [before, after].concat());
}

#[test]
fn a_writer_that_resumes_on_a_full_disk_hears_of_it_before_it_is_used() {
    let dir = scratch();
    let mut layout = layout(&dir);
    Writer::create(&layout, 1).unwrap();
    layout.min_free_bytes = u64::MAX / 2;
    // The next segment is asked for in the background: more than once, or luck could pass for patience.
    for _ in 0..20 {
        let (mut writer, _) = open(&layout);
        let told = writer.look_ahead(true);
        assert!(matches!(told, Err(StoreError::NoSpace(_))), "{told:?}");
    }
}

#[test]
fn a_segment_that_cannot_be_allocated_again_keeps_what_it_holds() {
    let left = Left::after(2, 1);
    let bytes = left.bytes(0);
    let mut layout = left.layout.clone();
    layout.segment_bytes = u64::MAX;
    assert!(layout.prepare(0).is_err());
    assert_eq!(left.bytes(0), bytes);
}

#[test]
fn more_than_a_segment_holds_is_refused_and_the_writer_goes_on() {
    let left = Left::after(2, 1);
    let (mut writer, _) = open(&left.layout);
    let huge = Raw {
        kind: 1,
        payload: vec![1; 16 << 10],
    };
    let error = writer.append(&[huge], 1, || Ok(head())).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    append(&mut writer, 3..4);
    let last = payloads(&read_all(&left.layout, writer.end())).pop();
    assert_eq!(last, Some(raw(3).payload));
}
