//! Another account's ids inside bodies and queries lead exactly as far as ids that nobody has any more.

use serde_json::{Value, json};

use super::{Account, ask};
use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};

/// An integration and a subscription of a key's account.
fn make(relay: &Relay, key: &str, url: &str) -> [String; 2] {
    let integration = json!({ "name": "shop" });
    let subscription = json!({ "url": url, "events": ["**"] });
    [
        ("/v1/integrations", integration),
        ("/v1/subscriptions", subscription),
    ]
    .map(|(path, body)| text(&ask(relay, key, "POST", path, &body).expect(201)["id"]))
}

/// What is answered where an id stands in a body or a query, without what tells the ids apart.
fn answers(relay: &Relay, key: &str, ids: &[String; 2], url: &str) -> Vec<(u16, String)> {
    let [integration, subscription] = ids;
    let wants = json!({ "url": url, "events": ["**"], "integration_id": integration });
    let opens = json!({ "name": "a key", "integration_id": integration });
    let events = format!("/v1/events?integration_id={integration}");
    let deliveries = format!("/v1/deliveries?subscription_id={subscription}");
    let asked = [
        ("POST", "/v1/subscriptions", wants),
        ("POST", "/v1/account/api-keys", opens),
        ("GET", &*events, Value::Null),
        ("GET", &*deliveries, Value::Null),
    ];
    let each = asked.iter().map(|(method, path, body)| {
        let answer = ask(relay, key, method, path, body);
        let mut said = answer.json();
        said.as_object_mut().unwrap().remove("timestamp");
        let said = said.to_string();
        let said = said.replace(integration, "ID").replace(subscription, "ID");
        (answer.status, said)
    });
    each.collect()
}

#[test]
fn the_ids_of_another_account_lead_as_far_as_nobodys() {
    let relay = Relay::start();
    let receiver = Receiver::start();
    let acme = Account::make(&relay, "acme");
    let theirs = make(&relay, &relay.key, &receiver.url());
    let nobodys = make(&relay, &acme.key, &receiver.url());
    for (of, id) in ["integrations", "subscriptions"].iter().zip(&nobodys) {
        let path = format!("/v1/{of}/{id}");
        ask(&relay, &acme.key, "DELETE", &path, &Value::Null).expect(204);
    }
    let of_theirs = answers(&relay, &acme.key, &theirs, &receiver.url());
    let of_nobodys = answers(&relay, &acme.key, &nobodys, &receiver.url());
    assert_eq!(of_theirs, of_nobodys);
    for (status, said) in &of_theirs[..2] {
        assert_eq!(*status, 404, "{said}");
    }
}
