//! Every way in that there is to try. Nothing that is not public is saved as an endpoint, and nothing is
//! dialled: neither as an address, in whatever notation, nor behind a name.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;
use tower_service::Service;
use url::Url;

use super::connector::{ConnectError, Connector, Lookup, Resolve, SystemResolver};
use super::guard::{Guard, UrlRefused};
use super::sockets::Sockets;

/// What is not public: IANA's registries of special-purpose addresses, and one address of a cloud's own.
const NETWORKS: &str = "
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::/8 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10
    ff00::/8
    64:ff9b::0.0.0.0/104 64:ff9b::10.0.0.0/104 64:ff9b::100.64.0.0/106 64:ff9b::127.0.0.0/104
    64:ff9b::169.254.0.0/112 64:ff9b::172.16.0.0/108 64:ff9b::192.168.0.0/112 64:ff9b::240.0.0.0/100
    64:ff9b:1::/48 ::ffff:0:0/96 ::ffff:0:0:0/96 ::/96";

/// Addresses within them that somebody would try, an IPv4 address in each form that holds one.
const INSIDE: &str = "
    127.0.0.1 169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.192 255.255.255.255 ::1 ::7f00:1
    ::808:808 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:7f00:1 64:ff9b::169.254.169.254
    64:ff9b::1:808:808 64:ff9b:1::808:808 2002:7f00:1:: 2001:0:7f00:1:: fd00:ec2::254
    fd20:ce::254 fe80::1 fe80::a9fe:a9fe ff02::1";

/// Hosts that lead somewhere private, in every notation that a URL parser takes: short, octal, hexadecimal and
/// decimal, in full-width and circled digits, percent-encoded, with a dot at the end.
const HOSTS: &str = "
    127.0.0.1 127.1 127.0.1 127.0.0.1. 0x7f.1 0x7f000001 0X7F.0.0.1 2130706433 017700000001
    0177.0.0.1 00000177.0.0.01 0177.0x0.0.1 0 0. 0x0 0000 0x ①②⑦.⓪.⓪.① 127。0。0。1 １２７.０.０.１
    %31%32%37.0.0.1 127%2e0%2E0.1 %6c%6fcalhost ｌｏｃａｌｈｏｓｔ loca\u{ad}lhost
    10.1 0xa.0.0.1 012.1.2.3 167837955 169.254.169.254 0xa9fea9fe 2852039166
    0251.0376.0251.0376 0251.254.0xa9fe 169.254.43518 192.168.1 0xc0.0xa8.1 172.16.1 100.100.100.200
    192.0.0.192 4294967295 255.255.255.255 [::] [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:FFFF:7f00:1] [::ffff:8.8.8.8] [::ffff:0:127.0.0.1]
    [64:ff9b::7f00:1] [64:FF9B::10.0.0.1] [64:ff9b:1::1] [2002:7f00:1::] [2001:0:7f00:1::]
    [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1]
    localhost LOCALHOST localhost. LocalHost.. a.localhost a.b.localhost. metadata METADATA.
    metadata.google.internal Metadata.Google.Internal. metadata.azure.internal metadata.goog
    metadata.tencentyun.com rancher-metadata instance-data instance-data. instance-data.ec2.internal
    x.metadata.google.internal";

/// URLs that name a private address in a place where one parser could see another host than the next, and why
/// they are refused.
const URLS: [(&str, UrlRefused); 25] = [
    ("http:127.0.0.1", UrlRefused::Address),
    ("http:/127.0.0.1", UrlRefused::Address),
    ("http:///127.0.0.1", UrlRefused::Address),
    ("http:\\\\127.0.0.1", UrlRefused::Address),
    ("http://127.0.0.1\\@example.com/", UrlRefused::Address),
    ("http://127.0.0.1?@example.com/", UrlRefused::Address),
    (" \thttp://127.0.0.1/ ", UrlRefused::Address),
    ("ht\ntp://127\t.0.0.1/", UrlRefused::Address),
    ("HTTP://127.0.0.1/", UrlRefused::Address),
    ("http://@127.0.0.1/", UrlRefused::Address),
    ("http://example.com@127.0.0.1/", UrlRefused::Userinfo),
    ("http://example.com:80@127.0.0.1/", UrlRefused::Userinfo),
    ("http://127.0.0.1:80@example.com/", UrlRefused::Userinfo),
    ("http://example.com%2f@127.0.0.1/", UrlRefused::Userinfo),
    ("http://user:pass@example.com/", UrlRefused::Userinfo),
    ("http://example.com#@127.0.0.1/", UrlRefused::Fragment),
    ("file:///etc/passwd", UrlRefused::Scheme),
    ("file://127.0.0.1/etc/passwd", UrlRefused::Scheme),
    ("ftp://127.0.0.1/", UrlRefused::Scheme),
    ("gopher://127.0.0.1:6379/_", UrlRefused::Scheme),
    ("ws://127.0.0.1/", UrlRefused::Scheme),
    ("unix:/run/docker.sock", UrlRefused::Scheme),
    ("data:text/plain,127.0.0.1", UrlRefused::Scheme),
    ("javascript:127.0.0.1", UrlRefused::Scheme),
    ("https+unix://127.0.0.1/", UrlRefused::Scheme),
];

