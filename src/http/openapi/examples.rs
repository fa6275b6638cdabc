//! Examples, put together from those of their parts, so that none can differ from its schema's members.

use serde_json::{Map, Value, json};

/// Nothing that is described here is nested deeper.
const MAX_DEPTH: usize = 16;

/// Members whose example is another than that of their form: their schema, name and example.
pub fn of_members() -> Vec<(&'static str, &'static str, Value)> {
    let absent = [
        ("Account", "integration_id"),
        ("EventDelivery", "next_attempt_at"),
        ("ApiKeyMetadata", "last_used_at"),
        ("ApiKeyMetadata", "expires_at"),
        ("ApiKeyMetadata", "rate_limit"),
        ("Subscription", "integration_id"),
        ("Subscription", "filter"),
        ("Subscription", "retry_schedule"),
        ("Standing", "failing_since"),
        ("Standing", "blocked_by"),
        ("Task", "integration_id"),
        ("Task", "delivery_status"),
        ("Task", "since"),
        ("Task", "until"),
        ("Task", "ended_at"),
    ];
    let absent = absent
        .into_iter()
        .map(|(schema, member)| (schema, member, Value::Null));
    let others = [
        ("CreateApiKey", "permissions", json!(["events:write"])),
        ("UpdateApiKey", "name", json!("CI/CD Pipeline")),
        ("RotateApiKey", "overlap_seconds", json!(3600)),
        ("UpdateIntegration", "name", json!("shop")),
        ("CreateIntegration", "name", json!("shop")),
        (
            "CreateSubscription",
            "filter",
            json!({ "data.total": { "$gte": 100 } }),
        ),
        (
            "UpdateSubscription",
            "events",
            json!(["order.*", "payment.*"]),
        ),
        ("UpdateSubscription", "max_in_flight", json!(8)),
        ("RotateSecret", "overlap_seconds", json!(3600)),
        ("SelectedDeliveries", "event_type", json!("order.*")),
        ("SelectedEvents", "status", json!("dead")),
    ];
    absent.chain(others).collect()
}

/// An example of a schema, if it or its parts have one. Members that need not be there are left out, unless
/// they have an example of their own.
pub fn of(schema: &Value, schemas: &Map<String, Value>) -> Option<Value> {
    at_depth(schema, schemas, MAX_DEPTH)
}

/// The schema that a reference leads to, or the one it is.
pub fn resolved<'a>(schema: &'a Value, schemas: &'a Map<String, Value>) -> &'a Value {
    let name = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    name.and_then(|name| schemas.get(name)).unwrap_or(schema)
}

fn at_depth(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(example) = schema["examples"].get(0) {
        return Some(example.clone());
    }
    let below = |schema: &Value| at_depth(schema, schemas, depth);
    if schema.get("$ref").is_some() {
        return below(resolved(schema, schemas));
    }
    if let Some(value) = schema.get("const").or(schema["enum"].get(0)) {
        return Some(value.clone());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(below);
        let members = parts.filter_map(|part| match part {
            Value::Object(members) => Some(members),
            _ => None,
        });
        return Some(members.flatten().collect::<Map<_, _>>().into());
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let (nothing, values): (Vec<_>, Vec<_>) =
            choices.iter().partition(|it| it["type"] == "null");
        let example = values.first().and_then(|it| below(it));
        return example.or_else(|| (!nothing.is_empty()).then_some(Value::Null));
    }
    if let Some(members) = schema["properties"].as_object() {
        let required = schema["required"].as_array();
        let is_required =
            |name: &str| required.is_some_and(|it| it.iter().any(|known| known == name));
        let shown = members
            .iter()
            .filter(|(name, member)| is_required(name) || member.get("examples").is_some());
        let shown = shown.filter_map(|(name, member)| Some((name.clone(), below(member)?)));
        return Some(shown.collect::<Map<_, _>>().into());
    }
    if let Some(entry) = schema.get("items") {
        return Some(below(entry).into_iter().collect::<Vec<_>>().into());
    }
    None
}
