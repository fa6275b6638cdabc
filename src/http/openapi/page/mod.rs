//! The document for people: one page that loads nothing and runs nothing.
//!
//! Everything that comes out of the document goes through [`html`], which lets no character mean anything.

mod html;
mod schema;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use self::html::{json, prose, text};
use super::examples::resolved;

const STYLE: &str = include_str!("style.css");
/// In this order.
const METHODS: [&str; 6] = ["get", "post", "patch", "put", "delete", "head"];

/// The parts of a document that a page refers to.
struct Parts<'a> {
    document: &'a Value,
    schemas: &'a Map<String, Value>,
}

/// Renders a document.
pub fn render(document: &Value) -> String {
    let nothing = Map::new();
    let schemas = document["components"]["schemas"]
        .as_object()
        .unwrap_or(&nothing);
    let parts = Parts { document, schemas };
    let title = text(&document["info"]["title"]);
    let version = text(&document["info"]["version"]);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} {version}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">To the content</a>\n<div class=\"page\">\n"
    );
    page += &navigation(document);
    page += "<main id=\"content\">\n";
    push(
        &mut page,
        format_args!("<h1>{title} <small>{version}</small></h1>\n"),
    );
    page += &prose(&document["info"]["description"]);
    page += "<p>The same for programs: <a href=\"openapi.json\">openapi.json</a></p>\n";
    for tag in document["tags"].as_array().into_iter().flatten() {
        page += &parts.group(tag);
    }
    page += &parts.outgoing();
    page += &parts.common();
    page += &parts.forms();
    page += "</main>\n</div>\n</body>\n</html>\n";
    page
}

/// Writing to a string cannot fail.
fn push(page: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(what);
}

fn navigation(document: &Value) -> String {
    let mut list = "<nav aria-label=\"Contents\">\n<ul>\n".to_owned();
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        push(
            &mut list,
            format_args!("<li><a href=\"#{name}\">{name}</a></li>\n"),
        );
    }
    list += "<li><a href=\"#outgoing\">what is delivered</a></li>\n<li><a href=\"#refusals\">refusals</a></li>\n<li><a href=\"#headers\">headers</a></li>\n<li><a href=\"#forms\">schemas</a></li>\n</ul>\n</nav>\n";
    list
}

/// The name of what a reference leads to.
fn component(value: &Value) -> Option<String> {
    value["$ref"]
        .as_str()?
        .rsplit('/')
        .next()
        .map(html::escaped)
}

