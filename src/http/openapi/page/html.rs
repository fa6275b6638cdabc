//! Text that means nothing to a browser.

use serde_json::Value;

/// With every character that means something written out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A string of the document; of anything else nothing.
pub fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// The same on one line, with what stands between backticks as code.
pub fn inline(value: &Value) -> String {
    let mut html = String::new();
    for (number, piece) in value.as_str().unwrap_or_default().split('`').enumerate() {
        let piece = escaped(piece);
        let (before, after) = if number % 2 == 1 {
            ("<code>", "</code>")
        } else {
            ("", "")
        };
        html.extend([before, &piece, after]);
    }
    html
}

/// The same in paragraphs, which empty lines divide.
pub fn prose(value: &Value) -> String {
    let paragraphs = value.as_str().unwrap_or_default().split("\n\n");
    let paragraphs = paragraphs.filter(|it| !it.trim().is_empty());
    let paragraphs = paragraphs.map(|it| format!("<p>{}</p>\n", inline(&it.into())));
    paragraphs.collect()
}

/// An example: text as it is, anything else as JSON. Whoever has no mouse can reach and scroll it.
pub fn json(value: &Value) -> String {
    let shown = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    format!(
        "<pre tabindex=\"0\"><code>{}</code></pre>\n",
        escaped(shown.trim_end())
    )
}
