//! Reads what `strace -f -y` wrote: which call began and ended when, in the order of its lines.
//!
//! The tracer sees a call begin before the kernel does it, and end before its thread goes on, so that
//! the order of the lines is an order in which things happened.

use std::collections::HashMap;
use std::process::Command;

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as they are printed.
    pub arguments: String,
    /// What it returned; `None` for an error.
    pub returned: Option<u64>,
    /// The line on which it began.
    pub began: usize,
    /// The line on which it ended.
    pub ended: usize,
}

impl Call {
    /// Whether it returned something else than an error.
    pub fn succeeded(&self) -> bool {
        self.returned.is_some()
    }

    /// The file that its first argument is open on.
    pub fn file(&self) -> Option<&str> {
        let first = self.arguments.split(',').next()?;
        first.split_once('<')?.1.strip_suffix('>')
    }

    /// Its arguments one by one. None of them may hold a comma: `strace -xx` prints none in strings.
    pub fn arguments_list(&self) -> impl Iterator<Item = &str> {
        self.arguments.split(", ")
    }

    /// One of its arguments; empty if there are not so many.
    pub fn argument(&self, at: usize) -> &str {
        self.arguments_list().nth(at).unwrap_or_default()
    }

    /// An argument that is a number.
    pub fn number(&self, at: usize) -> u64 {
        number(self.argument(at)).unwrap_or_else(|| panic!("{self:?}: argument {at}"))
    }

    /// An argument that is a string, as `strace -xx` prints it.
    pub fn bytes(&self, at: usize) -> Vec<u8> {
        let printed = self.argument(at).trim_matches('"');
        let digits = printed.split("\\x").skip(1);
        digits
            .map(|it| u8::from_str_radix(it, 16).unwrap_or_else(|_| panic!("{it:?} is no byte")))
            .collect()
    }

    /// The path that it names in quotes: a relative one is not expected.
    pub fn path(&self) -> Option<&str> {
        self.arguments.split('"').nth(1)
    }
}

/// Whether calls can be watched here; if not, says so.
pub fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    let reason = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("!!! NOT RUN: system calls cannot be watched here: {reason}");
    false
}

/// All calls of a trace that ended, in the order in which they ended.
pub fn read(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, first.trim_end().to_owned()));
            continue;
        }
        let (began, whole) = match resumed(rest) {
            Some(rest) => match unfinished.remove(thread) {
                Some((began, first)) => (began, first + rest),
                None => continue,
            },
            None => (number, rest.to_owned()),
        };
        calls.extend(call(&whole, began, number));
    }
    calls
}

/// What follows `<... NAME resumed>`.
fn resumed(rest: &str) -> Option<&str> {
    rest.strip_prefix("<... ")?
        .split_once(" resumed>")
        .map(|it| it.1)
}

fn call(whole: &str, began: usize, ended: usize) -> Option<Call> {
    let (left, result) = whole.rsplit_once(" = ")?;
    let (name, arguments) = left.trim_end().split_once('(')?;
    Some(Call {
        name: name.to_owned(),
        arguments: arguments.strip_suffix(')')?.to_owned(),
        returned: number(result),
        began,
        ended,
    })
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    let digits = text.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[test]
fn calls_are_put_together_from_their_lines() {
    let trace = "\
7 pwrite64(3</a/b.seg>, \"x, y\", 4, 0 <unfinished ...>
8 openat(AT_FDCWD</>, \"/a/c\", O_RDWR|O_CREAT, 0600) = 4</a/c>
7 <... pwrite64 resumed>) = 4
7 fdatasync(3</a/b.seg>)            = -1 EIO (Input/output error)
7 +++ exited with 0 +++
";
    let calls = read(trace);
    let seen: Vec<_> = calls
        .iter()
        .map(|it| (it.name.as_str(), it.began, it.ended, it.returned))
        .collect();
    let expected = [
        ("openat", 1, 1, Some(4)),
        ("pwrite64", 0, 2, Some(4)),
        ("fdatasync", 3, 3, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls[0].path(), Some("/a/c"));
    assert_eq!(calls[1].file(), Some("/a/b.seg"));
}

#[test]
fn printed_strings_are_bytes_again() {
    let trace = r#"7 pwrite64(3, "\x22\x2c\x20\x00", 4, 90) = 4"#;
    let call = &read(trace)[0];
    assert_eq!(call.bytes(1), b"\", \0");
    assert_eq!((call.number(2), call.number(3)), (4, 90));
}
