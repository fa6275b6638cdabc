//! Tables of what receivers repeat, and that nothing is left of a secret wherever it stands.

use proptest::prelude::*;

use super::*;
use crate::domain::api_key::{self, Environment};
use crate::domain::signature::{PrivateKey, SigningKey, SigningSecret};
use secrecy::ExposeSecret;

const TOKEN: &str = "pl4nted/t0ken+of=a&receiver";

fn secrets(headers: &[&str], others: &[&str]) -> Secrets {
    let mut secrets = Secrets::default();
    for header in headers {
        secrets.add_header(header.as_bytes());
    }
    for other in others {
        secrets.add(other.as_bytes());
    }
    secrets
}

fn scrubbed(text: &str, secrets: &Secrets) -> String {
    String::from_utf8(scrub(text.as_bytes(), secrets, false)).unwrap()
}

fn cut(text: &str, secrets: &Secrets) -> String {
    String::from_utf8(scrub(text.as_bytes(), secrets, true)).unwrap()
}

#[test]
fn what_a_header_holds_is_masked_whole_and_behind_its_scheme() {
    for (header, text, expected) in [
        ("t0ken", "you sent t0ken, t0ken!", "you sent ***, ***!"),
        (
            "Bearer t0ken",
            "Authorization: Bearer t0ken\r\n",
            "Authorization: ***\r\n",
        ),
        ("Bearer t0ken", "bad token 't0ken'", "bad token '***'"),
        ("  Token   t0ken ", "token=t0ken", "token=***"),
        (
            "Basic Ym9iOmh1bnRlcjI=",
            "Ym9iOmh1bnRlcjI= is bob:hunter2",
            "*** is ***",
        ),
        (
            "Basic Ym9iOmh1bnRlcjI=",
            "PHP_AUTH_PW => hunter2, PHP_AUTH_USER => bob",
            "PHP_AUTH_PW => ***, PHP_AUTH_USER => bob",
        ),
        ("Basic ***", "Basic is no secret", "Basic is no secret"),
        ("yes", "oh yes, yes", "oh yes, yes"),
        ("aXbaXb", "aXbaXbaXb aXbaX", "*** ***"),
        ("aaaa", "aaaaaaa", "***"),
    ] {
        assert_eq!(
            scrubbed(text, &secrets(&[header], &[])),
            expected,
            "{header}"
        );
    }
}

#[test]
fn a_secret_is_masked_however_it_is_written() {
    let known = secrets(&[], &[TOKEN]);
    for text in [
        TOKEN,
        r"pl4nted\/t0ken+of=a&receiver",
        r"pl4nted\/t0ken\u002bof\u003Da\u0026receiver",
        "pl4nted%2Ft0ken%2bof%3Da%26receiver",
        "pl4nted/t0ken+of=a&amp;receiver",
        "pl4nted&#x2F;t0ken&#43;of&#x3D;a&#38;receiver",
    ] {
        let text = format!("<{text}> and {text}.");
        assert_eq!(scrubbed(&text, &known), "<***> and ***.", "{text}");
    }
}

#[test]
fn what_looks_like_a_secret_of_ours_is_masked_whoever_it_belongs_to() {
    let key = |environment| api_key::generate(environment, getrandom::fill).unwrap();
    let keys = [Environment::Live, Environment::Test].map(key);
    let shared = SigningKey::Shared(SigningSecret::from_bytes(&[0xfb; 32]).unwrap());
    let private = SigningKey::Private(PrivateKey::from_seed(&[7; 32]).unwrap());
    let nothing = Secrets::default();
    for secret in [
        keys[0].expose_secret(),
        keys[1].expose_secret(),
        &shared.reveal(),
        &private.reveal(),
    ] {
        let text = format!("[{secret}] {secret}");
        assert_eq!(scrubbed(&text, &nothing), "[***] ***", "{text}");
        let text = format!("\"{}\"", secret.replace('/', r"\/"));
        assert_eq!(scrubbed(&text, &nothing), "\"***\"", "{text}");
        let text = format!(
            "{} {}",
            &secret[..20],
            secret.replace('+', "%2B").replace('=', "%3d")
        );
        assert_eq!(scrubbed(&text, &nothing), "*** ***", "{text}");
    }
    for text in [
        "lwa.sk_live_",
        "a whsec_ and a whsk_",
        "whpk_AAAA",
        "lwa.sk_other",
    ] {
        assert_eq!(scrubbed(text, &nothing), text);
    }
}