/// Ports of other protocols, that a crafted request could talk to.
const PORTS: [u16; 16] = [
    0, 1, 7, 21, 22, 23, 25, 53, 110, 111, 143, 389, 445, 465, 587, 1023,
];

/// What is no URL at all.
const NO_URLS: &str = "
    http:// http://[ http://[::1 http://::1/ http://[fe80::1%25eth0]/ http://[fe80::1%eth0]/ http://[::1%lo]/
    http://127.0.0.1:65536/ http://127.0.0.1:-1/ http://1.2.3.4.5/ http://256.0.0.1/ http://0x100000000/
    http://127.0.0.1%00.example.com/ http://exa%20mple.com/ //127.0.0.1/ 127.0.0.1 127.0.0.1:80";

/// Answers every name with the same addresses.
struct Fixed(Vec<IpAddr>);

impl Resolve for Fixed {
    fn resolve(&self, _: String) -> Lookup {
        let addresses = self.0.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

/// Must not be asked: its answer is an error that is no refusal.
struct Unasked;

impl Resolve for Unasked {
    fn resolve(&self, name: String) -> Lookup {
        Box::pin(async move { Err(io::Error::other(name)) })
    }
}

/// The attempts made so far.
#[derive(Default)]
struct Attempts(usize);

impl Attempts {
    #[track_caller]
    fn save(&mut self, url: &str, expected: UrlRefused) {
        self.0 += 1;
        let url: Url = url.parse().unwrap();
        let refused = Guard::default().check_url(&url);
        assert_eq!(refused, Err(expected), "{url} was saved");
    }

    async fn dial(&mut self, url: &str, resolver: impl Resolve) {
        self.0 += 1;
        let uri: Uri = url.parse().unwrap();
        let mut connector = Connector::new(Arc::default(), resolver, Sockets::new(1));
        match connector.call(uri).await {
            Err(error @ ConnectError::Refused) => {
                assert_eq!(error.to_string(), "address not allowed");
            }
            dialled => panic!("{url}: {dialled:?}"),
        }
    }
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    let ends = NETWORKS.split_whitespace().flat_map(|network| {
        let network: IpNet = network.parse().unwrap();
        [network.network(), network.broadcast()]
    });
    let inside = INSIDE.split_whitespace();
    ends.chain(inside.map(|address| address.parse().unwrap()))
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[tokio::test]
async fn no_address_that_is_not_public_is_saved_or_dialled_by_itself_or_behind_a_name() {
    let mut attempts = Attempts::default();
    for address in addresses() {
        assert!(!Guard::default().permits(address), "{address} is permitted");
        let url = format!("http://{}:8080/hook", host(address));
        attempts.save(&url, UrlRefused::Address);
        attempts.dial(&url, Unasked).await;
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        for behind in [vec![address], vec![public, address], vec![address, public]] {
            let named = "https://receiver.example/hook";
            attempts.dial(named, Fixed(behind)).await;
        }
    }
    println!("{} attempts by address", attempts.0);
    assert!(attempts.0 >= 400, "only {} attempts were made", attempts.0);
}

/// Whether the system reads it as a number: everything else would be asked of other people's servers.
fn is_number(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || b".xX".contains(&byte);
    host.bytes().all(is_part) && host.ends_with(|last: char| last.is_ascii_hexdigit())
}

#[tokio::test]
async fn no_notation_of_a_host_leads_inside() {
    let mut attempts = Attempts::default();
    for host in HOSTS.split_whitespace() {
        let url = format!("http://{host}:8080/hook");
        attempts.save(&url, UrlRefused::Address);
        // As it would be saved, and as it was typed, which only the system understands.
        let saved: Url = url.parse().unwrap();
        attempts.dial(saved.as_str(), Unasked).await;
        if is_number(host) {
            attempts.dial(&url, SystemResolver::default()).await;
        }
    }
    println!("{} attempts by notation", attempts.0);
    assert!(attempts.0 >= 180, "only {} attempts were made", attempts.0);
}

#[tokio::test]
async fn no_odd_url_leads_inside_and_no_port_or_scheme_of_another_protocol_is_spoken_to() {
    let mut attempts = Attempts::default();
    let [inside, public] = ["127.0.0.1", "8.8.8.8"].map(|ip| vec![ip.parse().unwrap()]);
    for (url, expected) in URLS {
        attempts.save(url, expected);
        if url.parse::<Uri>().is_ok() {
            attempts.dial(url, Fixed(inside.clone())).await;
        }
    }
    for port in PORTS {
        let url = format!("http://receiver.example:{port}/");
        attempts.save(&url, UrlRefused::Port);
        attempts.dial(&url, Fixed(public.clone())).await;
    }
    for text in NO_URLS.split_whitespace() {
        attempts.0 += 1;
        assert!(Url::parse(text).is_err(), "{text} was saved");
        if text.parse::<Uri>().is_ok() {
            attempts.dial(text, Fixed(inside.clone())).await;
        }
    }
    println!("{} attempts by odd URLs", attempts.0);
    assert!(attempts.0 >= 80, "only {} attempts were made", attempts.0);
}
