//! Where a request comes from: the other end of its connection, or what a trusted proxy says it is.
//!
//! Nobody else's word counts: `X-Forwarded-For` is read from its end, and only as far as proxies that are
//! trusted have written it.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Proxies that a request is followed back through.
const MAX_HOPS: usize = 16;

/// The client's address. `None` on the local socket.
pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let values = request.headers().get_all(X_FORWARDED_FOR);
    // A line that cannot be read ends the way back, as any word that is no address does.
    let lines: Vec<&str> = values
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    Some(follow(peer, &lines, trusted))
}

fn follow(peer: IpAddr, lines: &[&str], trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(MAX_HOPS) {
        if !is_trusted(&client) {
            break;
        }
        let Some(address) = address(hop.trim()) else {
            break;
        };
        client = address.to_canonical();
    }
    client
}

/// An address, which some proxies write with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    hop.parse::<IpAddr>().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        follow(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_wrote_itself() {
        let proxies = ["10.0.0.0/8", "::1/128"];
        for (peer, lines, expected) in [
            ("192.0.2.9", &["198.51.100.1"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("::1", &["2001:db8::5"], "2001:db8::5"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1", ""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::5]:4711"], "2001:db8::5"),
        ] {
            let peer = peer.parse::<IpAddr>().unwrap().to_canonical().to_string();
            assert_eq!(client(&peer, lines, &proxies), expected, "{peer} {lines:?}");
        }
        assert_eq!(client("10.0.0.1", &["198.51.100.1"], &[]), "10.0.0.1");
    }
}