#[test]
fn the_beginning_of_a_secret_at_the_end_is_masked() {
    let known = secrets(&[&format!("Bearer {TOKEN}")], &[]);
    for (text, expected) in [
        ("sent: Bearer pl4nted", "sent: ***"),
        ("sent: pl4n", "sent: ***"),
        ("sent: pl4nted%2", "sent: ***"),
        (r"sent: pl4nted\", "sent: ***"),
        (r"sent: pl4nted\u00", "sent: ***"),
        ("sent: pl4nted&#x", "sent: ***"),
        ("pl4nted is not all of it", "pl4nted is not all of it"),
    ] {
        assert_eq!(scrubbed(text, &known), expected);
        assert_eq!(cut(text, &known), expected);
    }
    // So little is nothing, unless there was more of it.
    assert_eq!(scrubbed("sent: pl4", &known), "sent: pl4");
    assert_eq!(cut("sent: pl4", &known), "sent: ***");
    assert_eq!(cut("sent: p", &known), "sent: *", "a text never grows");
}

#[test]
fn the_debug_form_shows_nothing() {
    assert_eq!(
        format!("{:?}", secrets(&["Bearer t0ken"], &[])),
        "Secrets(…)"
    );
}

#[test]
fn what_is_no_text_stays_as_it_is_around_a_secret() {
    let known = secrets(&[], &["t0ken"]);
    let shown = scrub(b"\xff\x00t0ken\xfe%", &known, false);
    assert_eq!(shown, b"\xff\x00***\xfe%");
}

/// A secret as a page might write it, each byte in its own way.
fn spelled(secret: &str, ways: &[u8], kind: u8) -> String {
    let spell = |(byte, way): (u8, &u8)| match (kind, way % 2) {
        (0, 0) => format!("\\u{byte:04x}"),
        (1, 0) => format!("%{byte:02X}"),
        (2, 0) => format!("&#{byte};"),
        _ => char::from(byte).to_string(),
    };
    secret.bytes().zip(ways.iter().cycle()).map(spell).collect()
}

proptest! {
    #[test]
    fn wherever_a_secret_stands_and_a_text_ends_nothing_of_it_is_left(
        secret in "[a-c]{4,12}",
        before in "[a-cx ]{0,20}",
        after in "[a-cx ]{0,20}",
        ways in prop::collection::vec(any::<u8>(), 1..5),
        kind in 0_u8..4,
        end in any::<prop::sample::Index>(),
    ) {
        let secrets = secrets(&[], &[&secret]);
        let whole = format!("{before}<{}{after}", spelled(&secret, &ways, kind));
        let text = &whole[..end.index(whole.len() + 1)];
        let shown = cut(text, &secrets);
        prop_assert!(shown.len() <= text.len());
        // Read again in each way, it holds neither the secret nor its beginning at the end.
        for reading in readings(shown.as_bytes()) {
            let says = String::from_utf8_lossy(&reading.bytes).into_owned();
            prop_assert!(!says.contains(&secret), "{says}");
        }
        if text.len() == whole.len() && !before.contains(&secret) {
            let kept = format!("{before}<***");
            prop_assert!(shown.starts_with(&kept[..kept.len().min(shown.len())]), "{shown}");
        }
        let begins = (1..=secret.len()).any(|length| shown.ends_with(&secret[..length]));
        prop_assert!(!begins, "{shown} ends with the beginning of {secret}");
    }

    #[test]
    fn what_holds_no_secret_stays_as_it_is(text in "[ -z]{0,200}", is_cut: bool) {
        let secrets = secrets(&["{|}~{|}~"], &["~~~~"]);
        prop_assert_eq!(scrub(text.as_bytes(), &secrets, is_cut), text.as_bytes());
    }
}
