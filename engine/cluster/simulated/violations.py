"""Violations of the scenario's schema, in words for whoever wrote the file."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, cast

import jsonschema

from engine.manifests.problems import Problem, dotted
from engine.suggest import suggestion
from engine.yaml_lines import Document, Path


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file."""
    text = files(__package__).joinpath("scenario.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


def violations(document: Document) -> list[Problem]:
    """All that the schema forbids about the document."""
    found = [
        Problem(document.file, document.line(path), dotted(path), message)
        for error in _validator().iter_errors(document.value)
        for path, message in _explained(error)
    ]
    return list(dict.fromkeys(sorted(found, key=lambda problem: problem.line)))


def _explained(error: jsonschema.ValidationError) -> Iterator[tuple[Path, str]]:
    path = cast("Path", tuple(error.absolute_path))
    rule = cast("Mapping[str, Any]", error.schema)
    value = cast("Any", error.instance)
    expected = str(rule.get("x-expected", ""))
    match error.validator:
        case "additionalProperties":
            # jsonschema tells all unknown keys of a mapping in one error.
            known = list(rule["properties"])
            for key in value:
                if key not in known:
                    remedy = suggestion(key, known) or f"; there are {', '.join(known)}"
                    yield (*path, key), f"unknown key{remedy}"
        case "required":
            for key in rule["required"]:
                if key not in value:
                    yield (*path, key), _missing(rule, key)
        case "minProperties" if "at" in rule.get("properties", ()):
            if list(value) == ["at"]:
                yield path, f"nothing happens; add one of {', '.join(_actions(rule))}"
            elif not value:
                yield path, f"empty; write {expected.removeprefix('an event such as ')}"
            elif "at" not in value:
                pass  # Told as missing.
        case "maxProperties":
            actions = [key for key in value if key != "at"]
            yield path, f"{', '.join(actions)} in one event; write an event for each"
        case "minProperties" | "minItems" | "minLength":
            yield path, f"empty; write {expected}"
        case "enum":
            choices = [str(choice) for choice in rule["enum"]]
            yield path, f"{_shown(value)} is none of {', '.join(choices)}{suggestion(str(value), choices)}"
        case "minimum" | "maximum" | "exclusiveMinimum":
            yield path, f"{_shown(value)} is out of range; {_range(rule)}"
        case _:
            yield path, f"{_shown(value)} is not {expected}"


def _missing(rule: Mapping[str, Any], key: str) -> str:
    described = rule["properties"].get(key, {})
    reference = described.get("$ref", "")
    if reference:
        described = schema()["$defs"][reference.rpartition("/")[2]]
    expected = described.get("x-expected") or f"one of {', '.join(described.get('enum', ()))}"
    return f"missing; write {expected.rpartition('; write ')[2]}"


def _actions(rule: Mapping[str, Any]) -> list[str]:
    return [key for key in rule["properties"] if key != "at"]


def _range(rule: Mapping[str, Any]) -> str:
    if "exclusiveMinimum" in rule:
        return f"write a number above {rule['exclusiveMinimum']}"
    if "maximum" in rule:
        return f"write {rule['minimum']} to {rule['maximum']}"
    return f"write {rule['minimum']} or more"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
