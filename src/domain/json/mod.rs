//! A strict RFC 8259 reader that builds no tree.
//!
//! [`Scanner`] checks a document in one pass and tells where its values are; the bytes themselves
//! are never changed, copied or interpreted. So a number of any size passes (`1e999` is well
//! formed, and nobody converts it here), and so does an escaped lone surrogate (`"\ud800"`, which
//! the grammar allows although no text can hold it). A byte order mark is refused.
//!
//! Invariants: a document is text before it is scanned, so UTF-8 is checked once ([`text`]). Nothing
//! is allocated, save where an escaped string is decoded on request, and time is linear.

mod cursor;
mod scanner;

use std::fmt;
use std::ops::Range;

use thiserror::Error;

pub use scanner::{DEPTH_CEILING, Scanner};

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The text does not follow the grammar.
    #[error("{reason} at byte {offset}")]
    Malformed {
        /// Where, counted in bytes from the beginning of the text.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Objects and arrays are nested beyond the limit; whether the rest is well formed is unknown.
    #[error("nesting exceeds {limit} levels at byte {offset}")]
    TooDeep {
        /// Where the first container beyond the limit opens, in bytes.
        offset: usize,
        /// The deepest nesting allowed; the outermost container counts as 1.
        limit: usize,
    },
}

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// `-1.5e3`
    Number,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        })
    }
}

/// A value that has been read: what it is and which bytes it takes up, white space excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it stands in the text.
    pub range: Range<usize>,
}

