//! A window's permits under concurrency: as many as it has, over real connections.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::relay::Relay;

const CONNECTIONS: usize = 64;
/// The documented window.
const PERMITS: usize = 100;

#[test]
fn of_64_connections_racing_for_100_permits_exactly_100_requests_get_one() {
    let relay = Relay::with(&[("RATE_LIMIT__MANAGE", "100/15m")]);
    let (given, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Barrier::new(CONNECTIONS);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = relay.connect();
                let headers = [("X-API-Key", relay.key.as_str())];
                start.wait();
                for _ in 0..3 {
                    let answer = connection.request("GET", "/v1/account", &headers, b"");
                    let answer = answer.unwrap();
                    let counter = if answer.status == 200 {
                        &given
                    } else {
                        assert_eq!(answer.expect(429)["error"], "RATE_LIMITED");
                        assert!(answer.header("retry-after").is_some());
                        &refused
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
                }
            });
        }
    });
    let counts = (given.into_inner(), refused.into_inner());
    assert_eq!(counts, (PERMITS, 3 * CONNECTIONS - PERMITS));
}
