"""The JSON Schema and the documentation's table, both made of the tree's fields."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any, cast

from engine.durations import PATTERN, text
from engine.settings.fields import Setting
from engine.settings.tree import NAME_PATTERN, SECTIONS, Settings, key_of

SCHEMA_FILE = "settings.schema.json"


def published_schema() -> dict[str, Any]:
    """The schema as it is shipped."""
    shipped = resources.files("engine.settings").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(shipped))


def make_schema() -> dict[str, Any]:
    """The schema of the tree as it is now."""
    schema = _object(
        Settings, "Settings of Berth. Every key may be left out; an empty file means the defaults."
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Berth settings",
        **schema,
    }


def make_table() -> str:
    """The Markdown table of all settings."""
    lines = ["| key | default | may be | what it does, and why this default |", "|---|---|---|---|"]
    for path, setting, default in all_settings():
        lines.append(f"| `{path}` | `{_shown(setting, default)}` | {_range(setting)} | {setting.reason} |")
    return "\n".join(lines) + "\n"


def all_settings() -> list[tuple[str, Setting, Any]]:
    """(path in the file, setting, default), in the tree's order."""
    found: list[tuple[str, Setting, Any]] = []
    for field in dataclasses.fields(Settings):
        if field.name in SECTIONS:
            found += [
                (f"{key_of(field.name)}.{key_of(inner.name)}", inner.metadata["setting"], inner.default)
                for inner in dataclasses.fields(SECTIONS[field.name])
            ]
        else:
            found.append((key_of(field.name), field.metadata["setting"], field.default))
    return found


def _object(section: Any, description: str) -> dict[str, Any]:
    properties = {}
    for field in dataclasses.fields(section):
        if field.name in SECTIONS:
            inner = SECTIONS[field.name]
            properties[key_of(field.name)] = _object(inner, (inner.__doc__ or "").strip())
        else:
            properties[key_of(field.name)] = _leaf(field.metadata["setting"], field.default)
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": properties,
    }


def _leaf(setting: Setting, default: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"description": setting.reason}
    if setting.kind == "duration":
        # JSON Schema cannot compare durations; the reader checks the bounds.
        known["description"] += f" From {text(setting.least)} to {text(setting.most)}."
        return {"type": "string", "pattern": PATTERN, "default": text(default), **known}
    if setting.kind == "integer":
        return {
            "type": "integer",
            "minimum": setting.least,
            "maximum": setting.most,
            "default": default,
            **known,
        }
    if setting.kind == "name":
        return {"enum": list(setting.choices), "default": default, **known}
    if setting.kind == "switch":
        return {"type": "boolean", "default": default, **known}
    if setting.kind == "text":
        shown = {"examples": [setting.example]}
        return {"type": "string", "pattern": setting.pattern, "default": default, **shown, **known}
    return {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string", "pattern": NAME_PATTERN, "maxLength": 253},
        "default": list(default),
        **known,
    }


def _shown(setting: Setting, default: Any) -> str:
    if setting.kind == "duration":
        return text(default)
    if setting.kind == "switch":
        return str(default).lower()
    return f"[{', '.join(default)}]" if setting.kind == "names" else str(default) or '""'


def _range(setting: Setting) -> str:
    if setting.kind == "duration":
        return f"{text(setting.least)} … {text(setting.most)}"
    if setting.kind == "integer":
        least, most = int(setting.least), int(setting.most)
        return "any whole number of 64 bits" if most == 2**63 - 1 else f"{least:,} … {most:,}"
    if setting.kind == "name":
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.kind == "switch":
        return "`true`, `false`"
    return f"a text such as `{setting.example}`" if setting.kind == "text" else "one name or more"
