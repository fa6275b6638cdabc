//! What the guard lets through: what borders on the forbidden, what is allowed, what is ordinary. What it does
//! not let through is tried in `outbound/forbidden.rs`.

use super::*;

/// The last address before and the first after each range.
const PUBLIC: &str = "
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.88.98.255 192.88.100.0
    192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
    203.0.112.255 203.0.114.0 223.255.255.255
    64:ff9b::8.8.8.8 64:ff9b::172.32.0.0 100:0:0:1:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    2001:200:: 2001:4860:4860::8888 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9::
    2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003:: 2606:4700::1111
    3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::
    5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 5f01:: fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

fn guard(allow: &[&str]) -> Guard {
    Guard::new(allow.iter().map(|net| net.parse().unwrap()).collect())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn check(guard: &Guard, url: &str) -> Result<(), UrlRefused> {
    guard.check_url(&url.parse().unwrap())
}

#[test]
fn what_borders_on_a_forbidden_range_stays_reachable() {
    for text in PUBLIC.split_whitespace() {
        assert!(guard(&[]).permits(ip(text)), "{text} was refused");
    }
}

#[test]
fn an_allowed_network_is_let_through_and_nothing_beside_it() {
    let guard = guard(&["10.1.0.0/16", "fd00:1::/32"]);
    for text in "10.1.0.0 10.1.255.255 ::ffff:10.1.2.3 64:ff9b::10.1.2.3 fd00:1::5".split(' ') {
        assert!(guard.permits(ip(text)), "{text} was refused");
    }
    for text in "10.0.255.255 10.2.0.0 ::ffff:10.2.0.0 64:ff9b::10.2.0.0 fd00:2:: ::1".split(' ') {
        assert!(!guard.permits(ip(text)), "{text} was permitted");
    }
}

#[test]
fn localhost_follows_loopback_but_a_metadata_name_is_never_allowed() {
    let guard = guard(&["127.0.0.0/8", "169.254.0.0/16"]);
    for url in [
        "http://localhost:9000/",
        "http://a.localhost./",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert_eq!(check(&guard, url), Ok(()), "{url}");
    }
    let metadata = "http://metadata.google.internal/computeMetadata/v1/";
    assert_eq!(check(&guard, metadata), Err(UrlRefused::Address));
}

#[test]
fn ordinary_endpoints_are_accepted() {
    for url in [
        "https://hooks.example.com/in?tenant=7&x=a|b`c{d}",
        "http://example.com:8443",
        "https://bücher.example/",
        "https://localhost.example.com/",
        "https://orders.internal/hook",
        "https://metadata.example.com./hook",
        "https://[2606:4700::1111]/",
    ] {
        assert_eq!(check(&guard(&[]), url), Ok(()), "{url}");
    }
}

#[test]
fn each_other_fault_of_a_url_has_its_own_sentence() {
    let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
    for (url, expected) in [
        (long.as_str(), UrlRefused::TooLong),
        ("ftp://example.com/", UrlRefused::Scheme),
        ("file:///etc/passwd", UrlRefused::Scheme),
        ("gopher://127.0.0.1:6379/_", UrlRefused::Scheme),
        ("https://user@example.com/", UrlRefused::Userinfo),
        ("https://example.com:pw@127.0.0.1/", UrlRefused::Userinfo),
        ("https://example.com/#here", UrlRefused::Fragment),
        ("https://example.com/#", UrlRefused::Fragment),
        ("http://example.com:25/", UrlRefused::Port),
        ("http://example.com:0/", UrlRefused::Port),
    ] {
        assert_eq!(check(&guard(&[]), url), Err(expected), "{url}");
    }
    let https_only = guard(&[]).https_only(true);
    assert_eq!(check(&https_only, "https://example.com/"), Ok(()));
    for url in ["http://example.com/", "ftp://example.com/"] {
        assert_eq!(check(&https_only, url), Err(UrlRefused::HttpsOnly), "{url}");
    }
}
