//! Whoever tries one wrong key after the other is told to stop, and nobody else is.

use crate::support::http::Answer;
use crate::support::relay::{Integration, Relay};
use crate::support::samples;

const FIVE_AN_HOUR: (&str, &str) = ("RATE_LIMIT__AUTH_FAILURES", "5/1h");
const UNKNOWN: &str = "lwa.sk_live_abcdef1234567890abcdef1234567890";

/// A client, as the relay sees it.
struct Client<'a> {
    relay: &'a Relay,
    forwarded_for: Option<&'a str>,
}

impl Client<'_> {
    fn ask(&self, method: &str, path: &str, key: Option<&str>) -> Answer {
        let mut headers = Vec::new();
        headers.extend(key.map(|key| ("X-API-Key", key)));
        headers.extend(
            self.forwarded_for
                .map(|address| ("X-Forwarded-For", address)),
        );
        let body = if method == "POST" {
            samples::event("a", 1)
        } else {
            Vec::new()
        };
        let mut connection = self.relay.connect();
        connection.request(method, path, &headers, &body).unwrap()
    }

    fn manage(&self, key: Option<&str>) -> Answer {
        self.ask("GET", "/v1/account", key)
    }

    /// Tries a wrong key until that is too much; returns how often it was not.
    fn tries(&self) -> usize {
        let tries = (0..20).map(|_| self.manage(Some(UNKNOWN)).status);
        tries.take_while(|status| *status == 401).count()
    }
}

fn client<'a>(relay: &'a Relay, forwarded_for: Option<&'a str>) -> Client<'a> {
    Client {
        relay,
        forwarded_for,
    }
}

#[track_caller]
fn expect_told_to_stop(answer: &Answer, error: &str, members: usize) {
    let body = answer.expect(429);
    assert_eq!(body["error"], error);
    assert_eq!(body.as_object().unwrap().len(), members, "{body}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
}

#[test]
fn the_sixth_wrong_key_is_too_many_and_a_right_one_never_is() {
    let relay = Relay::with(&[FIVE_AN_HOUR]);
    let shop: Integration = relay.integration("shop");
    let client = client(&relay, None);
    for _ in 0..10 {
        client.manage(None).expect(401);
        client.ask("POST", &shop.path(), None).expect(401);
        client.manage(Some("")).expect(401);
    }
    // Both prefixes, and all kinds of wrong keys, count together.
    client.manage(Some(UNKNOWN)).expect(401);
    client.manage(Some("your-api-key-here")).expect(401);
    client.manage(Some("lwa.é")).expect(401);
    client.ask("POST", &shop.path(), Some(UNKNOWN)).expect(401);
    client
        .ask("POST", &shop.path(), Some(&relay.key[..20]))
        .expect(401);
    for _ in 0..3 {
        expect_told_to_stop(&client.manage(Some(UNKNOWN)), "RATE_LIMITED", 3);
        let at_the_door = client.ask("POST", &shop.path(), Some("nonsense"));
        expect_told_to_stop(&at_the_door, "Rate limit exceeded", 2);
        client.manage(Some(&relay.key)).expect(200);
        client
            .ask("POST", &shop.path(), Some(&shop.api_key))
            .expect(202);
        client.manage(None).expect(401);
    }
}

#[test]
fn behind_a_trusted_proxy_clients_are_told_apart() {
    let relay = Relay::with(&[FIVE_AN_HOUR, ("SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]);
    assert_eq!(client(&relay, Some("198.51.100.1")).tries(), 5);
    assert_eq!(client(&relay, Some("198.51.100.2")).tries(), 5);
    // What a client itself wrote in front does not make it another one.
    let pretends = client(&relay, Some("203.0.113.9, 198.51.100.1"));
    assert_eq!(pretends.tries(), 0);
    assert_eq!(client(&relay, None).tries(), 5, "the proxy itself");
    let stopped = client(&relay, Some("198.51.100.1"));
    stopped.manage(Some(&relay.key)).expect(200);
}

#[test]
fn without_one_nobody_is_whom_he_says_he_is() {
    let relay = Relay::with(&[FIVE_AN_HOUR]);
    assert_eq!(client(&relay, Some("198.51.100.1")).tries(), 5);
    assert_eq!(client(&relay, Some("198.51.100.2")).tries(), 0);
    assert_eq!(client(&relay, None).tries(), 0);
}
