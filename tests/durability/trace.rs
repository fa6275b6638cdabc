//! Reads what `strace -f -y` wrote: which call began and ended when, in the order of its lines.
//!
//! The tracer sees a call begin before the kernel does it, and end before its thread goes on, so that
//! the order of the lines is an order in which things happened.

use std::collections::HashMap;

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as they are printed.
    pub arguments: String,
    /// Whether it returned something else than an error.
    pub succeeded: bool,
    /// The line on which it began.
    pub began: usize,
    /// The line on which it ended.
    pub ended: usize,
}

impl Call {
    /// The file that its first argument is open on.
    pub fn file(&self) -> Option<&str> {
        let first = self.arguments.split(',').next()?;
        first.split_once('<')?.1.strip_suffix('>')
    }

    /// The path that it names in quotes: a relative one is not expected.
    pub fn path(&self) -> Option<&str> {
        self.arguments.split('"').nth(1)
    }
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
        succeeded: !result.starts_with('-'),
        began,
        ended,
    })
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
        .map(|it| (it.name.as_str(), it.began, it.ended, it.succeeded))
        .collect();
    let expected = [
        ("openat", 1, 1, true),
        ("pwrite64", 0, 2, true),
        ("fdatasync", 3, 3, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls[0].path(), Some("/a/c"));
    assert_eq!(calls[1].file(), Some("/a/b.seg"));
}
