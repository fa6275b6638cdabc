//! Masks secrets in what a receiver says, before anybody is shown it.
//!
//! A receiver that fails often repeats what it was sent. Secrets that are known are found however a page or
//! a program would write them (`reading`), and also where only their beginning is there because the text
//! ends; keys and signing secrets of ours are found by their form. What is masked never makes a text longer.
//!
//! The time it takes grows with the text and with the secrets, never with their product: both are chosen by
//! strangers.

mod reading;

use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use self::reading::readings;

/// Stands for what is not shown.
const MASK: &[u8] = b"***";
/// What is shorter is no secret: masking it would shred the text and hide nothing.
pub const MIN_SECRET_BYTES: usize = 4;

/// What a secret of ours looks like: how it begins, and what it consists of.
type Form = (&'static [u8], fn(u8) -> bool);
const FORMS: [Form; 4] = [
    (b"lwa.sk_live_", |byte| byte.is_ascii_alphanumeric()),
    (b"lwa.sk_test_", |byte| byte.is_ascii_alphanumeric()),
    (b"whsec_", is_base64),
    (b"whsk_", is_base64),
];

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)
}

/// What is known and must not be seen. The debug form shows nothing.
#[derive(Default)]
pub struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl Secrets {
    /// Adds a secret.
    pub fn add(&mut self, secret: &[u8]) {
        if secret.len() >= MIN_SECRET_BYTES {
            self.0.push(Zeroizing::new(secret.to_vec()));
        }
    }

    /// Adds the value of a header: all of it, and what it proves who one is with, `Bearer …` or `Basic …`
    /// (RFC 9110, section 11.4).
    pub fn add_header(&mut self, value: &[u8]) {
        self.add(value.trim_ascii());
        let Some((scheme, credentials)) = split_at_first(value.trim_ascii(), b' ') else {
            return;
        };
        let credentials = credentials.trim_ascii();
        self.add(credentials);
        if scheme.eq_ignore_ascii_case(b"basic")
            && let Ok(pair) = STANDARD.decode(credentials).map(Zeroizing::new)
        {
            self.add(&pair);
            if let Some((_, password)) = split_at_first(&pair, b':') {
                self.add(password);
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// The text without its secrets. Where it was cut off, not even a secret's first byte is left at its end.
pub fn scrub(text: &[u8], secrets: &Secrets, is_cut: bool) -> Vec<u8> {
    let mut hidden = Hidden::none_of(text);
    let readings = readings(text);
    let least_bytes = if is_cut { 1 } else { MIN_SECRET_BYTES };
    for secret in &secrets.0 {
        let fallback = Fallback::of(secret);
        for reading in &readings {
            fallback.find(secret, &reading.bytes, least_bytes, |found| {
                hidden.add(reading.place(found));
            });
        }
    }
    for reading in &readings {
        for form in FORMS {
            find_form(&reading.bytes, form, |found| {
                hidden.add(reading.place(found));
            });
        }
    }
    hidden.masked(text)
}

/// What is to be masked: at each byte, how many places more begin there than end.
struct Hidden(Vec<i32>);

impl Hidden {
    fn none_of(text: &[u8]) -> Self {
        Self(vec![0; text.len() + 1])
    }

    fn add(&mut self, place: Range<usize>) {
        self.0[place.start] += 1;
        self.0[place.end] -= 1;
    }

    fn masked(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let (mut depth, mut masks) = (0, MASK.iter());
        for (byte, change) in text.iter().zip(&self.0) {
            depth += change;
            if depth == 0 {
                shown.push(*byte);
                masks = MASK.iter();
            } else {
                shown.extend(masks.next());
            }
        }
        shown
    }
}

/// For each beginning of a secret, the longest shorter one that it also ends with (Knuth, Morris, Pratt).
struct Fallback(Vec<usize>);

impl Fallback {
    fn of(secret: &[u8]) -> Self {
        let mut fallback = Self(vec![0; secret.len()]);
        let mut matched = 0;
        for at in 1..secret.len() {
            matched = fallback.step(secret, matched, secret[at]);
            fallback.0[at] = matched;
        }
        fallback
    }

    /// How much of the secret the text ends with after this byte, if it was so much before.
    fn step(&self, secret: &[u8], mut matched: usize, byte: u8) -> usize {
        while matched > 0 && secret.get(matched) != Some(&byte) {
            matched = self.0[matched - 1];
        }
        matched + usize::from(secret.get(matched) == Some(&byte))
    }

    /// Finds the secret wherever it is, and its beginning at the end if it is so long.
    fn find(
        &self,
        secret: &[u8],
        text: &[u8],
        least_bytes: usize,
        mut found: impl FnMut(Range<usize>),
    ) {
        let mut matched = 0;
        for (at, byte) in text.iter().enumerate() {
            matched = self.step(secret, matched, *byte);
            if matched == secret.len() {
                found(at + 1 - matched..at + 1);
            }
        }
        if matched >= least_bytes {
            found(text.len() - matched..text.len());
        }
    }
}

/// Finds what begins like this and goes on with such bytes.
fn find_form(text: &[u8], (prefix, is_part): Form, mut found: impl FnMut(Range<usize>)) {
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| rest.len() > prefix.len()) {
        let parts = rest.strip_prefix(prefix).map_or(0, |parts| {
            parts.iter().take_while(|byte| is_part(**byte)).count()
        });
        if parts > 0 {
            found(from..from + prefix.len() + parts);
            from += prefix.len() + parts;
        } else {
            from += 1;
        }
    }
}

fn split_at_first(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|it| *it == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests;
