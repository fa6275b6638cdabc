//! Schemas for people: a line for a value, a table for an object.

use serde_json::{Map, Value};

use super::super::examples::resolved;
use super::html::{escaped, inline};

/// Bounds and how they are told.
const BOUNDS: [(&str, &str); 9] = [
    ("minimum", "from"),
    ("maximum", "to"),
    ("minLength", "at least"),
    ("maxLength", "at most"),
    ("minItems", "at least"),
    ("maxItems", "at most"),
    ("maxProperties", "at most"),
    ("default", "default"),
    ("pattern", "pattern"),
];
/// Nothing that is described here is nested deeper.
const MAX_DEPTH: usize = 8;

/// What a value is, in a line.
pub fn line(schema: &Value, schemas: &Map<String, Value>) -> String {
    at_depth(schema, schemas, MAX_DEPTH)
}

fn at_depth(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else {
        return "…".to_owned();
    };
    let below = |schema: &Value| at_depth(schema, schemas, depth);
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let (name, shape) = (escaped(name), resolved(schema, schemas));
        let link = format!("<a href=\"#schema-{name}\">{name}</a>");
        let is_value = ["string", "integer"]
            .iter()
            .any(|kind| shape["type"] == *kind);
        return if is_value {
            format!("{link}: {}", below(shape))
        } else {
            link
        };
    }
    if let Some(value) = schema.get("const") {
        return format!("<code>{}</code>", escaped(&value.to_string()));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values
            .iter()
            .map(|it| format!("<code>{}</code>", escaped(it.as_str().unwrap_or_default())));
        return values.collect::<Vec<_>>().join(" ");
    }
    if let Some(choices) = ["oneOf", "anyOf"]
        .iter()
        .find_map(|it| schema[*it].as_array())
    {
        return choices.iter().map(below).collect::<Vec<_>>().join(" or ");
    }
    let mut said = match &schema["type"] {
        Value::String(kind) => escaped(kind),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str).map(escaped);
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ if schema.get("allOf").is_some() => "object".to_owned(),
        _ => "anything".to_owned(),
    };
    if let Some(entry) = schema.get("items") {
        said = format!("{said} of {}", below(entry));
    }
    if let Some(format) = schema["format"].as_str() {
        said = format!("{said} ({})", escaped(format));
    }
    for (name, word) in BOUNDS {
        let Some(bound) = schema.get(name) else {
            continue;
        };
        let bound = bound
            .as_str()
            .map_or_else(|| bound.to_string(), str::to_owned);
        said = format!("{said}, {word} <code>{}</code>", escaped(&bound));
    }
    said
}

/// A table of an object's members, or the line.
pub fn whole(schema: &Value, schemas: &Map<String, Value>) -> String {
    let mut rows = Vec::new();
    collect(schema, schemas, MAX_DEPTH, &mut rows);
    let what = match schema.get("$ref") {
        Some(_) => format!("<p class=\"kind\">{}</p>\n", line(schema, schemas)),
        None => String::new(),
    };
    if rows.is_empty() {
        let is_told = !what.is_empty();
        return if is_told {
            what
        } else {
            format!("<p class=\"kind\">{}</p>\n", line(schema, schemas))
        };
    }
    format!(
        "{what}<table>\n<tr><th>member</th><th>what</th></tr>\n{}</table>\n",
        rows.concat()
    )
}

/// What a member is where it has a value.
fn value_of<'a>(member: &'a Value, schemas: &'a Map<String, Value>) -> &'a Value {
    let choices = member["oneOf"].as_array().into_iter().flatten();
    let mut values = choices.filter(|it| it["type"] != "null");
    resolved(values.next().unwrap_or(member), schemas)
}

/// A row for each member, those of its parts included.
fn collect(schema: &Value, schemas: &Map<String, Value>, depth: usize, rows: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let schema = resolved(schema, schemas);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(part, schemas, depth, rows);
    }
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let optional = if required.iter().any(|it| it == name) {
            ""
        } else {
            " (may be missing)"
        };
        let own = member.get("description");
        let described = own.or_else(|| value_of(member, schemas).get("description"));
        let described = described.map(inline).unwrap_or_default();
        rows.push(format!(
            "<tr><td><code>{}</code></td><td>{described} <span class=\"kind\">{}{optional}</span></td></tr>\n",
            escaped(name),
            line(member, schemas)
        ));
    }
}
