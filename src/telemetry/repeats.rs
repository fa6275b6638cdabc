//! What is logged again and again: a few lines of each kind a second, and how many more there were.
//!
//! A kind is the line of code that it comes from, so there are no more kinds than the program has. What is
//! asked for with `debug` or `trace` is never left out.

use std::sync::{Mutex, PoisonError};

use dashmap::DashMap;
use log::{Level, Log, Record};

/// Lines of a kind that are written in a second.
const MAX_LINES_A_SECOND: u32 = 10;

/// Where a record comes from.
type Place = (&'static str, u32);

/// Counts by kind.
#[derive(Debug, Default)]
pub struct Repeats {
    kinds: DashMap<Place, Kind>,
    /// One tells of what was left out at a time.
    telling: Mutex<()>,
}

#[derive(Debug)]
struct Kind {
    target: String,
    level: Level,
    second: i64,
    lines: u32,
    left_out: u64,
}

impl Repeats {
    /// Whether a record is to be written at this second.
    pub fn admit(&self, record: &Record<'_>, second: i64) -> bool {
        let place = record.file_static().zip(record.line());
        let Some(place) = place.filter(|_| record.level() <= Level::Info) else {
            return true;
        };
        let mut kind = self.kinds.entry(place).or_insert_with(|| Kind {
            target: record.target().to_owned(),
            level: record.level(),
            second,
            lines: 0,
            left_out: 0,
        });
        if kind.second != second {
            kind.second = second;
            kind.lines = 0;
        }
        if kind.lines < MAX_LINES_A_SECOND {
            kind.lines += 1;
            return true;
        }
        kind.left_out += 1;
        false
    }

    /// Tells this log of all that was left out before this second.
    pub fn tell_left_out(&self, second: i64, log: &dyn Log) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        for mut kind in self.kinds.iter_mut() {
            if kind.second == second || kind.left_out == 0 {
                continue;
            }
            let fields = [("left_out", std::mem::take(&mut kind.left_out))];
            let record = Record::builder()
                .target(&kind.target)
                .level(kind.level)
                .args(format_args!("more lines like the last ones were left out"))
                .key_values(&fields)
                .build();
            log.log(&record);
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Metadata;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Log for Seen {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let left_out = record.key_values().get("left_out".into());
            let told = format!("{} {}", record.target(), left_out.unwrap());
            self.0.lock().unwrap().push(told);
        }

        fn flush(&self) {}
    }

    fn record(line: u32, level: Level) -> Record<'static> {
        let mut record = Record::builder();
        record.target("access").level(level);
        record.file_static(Some("a.rs")).line(Some(line)).build()
    }

    #[test]
    fn a_kind_has_so_many_lines_a_second_and_the_rest_is_counted() {
        let (repeats, seen) = (Repeats::default(), Seen::default());
        let admitted = |line, level, second| {
            let all = (0..25).filter(|_| repeats.admit(&record(line, level), second));
            all.count()
        };
        assert_eq!(admitted(1, Level::Info, 7), 10);
        assert_eq!(admitted(2, Level::Error, 7), 10, "another kind");
        assert_eq!(admitted(3, Level::Debug, 7), 25, "asked for");
        repeats.tell_left_out(7, &seen);
        assert_eq!(*seen.0.lock().unwrap(), Vec::<String>::new(), "it goes on");
        repeats.tell_left_out(8, &seen);
        assert_eq!(*seen.0.lock().unwrap(), ["access 15", "access 15"]);
        repeats.tell_left_out(9, &seen);
        assert_eq!(seen.0.lock().unwrap().len(), 2, "told once");
        assert_eq!(admitted(1, Level::Info, 8), 10, "a new second");
    }
}
