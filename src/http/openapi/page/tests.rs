//! The page is safe whatever a document holds.

use super::*;
use serde_json::json;

#[test]
fn nothing_of_a_document_means_anything_to_a_browser() {
    let nasty = "<script>alert(1)</script>\"'&`<b>`";
    let document = json!({
        "info": { "title": nasty, "version": nasty, "description": nasty },
        "tags": [{ "name": nasty, "description": nasty }],
        "paths": { nasty: { "post": {
            "tags": [nasty], "operationId": nasty, "summary": nasty, "description": nasty,
            "parameters": [{ "name": nasty, "in": nasty, "schema": { "type": nasty, "pattern": nasty } }],
            "requestBody": { "content": { nasty: {
                "schema": { "properties": { nasty: { "enum": [nasty], "description": nasty } } },
                "example": { nasty: nasty },
            } } },
            "responses": { nasty: {
                "description": nasty, "headers": { nasty: { "description": nasty } },
                "content": { nasty: { "schema": { "const": nasty }, "examples": { nasty: { "value": nasty } } } },
            } },
        } } },
        "components": { "schemas": { nasty: { "description": nasty, "$ref": nasty } } },
    });
    let page = render(&document);
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
}
