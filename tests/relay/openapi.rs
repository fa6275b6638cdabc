//! The description of the interface: everything that there is is in it, it is what was published, and a
//! change of it is told. Whether it is true is asked in [`super::contract`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postrider::domain::directory::MAX_PATTERNS;
use postrider::domain::permission::Permissions;
use postrider::http::body::MAX_MANAGE_BYTES;
use postrider::http::content::MAX_BATCH_EVENTS;
use postrider::http::openapi;
use postrider::http::routes::{INGEST, LOCAL, MANAGE, Needs, OPEN, Route};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::relay::{Relay, program};

fn operations() -> BTreeMap<(String, String), &'static Value> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap();
        operations
            .iter()
            .map(move |(method, operation)| ((method.to_uppercase(), path.clone()), operation))
    });
    each.collect()
}

fn open_to_others() -> impl Iterator<Item = &'static Route> {
    INGEST.iter().chain(MANAGE).chain(OPEN)
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let routes = open_to_others().map(|it| (it.method.to_owned(), it.path.to_owned()));
    let routes: BTreeSet<_> = routes.collect();
    let described: BTreeSet<_> = operations().into_keys().collect();
    assert_eq!(routes, described);
    for route in LOCAL {
        assert!(
            !openapi::text().contains(route.path),
            "{} is nobody's business",
            route.path
        );
    }
}

#[test]
fn every_operation_says_what_it_does_what_it_needs_and_what_it_answers() {
    let operations = operations();
    let mut ids = BTreeSet::new();
    for route in open_to_others() {
        let operation = operations[&(route.method.to_owned(), route.path.to_owned())];
        let name = format!("{} {}", route.method, route.path);
        for member in ["summary", "description", "operationId"] {
            let text = operation[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no {member}");
        }
        assert!(operation["tags"][0].is_string(), "{name} has no tag");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{name}: its id is taken"
        );
        let right = match route.needs {
            Needs::Right(right) | Needs::Loopback(right) => Permissions::of(&[right]).names()[0],
            _ => "",
        };
        let told = operation["x-postrider-permission"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(told, right, "{name}");
        assert!(
            operation["description"].as_str().unwrap().contains(right),
            "{name}"
        );
        let answers = operation["responses"].as_object().unwrap();
        let is_keyed = matches!(route.needs, Needs::Key | Needs::Right(_));
        assert_eq!(
            answers.contains_key("401"),
            is_keyed || right == "metrics:read",
            "{name}"
        );
        let successes = answers.iter().filter(|(status, _)| status.starts_with('2'));
        let mut found = 0;
        for (status, answer) in successes {
            found += 1;
            if is_keyed {
                assert!(
                    answer["headers"]["X-RateLimit-Remaining"].is_object(),
                    "{name} {status}"
                );
            }
            if status == "204" || route.method == "HEAD" {
                assert!(
                    answer.get("content").is_none(),
                    "{name} {status} has no body"
                );
                continue;
            }
            for (media_type, media) in answer["content"].as_object().unwrap() {
                let example = media.get("example").or(media.get("examples"));
                assert!(
                    example.is_some(),
                    "{name} {status} {media_type} has no example"
                );
            }
        }
        assert!(found > 0, "{name} never succeeds");
    }
}

#[test]
fn errors_are_in_the_words_and_the_shape_of_their_prefix() {
    let document = openapi::document();
    for (name, answer) in document["components"]["responses"].as_object().unwrap() {
        let members: &[&str] = if name.starts_with("Ingest") {
            &["error", "message"]
        } else {
            &["error", "message", "timestamp"]
        };
        let examples = &answer["content"]["application/json"]["examples"];
        for (which, example) in examples.as_object().unwrap() {
            let said = example["value"].as_object().unwrap();
            assert!(said.keys().eq(members), "{name} {which}: {said:?}");
        }
    }
    let missing = |name: &str| {
        let path = format!(
            "/components/responses/{name}/content/application~1json/examples/missing/value"
        );
        document.pointer(&path).unwrap()["message"].clone()
    };
    assert_eq!(
        missing("Ingest401"),
        "API key is required in X-API-Key header"
    );
    assert_eq!(
        missing("Manage401"),
        "Missing API key. Include your API key in the X-API-Key header."
    );
}

#[test]
fn bounds_that_are_written_twice_are_the_same() {
    let document = openapi::document();
    let events = &document["components"]["schemas"]["SelectedEvents"]["properties"]["events"];
    assert_eq!(events["maxItems"], MAX_PATTERNS);
    let batch = &document["paths"]["/api/webhooks/{integration_key}/batch"]["post"];
    let said = batch["description"].as_str().unwrap();
    assert!(
        said.contains(&format!("Up to {MAX_BATCH_EVENTS} events")),
        "{said}"
    );
    assert_eq!(MAX_MANAGE_BYTES, 64 << 10);
    let defaults = file("data/postrider.toml");
    for (setting, written) in [
        ("max_body_bytes = 262144", "256 KiB"),
        ("max_batch_bytes = 4194304", "4 MiB"),
    ] {
        assert!(
            defaults.contains(setting) && openapi::text().contains(written),
            "{setting}"
        );
    }
}

#[test]
fn the_published_description_is_the_programs() {
    assert!(
        file("docs/openapi.json") == openapi::text(),
        "docs/openapi.json is not what the program says of itself. If that is meant, renew it with \
         `postrider openapi > docs/openapi.json` and tell of it in CHANGELOG.md"
    );
}

#[test]
fn a_changed_description_is_told_of_in_the_changelog() {
    let digest = Sha256::digest(openapi::text());
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let line = format!("API description `{digest:08x}`");
    assert!(
        file("CHANGELOG.md").contains(&line),
        "the description of the interface has changed: say in CHANGELOG.md what has, in a line that begins \
         with \"- {line}: \""
    );
}

#[test]
fn the_relay_and_the_command_say_the_same_and_the_page_holds_it_all() {
    let said = program().arg("openapi").output().unwrap();
    assert!(said.status.success());
    assert_eq!(String::from_utf8(said.stdout).unwrap(), openapi::text());
    let relay = Relay::start();
    let mut connection = relay.connect();
    let served = connection
        .request("GET", "/openapi.json", &[], b"")
        .unwrap();
    assert_eq!(served.status, 200);
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.text(), openapi::text());
    let page = connection.request("GET", "/docs", &[], b"").unwrap();
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"),
        "{policy}"
    );
    let text = page.text();
    for operation in operations().into_values() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(
            text.contains(&format!("<details id=\"{id}\">")),
            "{id} is not on the page"
        );
    }
    assert!(text.contains("receiveEvent") && text.contains("webhook-signature"));
    // It loads nothing and runs nothing.
    for word in [
        "<script", "<link", "<img", "<iframe", "src=", "@import", "url(",
    ] {
        assert!(!text.contains(word), "the page has {word}");
    }
    for (before, _) in text.match_indices("href=\"") {
        let to = &text[before + "href=\"".len()..];
        assert!(
            to.starts_with('#') || to.starts_with("openapi.json\""),
            "{}",
            &to[..40]
        );
    }
}
