"""Whether every example in a description is what its schema says."""

import json
import sys

from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

NAME = "urn:description"


def absolute(members):
    """References lead into the document, not into the schema that they are in."""
    if isinstance(members.get("$ref"), str):
        members["$ref"] = NAME + members["$ref"]
    return members


with open(sys.argv[1]) as file:
    document = json.load(file, object_hook=absolute)
registry = Registry().with_resource(NAME, Resource(document, DRAFT202012))
checked = 0


def check(where, schema, example):
    global checked
    checked += 1
    for error in OAS31Validator(schema, registry=registry).iter_errors(example):
        sys.exit(f"{where}: {error.message}")


def walk(where, value):
    if isinstance(value, list):
        for number, entry in enumerate(value):
            walk(f"{where}/{number}", entry)
    elif isinstance(value, dict):
        schema = value.get("schema", value)
        if "schema" in value:
            examples = [it["value"] for it in value.get("examples", {}).values()]
            examples += [value["example"]] if "example" in value else []
        else:
            examples = value.get("examples", [])
            examples = examples if isinstance(examples, list) else []
        for example in examples:
            check(where, schema, example)
        for name, member in value.items():
            if name not in ("example", "examples"):
                walk(f"{where}/{name}", member)


walk("#", document)
print(f"{checked} examples are right")
