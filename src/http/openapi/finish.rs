//! What is common to operations, added from the table of routes: permissions, errors, headers, limits.

use serde_json::{Map, Value, json};

use super::components::of_windows;
use super::{components, errors, examples, outgoing, shapes};
use crate::domain::permission::{Permission, Permissions};
use crate::http::error::Dialect;
use crate::http::routes::{INGEST, MANAGE, Needs, OPEN, Route};

/// What a request without a body, or with one that is refused, can be told.
const OF_BODIES: [u16; 5] = [400, 408, 413, 415, 422];
/// The tag of each path, by what it begins with; the first that fits.
const TAGS: [(&str, &str); 11] = [
    ("/api/webhooks", "ingest"),
    ("/v1/account/api-keys", "api-keys"),
    ("/v1/account", "account"),
    ("/v1/integrations", "integrations"),
    ("/v1/subscriptions", "subscriptions"),
    ("/v1/events", "events"),
    ("/v1/deliveries", "deliveries"),
    ("/v1/tasks", "tasks"),
    ("/v1/tail", "watching"),
    ("/v1/stats", "watching"),
    ("/", "operation"),
];
/// What the parameters of paths are, by what is before them.
const PARAMETERS: [(&str, &str); 7] = [
    ("/api/webhooks/", "IntegrationKey"),
    ("/v1/account/api-keys/", "KeyId"),
    ("/v1/integrations/", "IntegrationId"),
    ("/v1/subscriptions/", "SubscriptionId"),
    ("/v1/events/", "EventUuid"),
    ("/v1/deliveries/", "DeliveryId"),
    ("/v1/tasks/", "TaskId"),
];
/// Where an answer leads: who gives it, with which status, what of it, and to which paths.
const LINKS: [(&str, &str, &str, &str); 9] = [
    ("createApiKey", "201", "/id", "/v1/account/api-keys/{id}"),
    ("createIntegration", "201", "/id", "/v1/integrations/{id}"),
    (
        "createIntegration",
        "201",
        "/integration_key",
        "/api/webhooks/{integration_key}",
    ),
    ("createSubscription", "201", "/id", "/v1/subscriptions/{id}"),
    ("sendEvent", "202", "/uuid", "/v1/events/{uuid}"),
    ("sendBatch", "202", "/uuids/0", "/v1/events/{uuid}"),
    (
        "replayEvent",
        "202",
        "/deliveries/0/id",
        "/v1/deliveries/{id}",
    ),
    (
        "listDeliveries",
        "200",
        "/deliveries/0/id",
        "/v1/deliveries/{id}",
    ),
    ("retryDeliveries", "202", "/id", "/v1/tasks/{id}"),
];

/// Finishes what handlers say of themselves.
pub fn finish(mut document: Value) -> Value {
    let schemas = schemas(document["components"]["schemas"].take());
    let routes = INGEST.iter().chain(MANAGE).chain(OPEN);
    for route in routes.clone() {
        let operation = &mut document["paths"][route.path][route.method.to_ascii_lowercase()];
        if operation.is_object() {
            finish_operation(operation, route, &schemas);
        }
    }
    for link in LINKS {
        add_links(&mut document["paths"], link, routes.clone());
    }
    document["components"] = components::all(&schemas);
    document["webhooks"] = outgoing::webhooks();
    document
}

/// The schemas of handlers and the forms of values, each example as JSON Schema has it.
fn schemas(of_handlers: Value) -> Map<String, Value> {
    let mut schemas = match of_handlers {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    };
    schemas.values_mut().for_each(modernise);
    for (schema, member, example) in examples::of_members() {
        if let Some(schema) = schemas.get_mut(schema) {
            schema["properties"][member]["examples"] = json!([example]);
        }
    }
    let shapes = shapes::all().into_iter();
    schemas.extend(shapes.map(|(name, shape)| (name.to_owned(), shape)));
    schemas
}

