//! Keys as no proper client sends them: each gets the contract's answer, in the words of its prefix.

use serde_json::json;

use crate::support::http::Answer;
use crate::support::relay::{Integration, Relay};
use crate::support::samples;

/// The key that the document shows; nobody's.
const EXAMPLE_KEY: &str = "lwa.sk_live_abcdef1234567890abcdef1234567890";
const HINT: &str = "API keys are not accepted in the URL, where logs keep them. Include yours in the \
                    X-API-Key header.";

/// What is wrong with a key.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Missing,
    Format,
    Invalid,
    InUrl,
}

/// A request with these header lines, whatever bytes they hold.
fn send(relay: &Relay, first: &str, lines: &[Vec<u8>], body: &[u8]) -> Answer {
    let mut request = format!("{first} HTTP/1.1\r\nhost: relay\r\n").into_bytes();
    for line in lines {
        request.extend([line.as_slice(), b"\r\n"].concat());
    }
    let length = format!("content-length: {}\r\n\r\n", body.len());
    request.extend([length.as_bytes(), body].concat());
    let mut connection = relay.connect();
    connection.send_raw(&request).unwrap();
    connection.answer().unwrap()
}

/// Both dialects refuse it with 401 in the words that they have for this.
#[track_caller]
fn refused(relay: &Relay, shop: &Integration, query: &str, keys: &[&[u8]], wrong: Wrong) {
    let lines: Vec<_> = keys
        .iter()
        .map(|key| [b"X-API-Key: ", *key].concat())
        .collect();
    let event = samples::event("a", 1);
    let (title, message) = match wrong {
        Wrong::Missing => ("Missing API key", "API key is required in X-API-Key header"),
        Wrong::InUrl => ("Missing API key", HINT),
        Wrong::Format | Wrong::Invalid => (
            "Invalid API key",
            "The provided API key is not valid or has been revoked",
        ),
    };
    for door in ["", "/batch"] {
        let first = format!("POST {}{door}{query}", shop.path());
        let answer = send(relay, &first, &lines, &event).expect(401);
        assert_eq!(
            answer,
            json!({ "error": title, "message": message }),
            "{first}"
        );
    }
    let message = match wrong {
        Wrong::Missing => "Missing API key. Include your API key in the X-API-Key header.",
        Wrong::InUrl => HINT,
        Wrong::Format => "Invalid API key format. Keys must start with 'lwa.' prefix.",
        Wrong::Invalid => "Invalid API key. Check that your key is correct and active.",
    };
    for route in [
        "GET /v1/account",
        "GET /v1/subscriptions",
        "DELETE /v1/integrations/x",
    ] {
        let first = format!("{route}{query}");
        let mut answer = send(relay, &first, &lines, b"").expect(401);
        let members = answer.as_object_mut().unwrap();
        assert!(members.remove("timestamp").is_some(), "{first}");
        assert_eq!(
            answer,
            json!({ "error": "UNAUTHORIZED", "message": message }),
            "{first}"
        );
    }
}

fn start() -> (Relay, Integration) {
    let relay = Relay::with(&[("RATE_LIMIT__AUTH_FAILURES", "off")]);
    let shop = relay.integration("shop");
    (relay, shop)
}

#[test]
fn a_key_given_twice_or_empty_is_no_key() {
    let (relay, shop) = start();
    let key = relay.key.as_bytes();
    refused(&relay, &shop, "", &[], Wrong::Missing);
    refused(&relay, &shop, "", &[b""], Wrong::Missing);
    refused(&relay, &shop, "", &[b" \t "], Wrong::Missing);
    for other in [key, b"", b"nonsense", shop.api_key.as_bytes()] {
        refused(&relay, &shop, "", &[key, other], Wrong::Invalid);
        refused(&relay, &shop, "", &[other, key], Wrong::Invalid);
    }
}

#[test]
fn a_key_of_any_bytes_and_any_length_is_refused_in_the_right_words() {
    let (relay, shop) = start();
    let key = relay.key.as_bytes();
    let spaced = relay.key.replacen("live_", "live_ ", 1).into_bytes();
    let inner = relay.key.replacen("sk_", "s k_", 1).into_bytes();
    for invalid in [
        EXAMPLE_KEY.as_bytes(),
        b"lwa.",
        b"lwa.sk_live_YOUR_API_KEY",
        &[key, b"x"].concat(),
        &[key, b" ", key].concat(),
        &[key, b", ", key].concat(),
        &spaced,
        &inner,
        &key[..key.len() - 1],
        &key.to_ascii_lowercase(),
        &[key, "é".as_bytes()].concat(),
        &[b"lwa.sk_live_", &[0xff; 32][..]].concat(),
        &[b"lwa.", &b"a".repeat(10 << 10)[..]].concat(),
        &key.repeat(200),
    ] {
        refused(&relay, &shop, "", &[invalid], Wrong::Invalid);
    }
    for foreign in [
        b"your-api-key-here".to_vec(),
        b"Bearer ".iter().chain(key).copied().collect(),
        format!("\"{}\"", relay.key).into_bytes(),
        b"a".repeat(10 << 10),
        b" x".repeat(5 << 10),
    ] {
        refused(&relay, &shop, "", &[&foreign], Wrong::Format);
    }
    // Space around a header's value is no part of it.
    let line = [b"x-api-key: \t ", key, b" \t "].concat();
    send(&relay, "GET /v1/account", &[line], b"").expect(200);
}

#[test]
fn a_key_in_the_url_is_refused_with_a_hint() {
    let (relay, shop) = start();
    let key = &relay.key;
    for query in [
        format!("?api_key={key}"),
        format!("?X-API-Key={key}"),
        format!("?x-api-key={}", key.replace('.', "%2E")),
        format!("?limit=5&apikey={key}"),
        format!("?access_token={key}"),
        format!("?anything={key}"),
        format!("?api_key={EXAMPLE_KEY}"),
        "?api_key=".to_owned(),
    ] {
        refused(&relay, &shop, &query, &[], Wrong::InUrl);
    }
    refused(&relay, &shop, "?limit=5", &[], Wrong::Missing);
    assert!(!relay.said().contains(key.as_str()), "{}", relay.said());
    assert_eq!(relay.get("/v1/events")["events"], json!([]));
}
