//! The structure of JSON: a cursor that walks objects and arrays, or skips them whole.
//!
//! Whoever needs a member's value opens the object ([`Scanner::open`]), walks it
//! ([`Scanner::next_slot`]) and reads each value ([`Scanner::value`]); everything else is skipped in
//! the same pass.
//!
//! Invariants: every range handed out lies within the text and on character boundaries. Nothing
//! recurses: open containers are bits of one integer, so hostile nesting ends at a limit and costs
//! no memory. After an error the scanner is not worth asking again, but asking never panics.

use std::borrow::Cow;
use std::ops::Range;

use super::cursor::Cursor;
use super::{JsonError, Kind, Value};

/// The deepest nesting a [`Scanner`] can be asked to allow: the bits of its stack.
pub const DEPTH_CEILING: usize = u128::BITS as usize;

/// A cursor over one JSON document.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    cursor: Cursor<'a>,
    max_depth: usize,
    depth: usize,
    /// One bit per open container, the innermost lowest: 1 for an object, 0 for an array.
    stack: u128,
    /// The innermost container was opened just now, so no comma is due before its first slot.
    fresh: bool,
}

impl<'a> Scanner<'a> {
    /// Starts before the document. Nesting may go `max_depth` levels deep, [`DEPTH_CEILING`] at
    /// most.
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        Self::within(text, 0..text.len(), max_depth)
    }

    /// The same for a document that is a part of `text`, cut between characters; offsets and ranges
    /// stay those of `text`.
    pub fn within(text: &'a str, range: Range<usize>, max_depth: usize) -> Self {
        Self {
            cursor: Cursor {
                text: text.get(..range.end).unwrap_or(text),
                at: range.start,
            },
            max_depth: max_depth.min(DEPTH_CEILING),
            depth: 0,
            stack: 0,
            fresh: false,
        }
    }

    /// What the next value is, going by its first character; nothing of it is read yet.
    pub fn peek(&mut self) -> Result<Kind, JsonError> {
        self.cursor.skip_white_space();
        match self.cursor.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            _ if self.cursor.rest().starts_with("\u{feff}".as_bytes()) => {
                Err(self.cursor.malformed("unexpected byte order mark"))
            }
            _ => Err(self.cursor.malformed("expected a value")),
        }
    }

    /// Reads a whole value, whatever is in it.
    pub fn value(&mut self) -> Result<Value, JsonError> {
        self.cursor.skip_white_space();
        let start = self.cursor.at;
        let outside = self.depth;
        let kind = self.open()?;
        while self.depth > outside {
            if self.next_slot()?.is_some() {
                self.open()?;
            }
        }
        Ok(Value {
            kind,
            range: start..self.cursor.at,
        })
    }

    /// Steps into a value: an object or array is opened, for [`Scanner::next_slot`] to walk; any
    /// other value is read to its end.
    pub fn open(&mut self) -> Result<Kind, JsonError> {
        let kind = self.peek()?;
        match kind {
            Kind::Object | Kind::Array => self.push(kind)?,
            Kind::String => self.cursor.string()?,
            Kind::Number => self.cursor.number()?,
            Kind::Boolean | Kind::Null => self.cursor.word()?,
        }
        Ok(kind)
    }

    /// Goes to the next value in the innermost open container, which must then be read with
    /// [`Scanner::value`] or [`Scanner::open`]. Answers where its key is, quotes included (an empty
    /// range in an array), or `None` once the container is closed.
    pub fn next_slot(&mut self) -> Result<Option<Range<usize>>, JsonError> {
        if self.depth == 0 {
            return Ok(None);
        }
        let in_object = self.stack & 1 == 1;
        let first = std::mem::replace(&mut self.fresh, false);
        self.cursor.skip_white_space();
        match self.cursor.byte() {
            Some(b'}') if in_object => return Ok(self.pop()),
            Some(b']') if !in_object => return Ok(self.pop()),
            Some(b',') if !first => self.cursor.at += 1,
            _ if first => {}
            _ if in_object => return Err(self.cursor.malformed("expected `,` or `}`")),
            _ => return Err(self.cursor.malformed("expected `,` or `]`")),
        }
        if in_object {
            self.key().map(Some)
        } else {
            Ok(Some(self.cursor.at..self.cursor.at))
        }
    }

    /// Reads the next value as a document of its own, whose nesting counts from 1 again.
    pub fn document<T, E>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mut inner = Self {
            depth: 0,
            stack: 0,
            fresh: false,
            ..*self
        };
        let found = read(&mut inner)?;
        self.cursor.at = inner.cursor.at;
        Ok(found)
    }

    /// How far the text has been read, in bytes from its beginning; after [`Scanner::peek`], where
    /// the next value starts.
    pub fn position(&self) -> usize {
        self.cursor.at
    }

    /// Makes sure that nothing but white space is left.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        self.cursor.skip_white_space();
        match self.cursor.byte() {
            None => Ok(()),
            Some(_) => Err(self.cursor.malformed("unexpected text after the value")),
        }
    }

    /// The text that a string (or key) at `range` stands for, its escapes resolved; `None` if there
    /// is none, as with a lone surrogate.
    pub fn string_at(&self, range: &Range<usize>) -> Option<Cow<'a, str>> {
        let quoted = self.cursor.text.get(range.clone())?;
        if quoted.contains('\\') {
            serde_json::from_str(quoted).ok().map(Cow::Owned)
        } else {
            quoted
                .strip_prefix('"')?
                .strip_suffix('"')
                .map(Cow::Borrowed)
        }
    }

    fn push(&mut self, kind: Kind) -> Result<(), JsonError> {
        if self.depth == self.max_depth {
            return Err(JsonError::TooDeep {
                offset: self.cursor.at,
                limit: self.max_depth,
            });
        }
        self.cursor.at += 1;
        self.depth += 1;
        self.stack = self.stack << 1 | u128::from(kind == Kind::Object);
        self.fresh = true;
        Ok(())
    }

    /// Closes the innermost container; the `None` is for [`Scanner::next_slot`] to hand on.
    fn pop<T>(&mut self) -> Option<T> {
        self.cursor.at += 1;
        self.depth -= 1;
        self.stack >>= 1;
        None
    }

    /// Reads a member's name and its colon.
    fn key(&mut self) -> Result<Range<usize>, JsonError> {
        self.cursor.skip_white_space();
        let start = self.cursor.at;
        if self.cursor.byte() != Some(b'"') {
            return Err(self
                .cursor
                .malformed("expected a member name in double quotes"));
        }
        self.cursor.string()?;
        let key = start..self.cursor.at;
        self.cursor.skip_white_space();
        if self.cursor.byte() != Some(b':') {
            return Err(self.cursor.malformed("expected `:`"));
        }
        self.cursor.at += 1;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, max_depth: usize) -> Result<Value, JsonError> {
        Scanner::new(document, max_depth).value()
    }

    #[test]
    fn nesting_ends_at_the_limit_and_at_the_ceiling() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let too_deep = |offset, limit| Err(JsonError::TooDeep { offset, limit });
        assert!(check(&nested(64), 64).is_ok());
        assert_eq!(check(&nested(65), 64), too_deep(64, 64));
        assert_eq!(check(&nested(1_000_000), 64), too_deep(64, 64));
        let objects = r#"{"a":"#.repeat(1_000_000);
        assert_eq!(check(&objects, 64), too_deep(320, 64));
        assert!(check(&nested(128), usize::MAX).is_ok());
        assert_eq!(check(&nested(129), usize::MAX), too_deep(128, 128));
        assert!(check("[[],{},[{}]]", 3).is_ok(), "siblings do not add up");
    }

    #[test]
    fn strings_are_decoded_unless_they_stand_for_no_text() {
        let expected = [
            (r#""""#, Some("")),
            (r#""é""#, Some("é")),
            (r#""\u0065v\/\ud83d\ude00""#, Some("ev/😀")),
            (r#""\ud800""#, None),
        ];
        for (quoted, text) in expected {
            let scanner = Scanner::new(quoted, 64);
            assert_eq!(
                scanner.string_at(&(0..quoted.len())).as_deref(),
                text,
                "{quoted}"
            );
        }
    }

    #[test]
    fn careless_calls_get_an_error_and_never_a_panic() {
        let mut scanner = Scanner::within("é[1]", 9..9, 64);
        assert_eq!(scanner.next_slot(), Ok(None));
        assert!(scanner.value().is_err() && scanner.open().is_err());
        assert_eq!(scanner.string_at(&(1..99)), None);
    }

    #[test]
    fn members_are_walked_in_order_with_their_keys() {
        let document = r#" {"a": [1, [], {}], "b" : "x"} "#;
        let mut scanner = Scanner::new(document, 64);
        assert_eq!(scanner.open(), Ok(Kind::Object));
        let mut seen = Vec::new();
        while let Some(key) = scanner.next_slot().unwrap() {
            let value = scanner.value().unwrap();
            seen.push((&document[key], value.kind, &document[value.range]));
        }
        scanner.finish().unwrap();
        let expected = [
            (r#""a""#, Kind::Array, "[1, [], {}]"),
            (r#""b""#, Kind::String, r#""x""#),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_document_within_counts_its_own_nesting_and_the_outer_walk_goes_on() {
        let mut scanner = Scanner::new("[[[1]], 2]", 2);
        scanner.open().unwrap();
        scanner.next_slot().unwrap();
        let inner = scanner.document(Scanner::value).unwrap();
        assert_eq!(inner.range, 1..6);
        assert!(scanner.next_slot().unwrap().is_some());
        assert_eq!(scanner.value().unwrap().range, 8..9);
        assert_eq!(scanner.next_slot(), Ok(None));
        assert_eq!(scanner.finish(), Ok(()));
    }
}
