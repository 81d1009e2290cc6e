"""Reads a settings file, YAML or JSON, and tells all that is wrong with it at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import jsonschema
from jsonschema.protocols import Validator

from engine.durations import DurationError, seconds, text
from engine.settings.fields import Setting
from engine.settings.schema import published_schema
from engine.settings.tree import NAME_PATTERN, SECTIONS, Settings, key_of
from engine.suggest import suggestion
from engine.yaml_lines import Document, YamlError, load_with_lines

_Trouble = tuple[int, str]
"""The line and the sentence."""


class SettingsError(Exception):
    """A settings file that cannot be used; its text has one line a problem, ``file:line: key: what; remedy``."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(path: Path) -> Settings:
    """The settings in a file; what it does not name has its default.

    Raises:
        SettingsError: The file cannot be read, or something in it is unknown or out of range.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError((f"{path}: {reason}; check the path that --settings names",)) from None
    try:
        return parse_settings(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError((f"{path}:{line}: not UTF-8; save the file as UTF-8 text",)) from None


def parse_settings(text_: str, file: str) -> Settings:
    """The settings in a text; ``file`` is its name in messages.

    Raises:
        SettingsError: Something in it is unknown or out of range.
    """
    try:
        document = load_with_lines(text_, file)
    except YamlError as error:
        raise SettingsError((str(error),)) from None
    if document.value is None:
        return Settings()
    found = [
        trouble
        for error in _validator().iter_errors(document.value)
        for trouble in _troubles(document, error)
    ]
    if not found:
        settings, found = _build(document)
        if not found:
            return settings
    raise SettingsError(tuple(f"{file}:{line}: {sentence}" for line, sentence in sorted(found)))


@functools.cache
def _validator() -> Validator:
    return cast("Validator", jsonschema.Draft202012Validator(published_schema()))


def _troubles(document: Document, error: jsonschema.ValidationError) -> Iterator[_Trouble]:
    """What a violation of the schema means to whoever wrote the file."""
    path = tuple(error.absolute_path)
    schema = cast("dict[str, Any]", error.schema)
    if error.validator == "additionalProperties":
        # jsonschema reports all of a mapping's unknown keys as one.
        known = list(schema["properties"])
        for key in cast("dict[str, Any]", error.instance):
            if key not in known:
                remedy = suggestion(key, known) or f"; there are {', '.join(known)}"
                name = ".".join(str(step) for step in (*path, key))
                yield document.line((*path, key)), f"{name}: unknown key{remedy}"
    elif not path:
        yield document.line(), "not a mapping; write keys such as seed: 1"
    else:
        name = ".".join(str(step) for step in path)
        yield document.line(path), f"{name}: {_complaint(error, schema)}"


def _complaint(error: jsonschema.ValidationError, schema: dict[str, Any]) -> str:
    """What is wrong with one value, and what it may be."""
    value = error.instance
    shown = "nothing" if value is None else repr(value)
    if "enum" in schema:
        return f"{shown} is none of {', '.join(schema['enum'])}{suggestion(str(value), schema['enum'])}"
    match schema["type"], error.validator:
        case "object", _:
            said = "empty" if value is None else f"{shown} is no mapping"
            return f"{said}; write its keys below it, or leave it out"
        case "integer", "type":
            return f"{shown} is no whole number; write one, such as {schema['default']}"
        case "integer", _:
            return f"{shown} is out of range; write {schema['minimum']} to {schema['maximum']}"
        case "boolean", _:
            return f"{shown} is neither true nor false"
        case "array", "minItems":
            return f"{shown} is empty; name one scheduler at least"
        case "array", "uniqueItems":
            return f"{shown} names a scheduler twice; keep one"
        case "array", _:
            return f"{shown} is no list; write [{', '.join(schema['default'])}]"
        case _, "type" if "examples" in schema:
            return f"{shown} is no text; write it in quotes, such as '{schema['examples'][0]}'"
        case _, _ if "examples" in schema:
            return f"{shown} is not what is expected here; write it like {schema['examples'][0]}"
        case _, _ if schema["pattern"] == NAME_PATTERN:
            return f"{shown} is no scheduler's name; it has only a-z, 0-9, - and ."
        case _:
            return str(DurationError(value))


def _build(document: Document) -> tuple[Settings, list[_Trouble]]:
    """The tree of a file that satisfies the schema, and what a schema cannot say."""
    found: list[_Trouble] = []

    def section(made: Any, values: dict[str, Any], above: tuple[str, ...]) -> Any:
        given = {}
        for field in dataclasses.fields(made):
            key = key_of(field.name)
            if key not in values:
                continue
            path = (*above, key)
            if field.name in SECTIONS:
                given[field.name] = section(SECTIONS[field.name], values[key], path)
                continue
            setting: Setting = field.metadata["setting"]
            try:
                given[field.name] = value = _convert(setting, values[key])
            except DurationError as error:
                # The schema's pattern lets a line break at the end pass.
                found.append((document.line(path), f"{'.'.join(path)}: {error}"))
                continue
            if setting.kind == "text" and value.endswith("\n"):  # which a pattern's $ lets pass
                found.append((document.line(path), f"{'.'.join(path)}: ends in a line break; take it away"))
            if setting.kind == "duration" and not setting.least <= value <= setting.most:
                span = f"{text(setting.least)} to {text(setting.most)}"
                sentence = f"{'.'.join(path)}: {values[key]} is out of range; write {span}"
                found.append((document.line(path), sentence))
        return made(**given)

    settings: Settings = section(Settings, document.value, ())
    for name, low, high, below, above in (
        ("queue", "backoffInitial", "backoffMax", settings.queue.backoff_initial, settings.queue.backoff_max),
        (
            "delays",
            "glance",
            "period",
            # Only files are glanced at.
            settings.delays.glance if settings.delays.source == "files" else 0.0,
            settings.delays.period,
        ),
        (
            "leader",
            "renewDeadline",
            "leaseDuration",
            settings.leader.renew_deadline,
            settings.leader.lease_duration,
        ),
        (
            "leader",
            "retryPeriod",
            "renewDeadline",
            settings.leader.retry_period,
            settings.leader.renew_deadline,
        ),
    ):
        # A leader must have given up before another may take its lease, so equal times will not do there.
        longer = "no shorter" if name == "leader" else "longer"
        if (below > above or (name == "leader" and below == above)) and not found:
            line = document.line((name, low)) if low in document.value[name] else document.line((name, high))
            sentence = f"{name}.{low}: {text(below)} is {longer} than {name}.{high}, {text(above)}; change one of them"
            found.append((line, sentence))
    if not found:
        found += _delay_troubles(document, settings)
    return settings, found


def _delay_troubles(document: Document, settings: Settings) -> Iterator[_Trouble]:
    """What the chosen source of delays lacks."""
    delays = settings.delays
    if delays.source == "files":
        return
    needed = {
        "goldpinger": {"goldpinger.url": settings.goldpinger.url},
        "prometheus": {
            "prometheus.url": settings.prometheus.url,
            "prometheus.query": settings.prometheus.query,
        },
        "probe": {"probe.service": settings.probe.service, "probe.keyFile": settings.probe.key_file},
    }[delays.source]
    line = document.line(("delays", "source"))
    for key, value in needed.items():
        if not value:
            yield line, f"delays.source: {delays.source} needs {key}; write it, or choose another source"
    if delays.max_age < delays.period:
        key = "maxAge" if "maxAge" in document.value["delays"] else "period"
        yield (
            document.line(("delays", key)),
            f"delays.maxAge: {text(delays.max_age)} is shorter than delays.period, {text(delays.period)}, so that "
            "nothing would count until it is measured again; change one of them",
        )


def _convert(setting: Setting, value: Any) -> Any:
    if setting.kind == "duration":
        return seconds(value)
    if setting.kind == "integer":
        return int(value)  # JSON Schema takes 8.0 for a whole number
    return tuple(value) if setting.kind == "names" else value
