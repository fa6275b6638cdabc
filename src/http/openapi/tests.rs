//! The description holds together: references, examples, links.

use std::collections::BTreeSet;

use super::*;
use crate::domain::event_type::{EventType, TypePattern};
use crate::domain::filter::Filter;
use crate::domain::ids::{DeliveryId, EventId, IntegrationId, SubscriptionId};
use crate::domain::signature::SigningKey;
use crate::domain::time;

fn example(shape: &str) -> Value {
    document()["components"]["schemas"][shape]["examples"][0].clone()
}

fn text_of(shape: &str) -> String {
    let example = example(shape);
    let text = example.as_str().map(str::to_owned);
    text.unwrap_or_else(|| panic!("{shape} has no example: {example}"))
}

/// Everything that is referred to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("$ref")
                    .and_then(|it| it.as_str().map(str::to_owned)),
            );
            members.values().for_each(|it| references(it, found));
        }
        Value::Array(entries) => entries.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[test]
fn whatever_is_referred_to_is_there_and_the_other_way_round() {
    let mut referred = BTreeSet::new();
    references(document(), &mut referred);
    let components = document()["components"].as_object().unwrap();
    let known = components
        .iter()
        .filter(|(kind, _)| *kind != "securitySchemes");
    let known: BTreeSet<String> = known
        .flat_map(|(kind, all)| {
            let names = all.as_object().unwrap().keys();
            names.map(move |name| format!("#/components/{kind}/{name}"))
        })
        .collect();
    assert_eq!(referred, known);
}

#[test]
fn examples_are_what_the_domain_takes() {
    let subscription: SubscriptionId = text_of("SubscriptionId").parse().unwrap();
    let event = EventId(text_of("EventUuid").parse().unwrap());
    let delivery = DeliveryId {
        event,
        subscription,
        generation: 0,
    };
    assert_eq!(text_of("DeliveryId"), delivery.to_string());
    text_of("IntegrationId").parse::<IntegrationId>().unwrap();
    text_of("SentEventType").parse::<EventType>().unwrap();
    text_of("TypePattern").parse::<TypePattern>().unwrap();
    Filter::new(example("Filter")).unwrap();
    SigningKey::parse(&text_of("ShownSecret")).unwrap();
    for shape in ["Time", "KeyTime"] {
        assert!(time::parse(&text_of(shape)).is_some(), "{shape}");
    }
}

#[test]
fn every_member_with_an_example_of_its_own_is_there() {
    let described = serde_json::to_value(api::Api::openapi()).unwrap();
    for (schema, member, _) in examples::of_members() {
        let properties = &described["components"]["schemas"][schema]["properties"];
        assert!(properties.get(member).is_some(), "{schema} has no {member}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let paths = document()["paths"].as_object().unwrap();
    let operations = || {
        paths
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
    };
    let ids: BTreeSet<&str> = operations()
        .filter_map(|it| it["operationId"].as_str())
        .collect();
    let answers = operations().flat_map(|it| it["responses"].as_object().unwrap().values());
    let links = answers.filter_map(|answer| answer["links"].as_object());
    let mut found = 0;
    for link in links.flat_map(|links| links.values()) {
        assert!(
            ids.contains(link["operationId"].as_str().unwrap()),
            "{link}"
        );
        found += 1;
    }
    assert!(found > 25, "only {found} links were found");
}