/// As JSON Schema has it: `example`, which is out of use, becomes `examples`.
fn modernise(schema: &mut Value) {
    if let Value::Object(members) = schema {
        if let Some(example) = members.remove("example") {
            members.insert("examples".to_owned(), json!([example]));
        }
        // What is said of a member is said of it whether it has a value or not.
        let described = members
            .get_mut("oneOf")
            .and_then(Value::as_array_mut)
            .and_then(|choices| {
                let mut choices = choices.iter_mut().filter(|it| it.get("$ref").is_some());
                choices.next()?.as_object_mut()?.remove("description")
            });
        if let Some(description) = described {
            members.insert("description".to_owned(), description);
        }
        // These tell of Rust's types, and not always right.
        if members
            .get("format")
            .is_some_and(|it| it == "int32" || it == "int64")
        {
            members.remove("format");
        }
        for (name, member) in members.iter_mut() {
            match (name.as_str(), member) {
                ("properties", Value::Object(properties)) => {
                    properties.values_mut().for_each(modernise);
                }
                ("allOf" | "oneOf" | "anyOf", Value::Array(parts)) => {
                    parts.iter_mut().for_each(modernise);
                }
                ("items" | "additionalProperties", schema) => modernise(schema),
                _ => {}
            }
        }
    }
}

fn finish_operation(operation: &mut Value, route: &Route, schemas: &Map<String, Value>) {
    let (_, tag) = TAGS
        .into_iter()
        .find(|(prefix, _)| route.path.starts_with(prefix))
        .unwrap_or_default();
    operation["tags"] = json!([tag]);
    if route.method == "HEAD" {
        let id = operation["operationId"].as_str().unwrap_or_default();
        operation["operationId"] = format!("{id}Head").into();
    }
    finish_needs(operation, route);
    finish_parameters(operation, route);
    finish_body(operation, schemas);
    finish_answers(operation, route, schemas);
}

fn is_ingest(route: &Route) -> bool {
    route.path.starts_with("/api/webhooks")
}

fn needs_key(route: &Route) -> bool {
    matches!(route.needs, Needs::Key | Needs::Right(_))
}

/// The name of a right.
fn name_of(right: Permission) -> &'static str {
    let names = Permissions::of(&[right]).names();
    names.first().copied().unwrap_or_default()
}

fn finish_needs(operation: &mut Value, route: &Route) {
    let key = json!({ "ApiKey": [] });
    let (security, sentence) = match route.needs {
        Needs::Nothing | Needs::LocalSocket => (json!([]), "Open to everybody.".to_owned()),
        Needs::Key => (json!([key]), "Any key may ask.".to_owned()),
        Needs::Right(right) => (
            json!([key]),
            format!("Needs the permission `{}`.", name_of(right)),
        ),
        Needs::Loopback(right) => (
            json!([{}, key]),
            format!("From elsewhere, needs the permission `{}`.", name_of(right)),
        ),
    };
    operation["security"] = security;
    if let Needs::Right(right) | Needs::Loopback(right) = route.needs {
        operation["x-postrider-permission"] = name_of(right).into();
    }
    let description = operation["description"].as_str().unwrap_or_default();
    operation["description"] = format!("{description}\n\n{sentence}").into();
}

fn finish_parameters(operation: &mut Value, route: &Route) {
    let mut parameters = Vec::new();
    if let Some((before, after)) = route.path.split_once('{') {
        let shape = PARAMETERS.iter().find(|(prefix, _)| *prefix == before);
        parameters.push(json!({
            "name": after.split('}').next(), "in": "path", "required": true,
            "schema": { "$ref": format!("#/components/schemas/{}", shape.map_or("", |(_, shape)| shape)) },
        }));
    }
    if let Value::Array(own) = operation["parameters"].take() {
        parameters.extend(own.into_iter().map(|mut parameter| {
            parameter["schema"] = without_null(parameter["schema"].take());
            parameter
        }));
    }
    if is_ingest(route) {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if parameters.is_empty() {
        remove(operation, "parameters");
    } else {
        operation["parameters"] = parameters.into();
    }
}

/// What is left out is not `null`: there is no such thing in a query, or in place of a body.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.retain(|choice| choice["type"] != "null");
        if choices.len() == 1 {
            return choices.swap_remove(0);
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if types.len() == 1 {
            schema["type"] = schema["type"][0].take();
        }
    }
    schema
}

