//! Where deliveries may go: what is refused when a subscription is saved is refused at the connection, too.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// What is not public.
const NETWORKS: &str = "
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::/8 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10
    ff00::/8 64:ff9b::10.0.0.0/104 64:ff9b::127.0.0.0/104 ::ffff:0:0/96";
/// Other ways to write some of it.
const NOTATIONS: &str = "
    127.1 127.0.0.1. 0x7f.1 0x7f000001 2130706433 017700000001 0177.0.0.1 0 ①②⑦.⓪.⓪.① １２７.0.0.1
    %31%32%37.0.0.1 10.1 012.1.2.3 169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 192.168.1
    [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1] [::127.0.0.1]
    [64:ff9b::7f00:1] [2002:7f00:1::] [fd00:ec2::254] localhost LOCALHOST. a.localhost
    0x0 0000 127。0。0。1 %6c%6fcalhost 0xc0.0xa8.1 172.16.1 100.100.100.200 192.0.0.192 4294967295
    [0000::0001] [::ffff:8.8.8.8] [64:FF9B::10.0.0.1] [2001:0:7f00:1::] [fe80::1] [fec0::1] [ff02::1]";
/// Names under which a cloud answers for the machine; nobody can allow them.
const METADATA: &str = "
    metadata metadata.google.internal Metadata.Google.Internal. metadata.azure.internal metadata.goog
    metadata.tencentyun.com rancher-metadata instance-data instance-data.ec2.internal";

/// Hosts of addresses that are not public: each network's first and last, and other notations.
fn private_hosts() -> BTreeSet<String> {
    let ends = NETWORKS.split_whitespace().flat_map(|network| {
        let network: IpNet = network.parse().unwrap();
        [network.network(), network.broadcast()]
    });
    let ends = ends.map(|address| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    });
    let notations = NOTATIONS.split_whitespace().map(str::to_owned);
    ends.chain(notations).collect()
}

#[test]
fn a_hundred_ways_inside_are_refused_when_saved_and_again_at_the_connection() {
    let mut relay = Relay::with(&[("OUTBOUND__ALLOW", "")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let own = receiver.address();
    let hosts: Vec<_> = private_hosts()
        .into_iter()
        .map(|host| format!("{host}:{}", own.port()))
        .collect();
    let wish = |host: &str| json!({ "url": format!("http://{host}/hook"), "events": ["**"], "retry_schedule": ["0s"] });
    let refused = |relay: &Relay, host: &str| {
        let body = wish(host).to_string();
        let answer = relay.manage("POST", "/v1/subscriptions", body.as_bytes());
        let message = text(&answer.expect(422)["message"]);
        let sentence = "url: address not allowed (the operator may allow it with outbound.allow)";
        assert_eq!(message, sentence, "{host}");
    };
    for host in &hosts {
        refused(&relay, host);
    }
    METADATA
        .split_whitespace()
        .for_each(|name| refused(&relay, name));
    let saved = hosts.len() + METADATA.split_whitespace().count();

    // An operator who allows everything for a while, and no longer.
    relay.terminate();
    relay.set("OUTBOUND__ALLOW", "0.0.0.0/0,::/0");
    relay.restart();
    METADATA
        .split_whitespace()
        .for_each(|name| refused(&relay, name));
    for host in &hosts {
        relay.subscribe_as(&wish(host));
    }
    relay.terminate();
    relay.set("OUTBOUND__ALLOW", "");
    relay.restart();
    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    let deliveries = event["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), hosts.len());
    for delivery in deliveries {
        let mut attempt = delivery["attempts"][0].clone();
        // When, and how long it took to look at the address: nothing of what was there.
        for told in ["number", "started_at", "duration_ms", "resolve_ms"] {
            attempt.as_object_mut().unwrap().remove(told);
        }
        let all = json!({ "error": "address_not_allowed", "status_code": null });
        assert_eq!(attempt, all, "{delivery}");
    }
    assert_eq!(receiver.count(), 0);
    println!("{saved} attempts to save, {} to connect", deliveries.len());
    assert!(saved >= 100 && deliveries.len() >= 100);
}

/// What came of the only attempt of an event's only delivery.
fn attempt(event: &Value) -> (Value, Value) {
    let attempt = &event["deliveries"][0]["attempts"][0];
    (attempt["error"].clone(), attempt["status_code"].clone())
}

#[test]
fn where_only_https_is_spoken_http_is_neither_saved_nor_dialled() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let wish = json!({ "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s"] });
    let saved = relay.subscribe_as(&wish);
    relay.terminate();
    relay.set("OUTBOUND__HTTPS_ONLY", "true");
    relay.restart();

    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    assert_eq!(attempt(&event), (json!("address_not_allowed"), Value::Null));
    let path = format!("/v1/subscriptions/{}", saved.id);
    let tried = relay
        .manage("POST", &format!("{path}/test"), b"")
        .expect(200);
    assert_eq!(tried["error"], "address_not_allowed");
    let change = json!({ "url": receiver.url() });
    for (method, path, body) in [
        ("POST", "/v1/subscriptions", &wish),
        ("PATCH", &path, &change),
    ] {
        let refused = relay.manage(method, path, body.to_string().as_bytes());
        let message = text(&refused.expect(422)["message"]);
        assert_eq!(message, "url: must start with https://");
    }
    assert_eq!(receiver.count(), 0);
}
