//! How far something is, on standard error: on a terminal a line that is written over, with a bar where the
//! whole is known, elsewhere a line now and then.

use std::io::Write;
use std::time::{Duration, Instant};

use super::style;

/// How long nothing is said where lines stay.
const QUIET: Duration = Duration::from_secs(5);
const BAR_COLUMNS: u64 = 20;

/// See the module. Nothing depends on its being read.
#[derive(Debug)]
pub struct Progress {
    /// How many characters the line holds; `None` where lines stay.
    room: Option<usize>,
    /// How many of them are taken.
    taken: usize,
    said: Option<(Instant, String)>,
}

impl Progress {
    /// Nothing was said yet.
    pub fn begin() -> Self {
        Self {
            room: style::stderr_width(),
            taken: 0,
            said: None,
        }
    }

    /// How far `what` is, in hundredths of the whole.
    pub fn say_part(&mut self, percent: u64, what: &str, text: &str) {
        let percent = percent.min(100);
        match self.room {
            Some(_) => self.say(&format!("{} {percent:>3}%  {what}: {text}", bar(percent))),
            None => self.say(&format!("{what}: {percent}%, {text}")),
        }
    }

    /// How far it is, where nobody knows what is still to come.
    pub fn say(&mut self, text: &str) {
        if let Some(room) = self.room {
            // A full line would go on in the next one, and stay.
            let text: String = text.chars().take(room.saturating_sub(1)).collect();
            let width = self.taken;
            let _ = write!(std::io::stderr(), "\r{text:<width$}");
            self.taken = text.chars().count();
            return;
        }
        let is_due = self
            .said
            .as_ref()
            .is_none_or(|(at, said)| said != text && at.elapsed() >= QUIET);
        if is_due {
            let _ = writeln!(std::io::stderr(), "{text}");
            self.said = Some((Instant::now(), text.to_owned()));
        }
    }

    /// Makes room for what comes of it.
    pub fn end(self) {
        if self.taken > 0 {
            let width = self.taken;
            let _ = write!(std::io::stderr(), "\r{:width$}\r", "");
        }
    }

    /// The same, and says how far it was at last.
    pub fn end_with(self, text: &str) {
        let is_said = self.said.as_ref().is_some_and(|(_, said)| said == text);
        self.end();
        if !is_said {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

fn bar(percent: u64) -> String {
    let full = percent * BAR_COLUMNS / 100;
    let cells = (0..BAR_COLUMNS).map(|cell| if cell < full { '#' } else { '.' });
    format!("[{}]", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_at_the_end_and_not_before() {
        let full = |percent| bar(percent).matches('#').count() as u64;
        assert_eq!([0, 50, 99, 100].map(full), [0, 10, 19, BAR_COLUMNS]);
        assert!((0..=100).all(|percent| bar(percent).len() == bar(0).len()));
    }
}