impl Parts<'_> {
    /// Everything with one tag.
    fn group(&self, tag: &Value) -> String {
        let name = text(&tag["name"]);
        let mut group = format!("<section>\n<h2 id=\"{name}\">{name}</h2>\n");
        group += &prose(&tag["description"]);
        for (path, operations) in self.document["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let Some(operation) = operations.get(method) else {
                    continue;
                };
                if operation["tags"][0] == tag["name"] {
                    group += &self.operation(method, path, operation);
                }
            }
        }
        group + "</section>\n"
    }

    fn operation(&self, method: &str, path: &str, operation: &Value) -> String {
        let id = text(&operation["operationId"]);
        let (shown, path) = (method.to_uppercase(), html::escaped(path));
        let mut whole = format!(
            "<details id=\"{id}\">\n<summary><span class=\"method {method}\">{shown}</span> <code>{path}</code>\
             <span class=\"what\">{}</span></summary>\n<div>\n",
            text(&operation["summary"])
        );
        whole += &prose(&operation["description"]);
        whole += &self.inside(operation);
        whole + "</div>\n</details>\n"
    }

    /// Parameters, the body, and what is answered.
    fn inside(&self, operation: &Value) -> String {
        let mut inside = String::new();
        let parameters = operation["parameters"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if !parameters.is_empty() {
            inside +=
                "<h3>Parameters</h3>\n<table>\n<tr><th>name</th><th>in</th><th>what</th></tr>\n";
            for parameter in parameters {
                inside += &self.parameter(self.referred(parameter));
            }
            inside += "</table>\n";
        }
        if let Some(body) = operation.get("requestBody") {
            let optional = if body["required"] == true {
                ""
            } else {
                " (may be left out)"
            };
            push(&mut inside, format_args!("<h3>Body{optional}</h3>\n"));
            inside += &self.content(&body["content"]);
        }
        inside += "<h3>Answers</h3>\n";
        for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
            inside += &self.answer(status, answer);
        }
        inside
    }

    fn parameter(&self, parameter: &Value) -> String {
        let required = if parameter["required"] == true {
            ", required"
        } else {
            ""
        };
        let described = parameter.get("description").map(prose).unwrap_or_default();
        let kind = schema::line(&parameter["schema"], self.schemas);
        format!(
            "<tr><td><code>{}</code></td><td>{}{required}</td><td>{described}<span class=\"kind\">{kind}</span></td></tr>\n",
            text(&parameter["name"]),
            text(&parameter["in"])
        )
    }

    /// What is answered with a status; what many operations answer is told of in one place.
    fn answer(&self, status: &str, answer: &Value) -> String {
        let status = html::escaped(status);
        let description = html::inline(&self.referred(answer)["description"]);
        if let Some(name) = component(answer) {
            return format!(
                "<p><span class=\"status\">{status}</span> <a href=\"#answer-{name}\">{description}</a></p>\n"
            );
        }
        format!(
            "<details open>\n<summary><span class=\"status\">{status}</span> {description}</summary>\n<div>\n{}</div>\n\
             </details>\n",
            self.inside_answer(answer)
        )
    }

    fn inside_answer(&self, answer: &Value) -> String {
        let mut inside = self.content(&answer["content"]);
        let Some(headers) = answer["headers"].as_object() else {
            return inside;
        };
        inside += "<h4>Headers</h4>\n";
        for (name, header) in headers {
            let shown = html::escaped(name);
            if component(header).is_some() {
                push(
                    &mut inside,
                    format_args!("<code><a href=\"#header-{shown}\">{shown}</a></code>\n"),
                );
            } else {
                let what = html::inline(&header["description"]);
                push(
                    &mut inside,
                    format_args!("<p><code>{shown}</code> {what}</p>\n"),
                );
            }
        }
        inside
    }

    /// What many operations have in common.
    fn common(&self) -> String {
        let components = &self.document["components"];
        let mut section = "<section>\n<h2 id=\"refusals\">Refusals</h2>\n".to_owned();
        for (name, answer) in components["responses"].as_object().into_iter().flatten() {
            let name = html::escaped(name);
            push(
                &mut section,
                format_args!(
                    "<details id=\"answer-{name}\">\n<summary><code>{name}</code> {}</summary>\n<div>\n",
                    html::inline(&answer["description"])
                ),
            );
            section += &self.inside_answer(answer);
            section += "</div>\n</details>\n";
        }
        section += "</section>\n<section>\n<h2 id=\"headers\">Headers</h2>\n<table>\n";
        for (name, header) in components["headers"].as_object().into_iter().flatten() {
            let (name, what) = (html::escaped(name), html::inline(&header["description"]));
            let kind = schema::line(&header["schema"], self.schemas);
            push(
                &mut section,
                format_args!(
                    "<tr id=\"header-{name}\"><td><code>{name}</code></td><td>{what} <span class=\"kind\">{kind}</span></td></tr>\n"
                ),
            );
        }
        section + "</table>\n</section>\n"
    }

    /// A body in each of its media types.
    fn content(&self, content: &Value) -> String {
        let mut whole = String::new();
        for (media_type, media) in content.as_object().into_iter().flatten() {
            push(
                &mut whole,
                format_args!("<h4>{}</h4>\n", html::escaped(media_type)),
            );
            whole += &schema::whole(&media["schema"], self.schemas);
            if let Some(example) = media.get("example") {
                whole += &json(example);
            }
            for (name, example) in media["examples"].as_object().into_iter().flatten() {
                push(
                    &mut whole,
                    format_args!("<p class=\"kind\">{}</p>\n", html::escaped(name)),
                );
                whole += &json(&example["value"]);
            }
        }
        whole
    }

    /// What a reference leads to, or what it is.
    fn referred<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
        pointer
            .and_then(|it| self.document.pointer(it))
            .unwrap_or(value)
    }

    fn outgoing(&self) -> String {
        let mut section = "<section>\n<h2 id=\"outgoing\">What is delivered</h2>\n".to_owned();
        for operations in self.document["webhooks"]
            .as_object()
            .into_iter()
            .flat_map(Map::values)
        {
            section += &self.operation("post", "your url", &operations["post"]);
        }
        section + "</section>\n"
    }

    /// Every schema that has a name.
    fn forms(&self) -> String {
        let mut section = "<section>\n<h2 id=\"forms\">Schemas</h2>\n".to_owned();
        for (name, schema) in self.schemas {
            let name = html::escaped(name);
            push(
                &mut section,
                format_args!(
                    "<details id=\"schema-{name}\">\n<summary><code>{name}</code></summary>\n<div>\n"
                ),
            );
            section += &prose(&schema["description"]);
            section += &schema::whole(resolved(schema, self.schemas), self.schemas);
            section += &json(schema);
            section += "</div>\n</details>\n";
        }
        section + "</section>\n"
    }
}

#[cfg(test)]
mod tests;
