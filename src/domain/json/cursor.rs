//! The words of JSON: strings, numbers, literals and white space, each read to its end.
//!
//! Nothing here knows of objects, arrays or nesting. A word that has been read ends between
//! characters, so that ranges of words are ranges of text.

use super::JsonError;

/// A place in a text, moving forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    /// In bytes from the beginning of the text.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads a string; the cursor is on its opening quote.
    pub(super) fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.skip_plain_characters();
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.malformed("unescaped control character")),
                None => return Err(self.malformed("unterminated string")),
            }
        }
    }

    /// Moves to the next quote, backslash or control character: eight bytes at a time, as most of
    /// what a relay carries is the inside of strings.
    fn skip_plain_characters(&mut self) {
        while let Some(word) = self.rest().first_chunk() {
            let stops = stops_in(u64::from_le_bytes(*word));
            if stops != 0 {
                self.at += (stops.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += size_of::<u64>();
        }
        while let Some(b' ' | b'!' | b'#'..=b'[' | b']'..) = self.byte() {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let is_hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
        let escape_bytes = match self.rest().get(1..) {
            Some([b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => 2,
            Some([b'u', hex @ ..]) if hex.get(..4).is_some_and(is_hex) => 6,
            _ => return Err(self.malformed("invalid escape")),
        };
        self.at += escape_bytes;
        Ok(())
    }

    /// Reads a number of any size, without converting it.
    pub(super) fn number(&mut self) -> Result<(), JsonError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        // A zero in front ends the integer: the digit of `01` is then what should not be there.
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.malformed("expected a digit"));
        }
        Ok(())
    }

    /// Reads `true`, `false` or `null`.
    pub(super) fn word(&mut self) -> Result<(), JsonError> {
        let rest = self.rest();
        let words: [&[u8]; 3] = [b"true", b"false", b"null"];
        let Some(word) = words.iter().find(|word| rest.starts_with(word)) else {
            return Err(self.malformed("expected true, false or null"));
        };
        self.at += word.len();
        Ok(())
    }

    pub(super) fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The next byte, if there is one.
    pub(super) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What is still to be read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The complaint that the next byte is wrong.
    pub(super) fn malformed(&self, reason: &'static str) -> JsonError {
        let offset = self.at;
        JsonError::Malformed { offset, reason }
    }
}

/// Sets the top bit of the lowest byte in `word` that is a quote, a backslash or below 0x20. Bytes
/// above it may be marked in error, by borrows; zero means that there is none.
const fn stops_in(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOP_BITS: u64 = ONES * 0x80;
    const fn below(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(ONES * bound as u64) & !word
    }
    let quotes = below(word ^ (ONES * b'"' as u64), 1);
    let backslashes = below(word ^ (ONES * b'\\' as u64), 1);
    (below(word, 0x20) | quotes | backslashes) & TOP_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How far `read` gets in `text`, or where and why it stops.
    fn run<'a>(
        text: &'a str,
        read: fn(&mut Cursor<'a>) -> Result<(), JsonError>,
    ) -> Result<usize, (usize, &'static str)> {
        let mut cursor = Cursor { text, at: 0 };
        match read(&mut cursor) {
            Ok(()) => Ok(cursor.at),
            Err(JsonError::Malformed { offset, reason }) => Err((offset, reason)),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn strings_end_at_their_own_quote() {
        for text in [
            r#""""#,
            r#""a""#,
            r#""1234567""#,
            r#""12345678""#,
            r#""\\""#,
            r#""a\"b""#,
            r#""\b\f\n\r\t\/""#,
            r#""\u0000\uD83D\uDe0a""#,
            r#""\ud800""#,
            "\"\u{7f}é\u{2028}😀\u{feff}\"",
        ] {
            let found = run(&format!("{text},\""), Cursor::string);
            assert_eq!(found, Ok(text.len()), "{text}");
        }
    }

    #[test]
    fn bad_strings_are_refused_where_they_go_wrong() {
        for (text, at, reason) in [
            (r#"""#, 1, "unterminated string"),
            (r#""abcdefghijk"#, 12, "unterminated string"),
            (r#""abc\""#, 6, "unterminated string"),
            ("\"a\nb\"", 2, "unescaped control character"),
            ("\"abcdefghi\u{1f}\"", 10, "unescaped control character"),
            ("\"\0\"", 1, "unescaped control character"),
            (r#""\x""#, 1, "invalid escape"),
            (r#""\'""#, 1, "invalid escape"),
            (r#""\U0041""#, 1, "invalid escape"),
            (r#""\u12""#, 1, "invalid escape"),
            (r#""\u12g4""#, 1, "invalid escape"),
            (r#""\u+123""#, 1, "invalid escape"),
            (r#""\"#, 1, "invalid escape"),
        ] {
            assert_eq!(run(text, Cursor::string), Err((at, reason)), "{text}");
        }
    }

    #[test]
    fn numbers_follow_the_grammar_and_have_no_limit() {
        let long = "9".repeat(10_000);
        for text in ["0", "-0", "10", "1e999", "-0.0E-0", "1.5e+30", "0e1", &long] {
            assert_eq!(run(text, Cursor::number), Ok(text.len()), "{text}");
        }
        for (text, at) in [
            ("-", 1),
            ("-a", 1),
            ("1.", 2),
            ("1.e1", 2),
            ("1e", 2),
            ("1e+", 3),
        ] {
            let refused = Err((at, "expected a digit"));
            assert_eq!(run(text, Cursor::number), refused, "{text}");
        }
        assert_eq!(run("01", Cursor::number), Ok(1), "the 1 is left over");
    }

    fn is_stop(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    proptest! {
        #[test]
        fn the_fast_path_stops_where_a_byte_by_byte_one_does(
            bytes in prop::collection::vec(prop_oneof![8 => b' '..0x80, 1 => 0..b'#'], 0..40),
        ) {
            let text = str::from_utf8(&bytes).unwrap();
            let mut cursor = Cursor { text, at: 0 };
            cursor.skip_plain_characters();
            let expected = bytes.iter().position(|&byte| is_stop(byte)).unwrap_or(bytes.len());
            prop_assert_eq!(cursor.at, expected);
        }

        #[test]
        fn the_first_mark_is_the_first_stop(
            bytes in prop::array::uniform8(prop_oneof![
                any::<u8>(), Just(b'"'), Just(b'\\'), Just(0x1f), Just(0x20), Just(0xff),
            ]),
        ) {
            let marks = stops_in(u64::from_le_bytes(bytes));
            let first = (marks != 0).then(|| (marks.trailing_zeros() / 8) as usize);
            prop_assert_eq!(first, bytes.iter().position(|&byte| is_stop(byte)));
        }
    }
}
