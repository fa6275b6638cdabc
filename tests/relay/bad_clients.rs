//! Clients that hang up, never finish, or do not speak HTTP: nothing stored, nobody else disturbed.

use crate::bad_input::{WORKERS, check_unharmed, key, refusal, start};
use crate::support::http::{self, Connection};
use crate::support::samples;

#[test]
fn whoever_hangs_up_halfway_leaves_nothing_behind() {
    let (relay, shop) = start();
    let whole = http::request("POST", &shop.path(), &key(&shop), &samples::event("a", 1));
    for sent in [1, 10, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        for _ in 0..WORKERS * 4 {
            let mut connection = relay.connect();
            connection.send_raw(&whole[..sent]).unwrap();
        }
    }
    // Half a body and then the end: whoever still listens is told, or at least let go.
    let mut connection = relay.connect();
    connection.send_raw(&whole[..whole.len() - 3]).unwrap();
    connection.finish_sending().unwrap();
    if let Ok(answer) = connection.answer() {
        refusal(&answer, 400);
    }
    check_unharmed(&relay, &shop);
}

#[test]
fn whoever_does_not_wait_for_the_answer_harms_nobody() {
    let (relay, shop) = start();
    let whole = http::request("POST", &shop.path(), &key(&shop), &samples::event("a", 1));
    for _ in 0..WORKERS * 8 {
        relay.connect().send_raw(&whole).unwrap();
    }
    let list = http::request("GET", "/v1/events", &[("X-API-Key", &relay.key)], b"");
    for _ in 0..WORKERS * 8 {
        relay.connect().send_raw(&list).unwrap();
    }
    let uuid = relay.send(&shop, &samples::event("b", 2));
    assert_eq!(relay.get(&format!("/v1/events/{uuid}"))["event"], "b");
    let mut connections: Vec<_> = (0..WORKERS * 4).map(|_| relay.connect()).collect();
    for connection in &mut connections {
        connection.send_raw(&whole).unwrap();
    }
    for connection in &mut connections {
        connection.answer().unwrap().expect(202);
    }
}

#[test]
fn what_is_not_http_is_let_go() {
    let (relay, shop) = start();
    let long_head = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let smuggled = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        shop.path(),
        shop.api_key
    );
    let garbage: [&[u8]; 8] = [
        b"\x00\x01\x02\x03\xff\xfe\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting \r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/webhooks/x HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        long_head.as_bytes(),
        many_headers.as_bytes(),
        smuggled.as_bytes(),
    ];
    for bytes in garbage {
        for _ in 0..WORKERS * 2 {
            let mut connection = relay.connect();
            // The relay may have heard enough before all is sent.
            let _ = connection.send_raw(bytes);
            let _ = connection.finish_sending();
            expect_let_go(connection);
        }
    }
    check_unharmed(&relay, &shop);
}

/// An error, and the end of the connection.
fn expect_let_go(mut connection: Connection) {
    if let Ok(answer) = connection.answer() {
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert!(connection.is_closed());
    }
}

#[test]
fn whoever_never_finishes_the_head_is_let_go_and_holds_up_nobody() {
    let (relay, shop) = start();
    let mut slow: Vec<_> = (0..WORKERS * 4).map(|_| relay.connect()).collect();
    for connection in &mut slow {
        connection
            .send_raw(b"POST /api/webhooks/x HTTP/1.1\r\nx-api-key: lwa.")
            .unwrap();
    }
    check_unharmed(&relay, &shop);
    for connection in slow {
        expect_let_go(connection);
    }
}