fn finish_body(operation: &mut Value, schemas: &Map<String, Value>) {
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    let is_optional = body["content"].as_object().is_some_and(|content| {
        content
            .values()
            .any(|it| it["schema"].get("oneOf").is_some())
    });
    body["required"] = (!is_optional).into();
    for media in members(&mut body["content"]) {
        media["schema"] = without_null(media["schema"].take());
        exemplify(media, schemas);
    }
}

/// Gives a body an example, unless it has one.
fn exemplify(media: &mut Value, schemas: &Map<String, Value>) {
    let has_one = media.get("example").is_some() || media.get("examples").is_some();
    if !has_one && let Some(example) = examples::of(&media["schema"], schemas) {
        media["example"] = example;
    }
}

fn finish_answers(operation: &mut Value, route: &Route, schemas: &Map<String, Value>) {
    let dialect = if is_ingest(route) {
        Dialect::Ingest
    } else {
        Dialect::Manage
    };
    for status in refusals(operation, route) {
        let known = &mut operation["responses"][status.to_string()];
        if known.is_null() {
            let name = errors::name(dialect, status);
            *known = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    let is_body_of = |status: &str| route.method != "HEAD" && status != "204";
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if answer.get("$ref").is_some() {
            continue;
        }
        let code: u16 = status.parse().unwrap_or_default();
        if code >= 400 && answer.get("content").is_none() {
            let description = answer["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            *answer = errors::answer(
                dialect,
                code,
                &description,
                &errors::example(code, &description),
            );
        }
        for media in members(&mut answer["content"]) {
            exemplify(media, schemas);
        }
        if !is_body_of(status) || answer["content"].is_null() {
            remove(answer, "content");
        }
        if needs_key(route) {
            for (name, header) in of_windows() {
                answer["headers"][name] = header;
            }
        }
        if is_ingest(route) && code == 202 {
            let header = json!({ "$ref": "#/components/headers/Idempotent-Replayed" });
            answer["headers"]["Idempotent-Replayed"] = header;
        }
    }
}

/// The refusals that a route can answer with, beside those that it tells of itself.
fn refusals(operation: &Value, route: &Route) -> Vec<u16> {
    let mut statuses = Vec::new();
    let has = |place: &str| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|it| it["in"] == place))
    };
    if operation.get("requestBody").is_some() {
        statuses.extend(OF_BODIES);
    } else if has("query") {
        statuses.push(422);
    }
    if has("path") {
        statuses.push(404);
    }
    match route.needs {
        Needs::Nothing | Needs::LocalSocket => return statuses,
        Needs::Key => statuses.extend([401, 429]),
        Needs::Right(_) => statuses.extend([401, 403, 429]),
        Needs::Loopback(_) => statuses.extend([401, 403, 404, 429]),
    }
    statuses.extend([500, 503]);
    statuses
}

/// Adds where an answer leads.
fn add_links<'a>(
    paths: &mut Value,
    (id, status, pointer, target): (&str, &str, &str, &str),
    routes: impl Iterator<Item = &'a Route>,
) {
    let of_target = routes.filter(|it| it.path.starts_with(target) && it.method != "HEAD");
    let name = target.split(['{', '}']).nth(1).unwrap_or_default();
    let links = of_target.filter_map(|route| {
        let to = &paths[route.path][route.method.to_ascii_lowercase()]["operationId"];
        let to = to.as_str()?.to_owned();
        let parameters = json!({ name: format!("$response.body#{pointer}") });
        Some((
            to.clone(),
            json!({ "operationId": to, "parameters": parameters }),
        ))
    });
    let links: Map<String, Value> = links.collect();
    let operations = members(paths).flat_map(members);
    for operation in operations.filter(|it| it["operationId"] == id) {
        for (name, link) in &links {
            operation["responses"][status]["links"][name] = link.clone();
        }
    }
}

/// The members of an object, of anything else none.
fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value
        .as_object_mut()
        .into_iter()
        .flat_map(|it| it.values_mut())
}

fn remove(value: &mut Value, name: &str) {
    if let Value::Object(members) = value {
        members.remove(name);
    }
}
