//! How far something is, on standard error: on a terminal a line that is written over, elsewhere a line now
//! and then.

use std::io::Write;
use std::time::{Duration, Instant};

use super::style;

/// How long nothing is said where lines stay.
const QUIET: Duration = Duration::from_secs(5);

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

    /// How far it is.
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