/// The bytes as text: the check for UTF-8 that JSON demands, made once for the whole document.
pub fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|error| JsonError::Malformed {
        offset: error.valid_up_to(),
        reason: "invalid UTF-8",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn check(bytes: &[u8], max_depth: usize) -> Result<Value, JsonError> {
        let mut scanner = Scanner::new(text(bytes)?, max_depth);
        let value = scanner.value()?;
        scanner.finish()?;
        Ok(value)
    }

    #[test]
    fn every_kind_of_value_is_accepted_with_its_range() {
        for (document, kind, range) in [
            ("{}", Kind::Object, 0..2),
            (" [ ] ", Kind::Array, 1..4),
            ("\r\n\t\"é\"", Kind::String, 3..7),
            ("-1e999\n", Kind::Number, 0..6),
            ("true", Kind::Boolean, 0..4),
            ("false", Kind::Boolean, 0..5),
            ("null", Kind::Null, 0..4),
            (r#"{"":{"":[0,[],{}]},"":1}"#, Kind::Object, 0..24),
            (r#"["\ud800",1E400,"\u0000"]"#, Kind::Array, 0..25),
        ] {
            let found = check(document.as_bytes(), 64);
            assert_eq!(found, Ok(Value { kind, range }), "{document}");
        }
    }

    #[test]
    fn bad_documents_are_refused_where_they_go_wrong() {
        let value = "expected a value";
        let name = "expected a member name in double quotes";
        let rest = "unexpected text after the value";
        let word = "expected true, false or null";
        let table: [(&[u8], usize, &str); 42] = [
            (b"", 0, value),
            (b"  ", 2, value),
            (b"\xef\xbb\xbf{}", 0, "unexpected byte order mark"),
            (b"[\"ab\xff\"]", 4, "invalid UTF-8"),
            (b"\"\xed\xa0\x80\"", 1, "invalid UTF-8"),
            (b"[1,]", 3, value),
            (b"[,1]", 1, value),
            (b"[", 1, value),
            (b"]", 0, value),
            (b"[1 2]", 3, "expected `,` or `]`"),
            (b"[1}", 2, "expected `,` or `]`"),
            (b"{,}", 1, name),
            (b"{\"a\":1,}", 7, name),
            (b"{a:1}", 1, name),
            (b"{'a':1}", 1, name),
            (b"{1:1}", 1, name),
            (b"{\"a\" 1}", 5, "expected `:`"),
            (b"{\"a\"}", 4, "expected `:`"),
            (b"{\"a\":}", 5, value),
            (b"{\"a\":1]", 6, "expected `,` or `}`"),
            (b"{\"a\":1 \"b\":2}", 7, "expected `,` or `}`"),
            (b"{\"a\":1 /**/}", 7, "expected `,` or `}`"),
            (b"\"a\nb\"", 2, "unescaped control character"),
            (b"[\"\\x\"]", 2, "invalid escape"),
            (b"{}{}", 2, rest),
            (b"1 2", 2, rest),
            (b"01", 1, rest),
            (b"-01", 2, rest),
            (b"0x10", 1, rest),
            (b"1.5.5", 3, rest),
            (b"[1]//", 3, rest),
            (b"1\0", 1, rest),
            (b".5", 0, value),
            (b"+1", 0, value),
            (b"NaN", 0, value),
            (b"-Infinity", 1, "expected a digit"),
            (b"'a'", 0, value),
            (b"True", 0, value),
            (b"trve", 0, word),
            (b"nul", 0, word),
            (b"\x0c1", 0, value),
            (b"\xc2\xa01", 0, value),
        ];
        for (document, offset, reason) in table {
            let refused = Err(JsonError::Malformed { offset, reason });
            assert_eq!(check(document, 64), refused, "{}", document.escape_ascii());
        }
    }

    #[test]
    fn a_document_cut_off_anywhere_is_refused() {
        let document = r#"{"a":[1.5e3,true,null,"\u00e9é"],"b":{"c":{}}}"#.as_bytes();
        assert!(check(document, 64).is_ok());
        for end in 0..document.len() {
            assert!(check(&document[..end], 64).is_err(), "{end}");
        }
    }

    /// What `serde_json` says. Its ways to be mindful of: `IgnoredAny`, like us, lets lone
    /// surrogates and numbers out of range pass, which its `Value` refuses; unlike us, it counts no
    /// depth (no case here is deep) and does not look for invalid UTF-8 in what it skips.
    fn oracle(bytes: &[u8]) -> bool {
        str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    }

    /// Text made of JSON's words, in no good order.
    fn pieces() -> impl Strategy<Value = String> {
        let words = r#"{ } [ ] , : " \ - + . e E 0 1 9 true false null "a": "\u00 \ud800 "12345678"
            {} [] é 1e999 -0.5 [1,2] {"a":1} ' / u tru"#;
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.extend([
            " ", "\n", "\t", "\0", "\u{1}", "\u{c}", "\u{7f}", "\u{a0}", "\u{feff}",
        ]);
        prop::collection::vec(prop::sample::select(words), 0..6).prop_map(|words| words.concat())
    }

    /// Well-formed JSON of every kind.
    fn json() -> impl Strategy<Value = String> {
        let leaves = vec![
            r#""""#,
            r#""a\nb\ud800""#,
            r#""é, 123456""#,
            "-0.5e+7",
            "0",
            "null",
            "true",
        ];
        let leaf = prop::sample::select(leaves).prop_map(String::from);
        leaf.prop_recursive(4, 24, 4, |inner| {
            let array = prop::collection::vec(inner.clone(), 0..4);
            let object = prop::collection::vec(inner.prop_map(|v| format!(r#""k" : {v}"#)), 0..4);
            prop_oneof![
                array.prop_map(|items| format!("[ {}]", items.join(" ,"))),
                object.prop_map(|members| format!("{{{} }}", members.join(", "))),
            ]
        })
    }

    proptest! {
        #[test]
        fn well_formed_json_is_accepted(document in json()) {
            prop_assert!(check(document.as_bytes(), 64).is_ok(), "{}", document);
        }

        #[test]
        fn mutated_json_is_judged_as_by_serde_json(
            document in json(),
            at: prop::sample::Index,
            removed in 0..3_usize,
            added in prop_oneof![
                pieces().prop_map(String::into_bytes),
                any::<u8>().prop_map(|byte| vec![byte]),
            ],
        ) {
            let mut bytes = document.into_bytes();
            let start = at.index(bytes.len());
            let end = bytes.len().min(start + removed);
            bytes.splice(start..end, added);
            prop_assert_eq!(check(&bytes, 64).is_ok(), oracle(&bytes), "{}", bytes.escape_ascii());
        }

        #[test]
        fn jumbled_json_is_judged_as_by_serde_json(document in pieces()) {
            let bytes = document.as_bytes();
            prop_assert_eq!(check(bytes, 64).is_ok(), oracle(bytes), "{}", document);
        }
    }
}
