"""Log lines: for people on a terminal, for collectors elsewhere."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from engine.cli.logs import set_up
from engine.settings import LogSettings

log = logging.getLogger("engine.test")


class Stream(io.StringIO):
    """Standard error, on a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(monkeypatch: pytest.MonkeyPatch, terminal: bool, settings: LogSettings) -> Stream:
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    set_up(settings)
    return stream


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("text", False, False),
        ("json", True, True),
    ],
)
def test_the_form(monkeypatch: pytest.MonkeyPatch, form: str, terminal: bool, is_json: bool) -> None:
    stream = written(monkeypatch, terminal, LogSettings(format=form))
    log.info("pod %s waits", "default/a", extra={"pod": "default/a"})
    line = stream.getvalue()
    if is_json:
        assert json.loads(line)["message"] == "pod default/a waits"
    else:
        assert line.endswith("INFO    pod default/a waits\n")


def test_what_a_line_is_about_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, False, LogSettings())
    about = {"pod": "default/a", "node": "é-1", "rules": 2, "problems": ["P202 a:1: no"], "logger_": object}
    log.warning("pod %s\nwaits", "a", extra=about)
    [line] = stream.getvalue().splitlines()
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {
        "level": "warning",
        "logger": "engine.test",
        "message": "pod a\nwaits",
        "pod": "default/a",
        "node": "é-1",
        "rules": 2,
        "problems": ["P202 a:1: no"],
        "logger_": "<class 'object'>",
    }


def test_a_lines_own_field_replaces_none_of_the_common_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, False, LogSettings())
    log.info("hello", extra={"level": "loud", "time": "never"})
    found = json.loads(stream.getvalue())
    assert found["level"] == "info"
    assert found["time"] != "never"


def test_an_exception_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, False, LogSettings())
    try:
        raise ValueError("no such pod")
    except ValueError:
        log.exception("placing failed")
    [line] = stream.getvalue().splitlines()
    assert "ValueError: no such pod" in json.loads(line)["error"]


def test_the_level_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, True, LogSettings(level="warning"))
    log.info("hidden")
    log.warning("shown")
    assert stream.getvalue().endswith("WARNING shown\n")
    assert "hidden" not in stream.getvalue()
