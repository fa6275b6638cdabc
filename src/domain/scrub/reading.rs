//! The ways in which a text can be read: as it is, or with the escapes of JSON, of URLs or of HTML.
//!
//! A page that repeats `a/b+c` may say `a\/b+c`, `a%2Fb%2Bc` or `a&#x2F;b&#43;c`. Each byte that is read
//! remembers where in the text it stands.

use std::ops::Range;

/// The longest escape of HTML that is known, `&#x0000FF;`.
const MAX_HTML_BYTES: usize = 10;
/// HTML's names for what it cannot do without.
const HTML_NAMES: [(&[u8], u8); 5] = [
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"gt", b'>'),
    (b"lt", b'<'),
    (b"quot", b'"'),
];

/// A text as it was read.
#[derive(Debug)]
pub struct Reading {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Where each byte begins in the text, and where the text ends.
    begins: Vec<usize>,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// No escape.
    None,
    /// This byte, written so long.
    Of(u8, usize),
    /// The beginning of one, at the end of the text.
    Cut,
}

impl Reading {
    /// Where in the text these bytes stand.
    pub fn place(&self, bytes: Range<usize>) -> Range<usize> {
        self.begins[bytes.start]..self.begins[bytes.end]
    }

    fn of(text: &[u8], escape: fn(&[u8]) -> Escape) -> Self {
        let mut reading = Self {
            bytes: Vec::with_capacity(text.len()),
            begins: Vec::with_capacity(text.len() + 1),
        };
        let mut at = 0;
        while let Some((first, _)) = text[at..].split_first() {
            let (byte, length) = match escape(&text[at..]) {
                Escape::None => (*first, 1),
                Escape::Of(byte, length) => (byte, length),
                Escape::Cut => break,
            };
            reading.bytes.push(byte);
            reading.begins.push(at);
            at += length;
        }
        reading.begins.push(text.len());
        reading
    }
}

/// The text as it is, and as it is with each kind of escapes that there are in it.
pub fn readings(text: &[u8]) -> Vec<Reading> {
    let mut readings = vec![Reading::of(text, |_| Escape::None)];
    let escaped = [of_json, of_urls, of_html].map(|escape| Reading::of(text, escape));
    readings.extend(escaped.into_iter().filter(|it| it.bytes.len() < text.len()));
    readings
}

fn of_json(rest: &[u8]) -> Escape {
    match rest {
        [b'\\'] => Escape::Cut,
        [b'\\', b'u', digits @ ..] => {
            let digits = &digits[..digits.len().min(4)];
            match number(digits, 16) {
                Some(byte) if digits.len() == 4 => Escape::Of(byte, 6),
                _ if digits.len() < 4 => Escape::Cut,
                _ => Escape::None,
            }
        }
        [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => Escape::Of(*byte, 2),
        _ => Escape::None,
    }
}

fn of_urls(rest: &[u8]) -> Escape {
    match rest {
        [b'%'] | [b'%', _] => Escape::Cut,
        [b'%', digits @ ..] => {
            number(&digits[..2], 16).map_or(Escape::None, |byte| Escape::Of(byte, 3))
        }
        _ => Escape::None,
    }
}

fn of_html(rest: &[u8]) -> Escape {
    let [b'&', name @ ..] = rest else {
        return Escape::None;
    };
    let name = &name[..name.len().min(MAX_HTML_BYTES - 1)];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let length = name.iter().take_while(|byte| is_part(byte)).count();
    if length == rest.len() - 1 {
        return Escape::Cut;
    }
    if name.get(length) != Some(&b';') {
        return Escape::None;
    }
    let name = &name[..length];
    let byte = match name {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => HTML_NAMES
            .iter()
            .find_map(|(known, byte)| (*known == name).then_some(*byte)),
    };
    byte.map_or(Escape::None, |byte| Escape::Of(byte, length + 2))
}

/// A number that is a byte; `None` also for no digits at all.
fn number(digits: &[u8], radix: u32) -> Option<u8> {
    let digits = str::from_utf8(digits).ok()?;
    // A sign is no digit.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    let number = u32::from_str_radix(digits, radix).ok()?;
    u8::try_from(number).ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_escape_is_read_and_everything_else_is_left() {
        for (escape, text, says) in [
            (
                of_json as fn(&[u8]) -> Escape,
                r#"a\/b\u002Bc\"d\\e"#,
                "a/b+c\"d\\e",
            ),
            (of_json, r"a\nb\u20ACc\u+02Bd\u00", r"a\nb\u20ACc\u+02Bd"),
            (of_json, r"a%2F&#47;\", "a%2F&#47;"),
            (of_urls, "a%2Fb%2bc%7Ed%", "a/b+c~d"),
            (of_urls, "100% of %zz %+2 \\/ %2", "100% of %zz %+2 \\/ "),
            (of_html, "a&#x2F;b&#43;c&#X0002f;d&amp;&quot;", "a/b+c/d&\""),
            (
                of_html,
                "a&b; &nosuch; &#xZZ; &; &#; &#300; &#x",
                "a&b; &nosuch; &#xZZ; &; &#; &#300; ",
            ),
        ] {
            let read = Reading::of(text.as_bytes(), escape);
            assert_eq!(str::from_utf8(&read.bytes).unwrap(), says, "{text}");
        }
    }

    #[test]
    fn every_byte_remembers_its_place() {
        let read = Reading::of(br"a\/b\u00", of_json);
        assert_eq!(read.bytes, b"a/b");
        assert_eq!([read.place(0..1), read.place(1..2)], [0..1, 1..3]);
        assert_eq!(read.place(2..3), 3..8, "to the end of what is cut off");
    }
}
