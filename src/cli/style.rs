//! Colour for people, none for pipes.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// Whether standard output is a terminal that wants colour (see no-color.org).
pub fn stdout_has_colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !unwanted
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many characters a line of the terminal holds; `None` where standard output is none.
pub fn stdout_width() -> Option<usize> {
    width_of(std::io::stdout())
}

/// The same of standard error; `None` also where a line cannot be written over.
pub fn stderr_width() -> Option<usize> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    width_of(std::io::stderr()).filter(|_| !is_dumb)
}

fn width_of(stream: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// A palette that may be plain.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// With or without colour.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What stands out.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What stays in the background.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}
